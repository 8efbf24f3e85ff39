//! `docs/reference/cli.md`: every command and argument, as [`crate::options`] has them, with what they have in common.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::failure::Exit;
use crate::options::Options;

const HEAD: &str = include_str!("reference/head.md");

/// The page.
pub(crate) fn page() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n## Exit codes\n\n| Code | Meaning |\n|---|---|\n| 0 | it went well |\n");
    for (exit, meaning) in Exit::ALL {
        // A String takes everything.
        let _ = writeln!(out, "| {} | {meaning} |", exit.code());
    }
    let mut command = Options::command();
    command.build();
    out.push_str("\n## Options of every command\n\n");
    options(&mut out, &command, true);
    out.push_str("\n## Commands\n");
    for sub in command.get_subcommands() {
        section(&mut out, sub, "portcullis");
    }
    out
}

fn section(out: &mut String, command: &Command, above: &str) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    let about = command
        .get_long_about()
        .or(command.get_about())
        .map(|it| sentence(&it.to_string()))
        .unwrap_or_default();
    if command.has_subcommands() {
        let _ = write!(out, "\n### `{name}`\n\n{about}\n");
        for sub in command.get_subcommands() {
            section(out, sub, &name);
        }
        return;
    }
    let operands = command.get_positionals().fold(String::new(), |all, it| {
        let value = value(it);
        if it.is_required_set() { format!("{all} {value}") } else { format!("{all} [{value}]") }
    });
    let _ = write!(out, "\n#### `{name}{operands}`\n\n{about}\n");
    let others: Vec<_> = command.get_visible_aliases().collect();
    if !others.is_empty() {
        let _ = write!(out, "\nAlso called `{}`.\n", others.join("`, `"));
    }
    let mut listed = String::new();
    options(&mut listed, command, false);
    if !listed.is_empty() {
        let _ = write!(out, "\n{listed}");
    }
}

/// A line for each argument, of every command or of this one alone.
fn options(out: &mut String, command: &Command, global: bool) {
    for arg in command.get_arguments() {
        let is_ours = arg.is_global_set() == global && !arg.is_hide_set();
        if !is_ours || matches!(arg.get_id().as_str(), "help" | "version") {
            continue;
        }
        let mut names: Vec<String> = Vec::new();
        names.extend(arg.get_short().map(|it| format!("-{it}")));
        names.extend(arg.get_long().map(|it| format!("--{it}")));
        names.extend(arg.get_visible_aliases().unwrap_or_default().iter().map(|it| format!("--{it}")));
        let takes = arg.get_action().takes_values();
        let shown = match (names.is_empty(), takes) {
            (true, _) => value(arg),
            (false, true) => format!("{} {}", names.join("`, `"), value(arg)),
            (false, false) => names.join("`, `"),
        };
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let _ = write!(out, "- `{shown}`: {}", sentence(&help.replace('\n', " ")));
        if takes {
            more(out, arg);
        }
        out.push('\n');
    }
}

/// What it may be, what it is by default, and which variable stands for it.
fn more(out: &mut String, arg: &Arg) {
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|it| !it.is_hide_set())
        .map(|it| match it.get_help() {
            Some(help) => format!("`{}` ({})", it.get_name(), help.to_string().trim_end_matches('.')),
            None => format!("`{}`", it.get_name()),
        })
        .collect();
    if !values.is_empty() {
        let _ = write!(out, " One of {}.", values.join(", "));
    }
    let usual: Vec<_> = arg.get_default_values().iter().map(|it| it.to_string_lossy()).collect();
    if !usual.is_empty() && !arg.is_hide_default_value_set() {
        let _ = write!(out, " Default: `{}`.", usual.join(","));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(out, " Or `{}` in the environment.", variable.to_string_lossy());
    }
}

/// clap takes the full stop off a text of one sentence.
fn sentence(text: &str) -> String {
    let is_closed = text.is_empty() || text.ends_with(['.', '?', '`']);
    if is_closed { text.to_owned() } else { format!("{text}.") }
}

fn value(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    match names.first() {
        Some(name) => name.to_string(),
        None => arg.get_id().as_str().to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_argument_stands_in_the_page() {
        fn visit(command: &Command, above: &str, page: &str) {
            for sub in command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help") {
                let name = format!("{above} {}", sub.get_name());
                assert!(page.contains(&format!("# `{name}")), "{name}");
                for long in sub
                    .get_arguments()
                    .filter(|it| !it.is_hide_set())
                    .filter_map(Arg::get_long)
                    .filter(|it| *it != "version")
                {
                    assert!(long == "help" || page.contains(&format!("--{long}")), "{name} --{long}");
                }
                visit(sub, &name, page);
            }
        }
        let page = page();
        visit(&Options::command(), "portcullis", &page);
        assert!(page.contains("| 130 |") && page.contains("--gateway-endpoint URL"));
    }
}

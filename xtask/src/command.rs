//! Running other programs, so that a failure names the program, its arguments and what it said.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a program quietly; what it wrote is shown only when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a program and hands back what it wrote on stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {}", shown(command)))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{} failed ({}):\n{}",
            shown(command),
            output.status,
            tail(&String::from_utf8_lossy(&said), 30)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} wrote no UTF-8", shown(command)))
}

/// Runs a program quietly and hands back what it wrote on stderr.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {}", shown(command)))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("{} failed ({}):\n{}", shown(command), output.status, tail(&said, 30));
    }
    Ok(said)
}

/// Runs a program quietly with this input.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("failed to start {}", shown(command)))?;
    let mut stdin = child.stdin.take().context("a program without an input")?;
    // it may end without having read all; its own words then say why
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output =
        child.wait_with_output().with_context(|| format!("failed to wait for {}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}):\n{}", shown(command), output.status, tail(&said, 30));
    }
    written.with_context(|| format!("failed to write to {}", shown(command)))
}

/// Whether a program ends well; what it writes is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a program that talks to the user itself.
pub(crate) fn show(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("failed to start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Whether a program of this name is on `PATH` or in the folders of the system's own.
pub(crate) fn exists(program: &str) -> bool {
    std::env::split_paths(&search_path(&[])).any(|folder| folder.join(program).is_file())
}

/// `PATH` with folders in front, and at its end those that Debian leaves out for ordinary users.
pub(crate) fn search_path(first: &[&std::path::Path]) -> std::ffi::OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = first
        .iter()
        .map(|folder| folder.to_path_buf())
        .chain(std::env::split_paths(&inherited))
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into));
    std::env::join_paths(folders).unwrap_or(inherited)
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(400) {
        Some((end, _)) => format!("`{}…`", &line[..end]),
        None => format!("`{line}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_program_and_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo no luck >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("no luck") && error.contains('3'), "{error}");
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}

//! The table of the chart's values, read from `values.yaml`: the comment above a key is its text, what stands behind and
//! below it its default. A key without a comment is a heading, and every value is documented.

use std::fs;
use std::iter::Peekable;
use std::str::Lines;

use anyhow::{Context as _, Result, ensure};

use crate::helm::CHART;
use crate::workspace;

const HEAD: &str = "<!-- Made by `cargo xtask generate` from charts/portcullis/values.yaml; do not edit. -->\n# Values of the chart\n\nWhatever is not here is refused. `helm show values charts/portcullis` prints the file that this is made of.\n\n| Value | Default | Meaning |\n|---|---|---|\n";

/// A value: its path, its default, and what it means.
#[derive(Debug, PartialEq, Eq)]
struct Value {
    path: String,
    default: String,
    meaning: String,
}

/// The whole page.
pub(super) fn page() -> Result<String> {
    let path = workspace::root().join(CHART).join("values.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let rows = values(&text)?.into_iter().map(|it| {
        // A table knows no other way to write a bar.
        let [default, meaning] = [it.default, it.meaning].map(|text| text.replace('|', "\\|"));
        format!("| `{}` | `{default}` | {meaning} |\n", it.path)
    });
    Ok(format!("{HEAD}{}", rows.collect::<String>()))
}

/// Every value of the file.
fn values(text: &str) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    let mut headings: Vec<(usize, &str)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let content = line.trim_start();
        let depth = line.len() - content.len();
        if content.is_empty() {
            comment.clear();
            continue;
        }
        if let Some(said) = content.strip_prefix("# ") {
            comment.push(said);
            continue;
        }
        let (key, default) = content.split_once(':').with_context(|| format!("no key: {line}"))?;
        headings.retain(|(above, _)| *above < depth);
        let path = headings.iter().map(|(_, key)| *key).chain([key]).collect::<Vec<_>>().join(".");
        let default = default.trim();
        if comment.is_empty() {
            ensure!(default.is_empty(), "values.yaml: write a comment above {path}");
            headings.push((depth, key));
            continue;
        }
        let default = if default.is_empty() { block(&mut lines, depth) } else { default.to_owned() };
        values.push(Value { path, default, meaning: comment.join(" ") });
        comment.clear();
    }
    Ok(values)
}

/// The lines below a key, in one.
fn block(lines: &mut Peekable<Lines<'_>>, depth: usize) -> String {
    let below = |line: &&str| line.len() - line.trim_start().len() > depth && !line.trim().is_empty();
    let mut text: Vec<(usize, &str)> = Vec::new();
    while let Some(line) = lines.next_if(below) {
        text.push((line.len() - line.trim_start().len(), line.trim_start()));
    }
    flow(&text)
}

/// A block of YAML as one line.
fn flow(lines: &[(usize, &str)]) -> String {
    let Some(&(depth, first)) = lines.first() else { return String::new() };
    let mut entries: Vec<Vec<(usize, &str)>> = Vec::new();
    let is_list = first.starts_with("- ");
    for &(at, line) in lines {
        match entries.last_mut() {
            Some(entry) if at > depth => entry.push((at, line)),
            _ => entries.push(vec![(at, line)]),
        }
    }
    let entries = entries.iter().map(|entry| {
        let (at, line) = entry[0];
        if let Some(line) = line.strip_prefix("- ") {
            return flow(&[&[(at + 2, line)], &entry[1..]].concat());
        }
        if entry.len() == 1 { line.to_owned() } else { format!("{line} {}", flow(&entry[1..])) }
    });
    let entries = entries.collect::<Vec<_>>().join(", ");
    if is_list { format!("[{entries}]") } else { format!("{{{entries}}}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_its_path_its_default_and_the_comment_above() {
        let text = "# The file.\n\n# How\n# many\ncount: 2\nimage:\n  # Where\n  registry: localhost\n\n# All\nspread:\n  - a: 1\n    b: [x]\n  - c: {}\nlast:\n  deep:\n    # That\n    on: true\n";
        let found: Vec<_> =
            values(text).unwrap().into_iter().map(|it| [it.path, it.default, it.meaning]).collect();
        let wanted = [
            ["count", "2", "How many"],
            ["image.registry", "localhost", "Where"],
            ["spread", "[{a: 1, b: [x]}, {c: {}}]", "All"],
            ["last.deep.on", "true", "That"],
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_nested_block_is_one_line() {
        let text =
            "# R\nresources:\n  requests:\n    cpu: 50m\n    memory: 64Mi\n  limits:\n    memory: 1Gi\n";
        let found = values(text).unwrap();
        assert_eq!(found[0].default, "{requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 1Gi}}");
    }

    #[test]
    fn a_value_without_a_word_is_an_error() {
        let said = values("image:\n  tag: a\n").unwrap_err().to_string();
        assert_eq!(said, "values.yaml: write a comment above image.tag");
    }
}

//! Which tests are properties: those inside a `proptest!` block, whose printed names do not tell.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::workspace;

/// The names of all of them, without the modules that they are in.
pub(super) fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for member in fs::read_dir(workspace::root()).into_iter().flatten().flatten() {
        for folder in ["src", "tests"] {
            collect(&member.path().join(folder), &mut names);
        }
    }
    names
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|end| end == "rs") {
            names.extend(in_source(&fs::read_to_string(&path).unwrap_or_default()));
        }
    }
}

fn in_source(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for block in source.split("proptest! {").skip(1) {
        let mut depth = 1_usize;
        for line in block.lines() {
            if let Some((name, _)) =
                line.trim_start().strip_prefix("fn ").and_then(|rest| rest.split_once('('))
            {
                names.push(name.to_owned());
            }
            depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
            if depth == 0 {
                break;
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_inside_the_block_is_a_property() {
        let source = "fn before() {}\nproptest! {\n    #[test]\n    fn inside(a in 0..9) {\n        if a > 1 {}\n    }\n}\nfn after() {}\n";
        assert_eq!(in_source(&source.replace("proptest!", concat!("prop", "test!"))), ["inside"]);
    }
}

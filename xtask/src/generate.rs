//! `cargo xtask generate`: files that are made from code or from the chart, written or compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{command, say, workspace};

mod chart;
mod values;

/// Files by their path in the checkout.
type Files = BTreeMap<PathBuf, String>;

const HEAD: &str = "# Made by `cargo xtask generate` from api/; do not edit.\n";
const METHODS_HEAD: &str = "<!-- Made by `cargo xtask generate` from proto/; do not edit. -->\n";
const COMMANDS_HEAD: &str = "<!-- Made by `cargo xtask generate` from cli/; do not edit. -->\n";

/// Folders whose YAML files are a definition each.
const DEFINITIONS: [&str; 2] = ["crds", chart::DEFINITIONS];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Change nothing; fail where a file is not what it would be
    #[arg(long)]
    check: bool,
}

/// Does what was asked.
pub(crate) fn act(options: &Options) -> Result<()> {
    let step = say::step("definitions printed by api, methods by contract, commands by cli");
    let definitions = printed("portcullis-api", "portcullis-crds", &[])?;
    let methods = printed("portcullis-contract", "portcullis-methods", &[])?;
    let commands = printed("portcullis-cli", "portcullis", &["reference"])?;
    step.done();
    let mut wanted = files(&definitions)?;
    wanted.insert(PathBuf::from("docs/reference/methods.md"), format!("{METHODS_HEAD}{methods}"));
    wanted.insert(PathBuf::from("docs/reference/cli.md"), format!("{COMMANDS_HEAD}{commands}"));
    wanted.insert(PathBuf::from("docs/reference/values.md"), values::page()?);
    let count = wanted.len();
    settle(&wanted, options.check)?;
    // What the chart makes of all that.
    let rendered = chart::rendered()?;
    settle(&rendered, options.check)?;
    say::note(format!("        {} generated files are as they should be", count + rendered.len()));
    Ok(())
}

/// Makes files what they should be, or says which are not.
fn settle(wanted: &Files, check: bool) -> Result<()> {
    let drifted = drifted(workspace::root(), wanted)?;
    if check && !drifted.is_empty() {
        let names: Vec<_> = drifted.iter().map(|path| format!("  {}", path.display())).collect();
        bail!(
            "these files are not what the code makes; run `cargo xtask generate` and commit:\n{}",
            names.join("\n")
        );
    }
    for path in drifted {
        let at = workspace::root().join(&path);
        let done = wanted.get(&path).map_or_else(|| fs::remove_file(&at), |text| fs::write(&at, text));
        done.with_context(|| format!("failed to write {}", path.display()))?;
        say::note(format!("        {}", path.display()));
    }
    Ok(())
}

/// What a program of ours prints.
fn printed(package: &str, program: &str, arguments: &[&str]) -> Result<String> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--package", package, "--bin", program, "--"]).args(arguments);
    command::output(&mut cargo)
}

/// The files of each definition.
fn files(definitions: &str) -> Result<Files> {
    let mut files = Files::new();
    for definition in documents(definitions) {
        let (plural, group) =
            name_of(&definition).and_then(|name| name.split_once('.')).with_context(|| {
                format!(
                    "a definition without a name:\n{}",
                    definition.lines().take(8).collect::<Vec<_>>().join("\n")
                )
            })?;
        files.insert(PathBuf::from(format!("crds/{group}_{plural}.yaml")), format!("{HEAD}{definition}"));
        let template = Path::new(chart::DEFINITIONS).join(format!("{plural}.yaml"));
        files.insert(template, chart::definition(&definition));
    }
    Ok(files)
}

/// The documents of a YAML stream that hold more than comments, each ending with a line break.
fn documents(stream: &str) -> impl Iterator<Item = String> {
    let holds_something =
        |document: &&str| document.lines().any(|line| !line.is_empty() && !line.starts_with('#'));
    let stream = stream.strip_prefix("---\n").unwrap_or(stream);
    stream
        .split("\n---\n")
        .filter(holds_something)
        .map(|document| format!("{}\n", document.trim_end_matches('\n')))
}

/// `metadata.name` of a document whose keys are at the usual places.
fn name_of(document: &str) -> Option<&str> {
    document
        .lines()
        .skip_while(|line| *line != "metadata:")
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .find_map(|line| line.strip_prefix("  name: "))
}

/// Files that differ, are missing, or are of a definition that is no more.
fn drifted(root: &Path, wanted: &Files) -> Result<Vec<PathBuf>> {
    let mut drifted: Vec<_> = wanted
        .iter()
        .filter(|(path, text)| fs::read_to_string(root.join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path.clone())
        .collect();
    for folder in DEFINITIONS.map(Path::new) {
        if !wanted.keys().any(|path| path.parent() == Some(folder)) {
            continue;
        }
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten() {
            let entry = entry.with_context(|| format!("failed to read {}", folder.display()))?;
            let path = folder.join(entry.file_name());
            if path.extension().is_some_and(|end| end == "yaml") && !wanted.contains_key(&path) {
                drifted.push(path);
            }
        }
    }
    Ok(drifted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITIONS: &str = "---\nkind: A\nmetadata:\n  name: gateways.portcullis.dev\nspec: 1\n---\nkind: A\nmetadata:\n  labels: {}\n  \
                               name: tunnels.portcullis.dev\nspec: 2\n";

    #[test]
    fn each_definition_has_its_file_and_its_template() {
        let files = files(DEFINITIONS).unwrap();
        let names: Vec<_> = files.keys().map(|path| path.display().to_string()).collect();
        let wanted = [
            "charts/portcullis/templates/crds/gateways.yaml",
            "charts/portcullis/templates/crds/tunnels.yaml",
            "crds/portcullis.dev_gateways.yaml",
            "crds/portcullis.dev_tunnels.yaml",
        ];
        assert_eq!(names, wanted);
        assert!(files[Path::new(wanted[2])].ends_with("name: gateways.portcullis.dev\nspec: 1\n"));
    }

    #[test]
    fn a_changed_a_missing_and_a_leftover_file_have_drifted() {
        let root = std::env::temp_dir().join(format!("portcullis-generate-{}", std::process::id()));
        fs::create_dir_all(root.join("crds")).unwrap();
        let mut wanted = files(DEFINITIONS).unwrap();
        wanted.retain(|path, _| path.starts_with("crds"));
        let (same, missing) = ("crds/portcullis.dev_gateways.yaml", "crds/portcullis.dev_tunnels.yaml");
        fs::write(root.join(same), &wanted[Path::new(same)]).unwrap();
        for name in ["old.yaml", "Kustomization"] {
            fs::write(root.join("crds").join(name), "").unwrap();
        }
        assert_eq!(drifted(&root, &wanted).unwrap(), [missing, "crds/old.yaml"].map(PathBuf::from));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_definition_without_a_name_is_an_error() {
        assert!(files("kind: A\n").is_err());
    }
}

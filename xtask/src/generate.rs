//! `cargo xtask generate`: files that are made from code, written or compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{command, say, workspace};

const HEAD: &str = "# Made by `cargo xtask generate` from api/; do not edit.\n";
const INSTALL_HEAD: &str = "# Made by `cargo xtask generate` from api/ and manifests/operator.yaml; do not edit.\n# kubectl apply --server-side -f install.yaml\n";

const METHODS_HEAD: &str = "<!-- Made by `cargo xtask generate` from proto/; do not edit. -->\n";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Change nothing; fail where a file is not what it would be
    #[arg(long)]
    check: bool,
}

/// Does what was asked.
pub(crate) fn act(options: &Options) -> Result<()> {
    let step = say::step("definitions printed by api, methods by contract");
    let definitions = printed("portcullis-api", "portcullis-crds")?;
    let methods = printed("portcullis-contract", "portcullis-methods")?;
    step.done();
    let operator = workspace::root().join("manifests/operator.yaml");
    let operator = match fs::read_to_string(&operator) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        read => Some(read.with_context(|| format!("failed to read {}", operator.display()))?),
    };
    let mut wanted = files(&definitions, operator.as_deref())?;
    wanted.insert(PathBuf::from("docs/reference/methods.md"), format!("{METHODS_HEAD}{methods}"));
    let drifted = drifted(workspace::root(), &wanted)?;
    if drifted.is_empty() {
        say::note(format!("        {} generated files are as they should be", wanted.len()));
        return Ok(());
    }
    if options.check {
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
fn printed(package: &str, program: &str) -> Result<String> {
    command::output(workspace::cargo().args(["run", "--quiet", "--package", package, "--bin", program]))
}

/// All files that are generated, by their path in the checkout.
fn files(definitions: &str, operator: Option<&str>) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    let mut install = INSTALL_HEAD.to_owned();
    for definition in documents(definitions) {
        let (plural, group) =
            name_of(&definition).and_then(|name| name.split_once('.')).with_context(|| {
                format!(
                    "a definition without a name:\n{}",
                    definition.lines().take(8).collect::<Vec<_>>().join("\n")
                )
            })?;
        files.insert(PathBuf::from(format!("crds/{group}_{plural}.yaml")), format!("{HEAD}{definition}"));
        install.extend(["---\n", &definition]);
    }
    if let Some(operator) = operator {
        for document in documents(operator) {
            install.extend(["---\n", &document]);
        }
        files.insert(PathBuf::from("manifests/install.yaml"), install);
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
fn drifted(root: &Path, wanted: &BTreeMap<PathBuf, String>) -> Result<Vec<PathBuf>> {
    let mut drifted: Vec<_> = wanted
        .iter()
        .filter(|(path, text)| fs::read_to_string(root.join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path.clone())
        .collect();
    for entry in fs::read_dir(root.join("crds")).into_iter().flatten() {
        let path = Path::new("crds").join(entry.context("failed to read crds")?.file_name());
        if path.extension().is_some_and(|end| end == "yaml") && !wanted.contains_key(&path) {
            drifted.push(path);
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
    fn each_definition_has_its_file_and_all_are_in_the_installation() {
        let files = files(DEFINITIONS, Some("# why\n---\nkind: Deployment\n")).unwrap();
        let names: Vec<_> = files.keys().map(|path| path.display().to_string()).collect();
        let wanted = [
            "crds/portcullis.dev_gateways.yaml",
            "crds/portcullis.dev_tunnels.yaml",
            "manifests/install.yaml",
        ];
        assert_eq!(names, wanted);
        assert!(files[Path::new(wanted[0])].ends_with("name: gateways.portcullis.dev\nspec: 1\n"));
        let install = &files[Path::new(wanted[2])];
        assert_eq!(install.matches("\n---\n").count(), 3, "{install}");
        assert!(install.ends_with("---\nkind: Deployment\n"), "{install}");
    }

    #[test]
    fn a_changed_a_missing_and_a_leftover_file_have_drifted() {
        let root = std::env::temp_dir().join(format!("portcullis-generate-{}", std::process::id()));
        fs::create_dir_all(root.join("crds")).unwrap();
        let wanted = files(DEFINITIONS, None).unwrap();
        let (same, missing) = ("crds/portcullis.dev_gateways.yaml", "crds/portcullis.dev_tunnels.yaml");
        fs::write(root.join(same), &wanted[Path::new(same)]).unwrap();
        fs::write(root.join("crds/old.yaml"), "").unwrap();
        assert_eq!(drifted(&root, &wanted).unwrap(), [missing, "crds/old.yaml"].map(PathBuf::from));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_definition_without_a_name_is_an_error() {
        assert!(files("kind: A\n", None).is_err());
    }
}

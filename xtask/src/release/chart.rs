//! The chart as a package of this release, whose images are the release's, and the manifest that it renders to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::VERSION;
use super::archive::zipped;
use crate::helm::{self, CHART, NAMESPACE, RELEASE};
use crate::image::tar::Tar;
use crate::{command, say, workspace};

/// The package's name.
pub(super) fn name() -> String {
    format!("portcullis-{VERSION}.tgz")
}

/// Writes the package. Helm's own dates each file with the time at which it is made.
pub(super) fn package(out: &Path) -> Result<()> {
    let step = say::step(name());
    let root = workspace::root().join(CHART);
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut tar = Tar::default();
    for path in files {
        let inside = path.strip_prefix(&root).context("a file outside of the chart")?;
        let mut bytes = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        if inside == Path::new("Chart.yaml") {
            bytes = released(&String::from_utf8(bytes).context("Chart.yaml is no text")?)?.into_bytes();
        }
        tar.file(&format!("portcullis/{}", inside.display()), 0o644, &bytes)?;
    }
    let path = out.join(name());
    fs::write(&path, zipped(&tar.finish())?)
        .with_context(|| format!("failed to write {}", path.display()))?;
    // Helm takes it for one of its own.
    command::run(helm::program()?.args(["lint", "--strict", "--quiet"]).arg(&path))?;
    step.done();
    Ok(())
}

/// Writes what `kubectl apply` takes where there is no Helm.
pub(super) fn manifest(out: &Path, registry: &str) -> Result<()> {
    let step = say::step("install.yaml");
    let mut template = helm::program()?;
    template.args(["template", RELEASE, "--namespace", NAMESPACE, "--skip-tests"]);
    template.args(["--set", &format!("global.imageRegistry={registry}")]).arg(out.join(name()));
    let namespace = fs::read_to_string(workspace::root().join("manifests/namespace.yaml"))
        .context("failed to read the namespace's manifest")?;
    let rendered = command::output(&mut template)?;
    ensure!(
        rendered.contains(&format!("image: {registry}/portcullis-operator:{VERSION}\n")),
        "the package's images are not the release's"
    );
    let text = format!(
        "# Portcullis {VERSION}: kubectl apply --server-side -f install.yaml\n---\n{namespace}{rendered}"
    );
    fs::write(out.join("install.yaml"), text).context("failed to write install.yaml")?;
    step.done();
    Ok(())
}

/// `Chart.yaml` of a release: its images have its version for a tag.
fn released(text: &str) -> Result<String> {
    ensure!(
        text.contains(&format!("\nversion: {VERSION}\n")),
        "Chart.yaml is of another version than {VERSION}"
    );
    ensure!(text.contains("\nappVersion: dev\n"), "Chart.yaml has no `appVersion: dev` to replace");
    let lines = text.lines().filter(|line| !line.starts_with("# The tag of the images"));
    let lines =
        lines.map(
            |line| if line == "appVersion: dev" { format!("appVersion: {VERSION}") } else { line.to_owned() },
        );
    Ok(lines.map(|line| line + "\n").collect())
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let path = entry.context("failed to read the chart")?.path();
        if path.is_dir() { collect(&path, into)? } else { into.push(path) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_chart_names_the_images_of_its_version() {
        let text = fs::read_to_string(workspace::root().join(CHART).join("Chart.yaml")).unwrap();
        let released = released(&text).unwrap();
        assert!(
            released.contains(&format!("\nappVersion: {VERSION}\n")) && !released.contains("appVersion: dev"),
            "{released}"
        );
        assert!(super::released("apiVersion: v2\nversion: 9.9.9\nappVersion: dev\n").is_err());
    }
}

//! Definitions as templates of the chart, and what is made with the chart: the manifest to install.

use std::fs;

use anyhow::{Context as _, Result};

use super::Files;
use crate::helm::{self, CHART, NAMESPACE, RELEASE};
use crate::{command, say, workspace};

/// Where the chart's definitions are.
pub(super) const DEFINITIONS: &str = "charts/portcullis/templates/crds";

const HEAD: &str = "{{- /* Made by `cargo xtask generate` from api/; do not edit. */}}\n";
const INSTALL_HEAD: &str = "# Made by `cargo xtask generate` from charts/portcullis and manifests/namespace.yaml; do not edit.\n# kubectl apply --server-side -f install.yaml\n";
const OVERLAY_HEAD: &str = "# Made by `cargo xtask generate` from charts/portcullis; do not edit.\n";
/// The namespace that the overlay's operator looks after.
const WATCHED: &str = "demo";
/// The namespace that the operator lives in, under the restricted Pod Security profile.
const NAMESPACE_FILE: &str = "manifests/namespace.yaml";

/// A definition as a template: whether it is there, and what becomes of it, are values.
pub(super) fn definition(text: &str) -> String {
    let mut template = format!("{HEAD}{{{{- if .Values.crds.enabled }}}}\n");
    let mut named = false;
    for line in text.lines() {
        // What looks like an action of a template is none.
        template.push_str(&line.replace("{{", "{{ \"{{\" }}"));
        template.push('\n');
        if !named && line.starts_with("  name: ") {
            named = true;
            template.push_str("  {{- include \"portcullis.crd.metadata\" . | nindent 2 }}\n");
        }
    }
    template.push_str("{{- end }}\n");
    template
}

/// All that is rendered, by its path in the checkout.
pub(super) fn rendered() -> Result<Files> {
    let step = say::step("chart rendered");
    let namespace = fs::read_to_string(workspace::root().join(NAMESPACE_FILE))
        .with_context(|| format!("failed to read {NAMESPACE_FILE}"))?;
    let all = template(&[])?;
    let operator = template(&["--set", "crds.enabled=false"])?;
    let rights = template(&[
        "--set",
        &format!("watchNamespaces={{{WATCHED}}}"),
        "--show-only",
        "templates/rbac.yaml",
    ])?;
    step.done();
    let watched = rights.split("---\n").filter(|it| it.contains(&format!("\n  namespace: {WATCHED}\n")));
    let watched: Vec<_> = watched.map(|it| format!("{}\n", it.trim_end())).collect();
    let files = [
        ("manifests/install.yaml", format!("{INSTALL_HEAD}---\n{namespace}{all}")),
        ("manifests/kustomize/base/operator.yaml", format!("{OVERLAY_HEAD}---\n{namespace}{operator}")),
        (
            "manifests/kustomize/namespaced/watched.yaml",
            format!("{OVERLAY_HEAD}---\n{}", watched.join("---\n")),
        ),
    ];
    Ok(files.into_iter().map(|(path, text)| (path.into(), text)).collect())
}

/// What `helm template` makes with these values. The names of the files that objects come from are no part of it.
fn template(values: &[&str]) -> Result<String> {
    let mut helm = helm::program()?;
    helm.args(["template", RELEASE, "--namespace", NAMESPACE, "--skip-tests"]).args(values);
    let printed = command::output(helm.arg(workspace::root().join(CHART)))?;
    let lines = printed.lines().filter(|line| !line.starts_with("# Source: "));
    let lines: Vec<_> = lines.map(str::trim_end).collect();
    Ok(format!("{}\n", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_kept_as_it_is_but_for_its_metadata() {
        let text = "kind: A\nmetadata:\n  name: a.b\nspec:\n  name: '{{x}}'\n  name: b\n";
        assert_eq!(
            definition(text),
            format!(
                "{HEAD}{{{{- if .Values.crds.enabled }}}}\nkind: A\nmetadata:\n  name: a.b\n  {{{{- include \"portcullis.crd.metadata\" . | nindent 2 }}}}\nspec:\n  name: '{{{{ \"{{{{\" }}}}x}}}}'\n  name: b\n{{{{- end }}}}\n"
            )
        );
    }
}

//! A cluster with the operator in it: ours, or one of the user's that a kubeconfig context names.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cluster::Cluster;
use crate::images;
use crate::images::context::Target;
use crate::{command, say, workspace};

const OPERATOR: &str = "portcullis-operator";

/// Where to install.
#[derive(Debug, Clone)]
pub(crate) enum Site {
    /// A cluster of ours on this machine.
    Local(Cluster),
    /// A cluster of the user's, and how images come to it.
    Theirs { context: String, target: Target },
}

impl Site {
    /// `kubectl` for it.
    pub(crate) fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Command> {
        match self {
            Self::Local(cluster) => cluster.kubectl(arguments),
            Self::Theirs { context, .. } => {
                if !command::exists("kubectl") {
                    bail!("kubectl is not installed, which knows the context '{context}'");
                }
                let mut kubectl = Command::new("kubectl");
                kubectl.args(["--context", context]).args(arguments);
                Ok(kubectl)
            }
        }
    }

    /// Builds our images and hands them to the nodes; says whether there was anything new.
    pub(crate) fn bring_images(&self) -> Result<bool> {
        let archives = images::build(images::Profile::Release, images::Builder::Own, None)?;
        let cluster = match self {
            Self::Theirs { target, .. } => return target.take(&archives).map(|()| true),
            Self::Local(cluster) => cluster,
        };
        let step = say::step("images loaded");
        let mut new = false;
        for archive in &archives {
            new |= cluster.load_if_new(&archive.path)?;
        }
        step.done_as(if new { "images loaded" } else { "images are loaded already" });
        Ok(new)
    }

    /// Installs the operator, or brings it up to date, and waits until it runs. New images keep their name, so whatever
    /// runs of the old ones is replaced.
    pub(crate) fn install_operator(&self, new_images: bool) -> Result<()> {
        let step = say::step("operator installed");
        let ours = ["--namespace", "portcullis-system"];
        let there =
            command::succeeds(&mut self.kubectl(ours.into_iter().chain(["get", "deployment", OPERATOR]))?);
        self.apply(&workspace::root().join("manifests/install.yaml"))?;
        if there && new_images {
            command::run(&mut self.kubectl(ours.into_iter().chain([
                "rollout",
                "restart",
                "deployment",
                OPERATOR,
            ]))?)?;
        }
        let wait = ["rollout", "status", "deployment", OPERATOR, "--timeout=120s"];
        if let Err(error) = command::run(&mut self.kubectl(ours.into_iter().chain(wait))?) {
            let tell = |look: &[&str]| {
                let told = self.kubectl(ours.into_iter().chain(look.iter().copied()));
                told.and_then(|mut kubectl| command::output(&mut kubectl)).unwrap_or_default()
            };
            let pods = tell(&["describe", "pods"]);
            let logs = tell(&["logs", &format!("deployment/{OPERATOR}"), "--tail", "20"]);
            return Err(error.context(format!("{}\n{logs}", command::tail(&pods, 30))));
        }
        if there && new_images {
            let gateways =
                ["delete", "pods", "-A", "-l", "app.kubernetes.io/name=portcullis-gateway", "--wait=false"];
            command::run(&mut self.kubectl(gateways)?)?;
        }
        step.done();
        Ok(())
    }

    /// Applies a manifest, in which our images have the names that this cluster knows them by.
    pub(crate) fn apply(&self, manifest: &Path) -> Result<()> {
        let text = std::fs::read_to_string(manifest)
            .with_context(|| format!("failed to read {}", manifest.display()))?;
        let mut kubectl = self.kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"])?;
        let applied = command::run_with_input(&mut kubectl, &self.named(&text));
        applied.with_context(|| format!("failed to apply {}", manifest.display()))
    }

    fn named(&self, text: &str) -> String {
        match self {
            Self::Theirs { target: target @ Target::Registry(_), .. } => {
                text.replace("localhost/", &target.name_of("localhost/"))
            }
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_in_a_manifest_get_the_names_that_the_registry_has_them_under() {
        let target = Target::Registry("registry.example/team".into());
        let site = Site::Theirs { context: "any".into(), target };
        assert_eq!(
            site.named("image: localhost/go-httpbin:dev"),
            "image: registry.example/team/go-httpbin:dev"
        );
        let site = Site::Local(Cluster::named("a").unwrap());
        assert_eq!(site.named("image: localhost/go-httpbin:dev"), "image: localhost/go-httpbin:dev");
    }
}

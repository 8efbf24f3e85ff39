//! `cargo xtask install`: a cluster with the operator in it, ours, or one of the user's that a kubeconfig context names.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::helm::{CHART, NAMESPACE, RELEASE};
use crate::images::Profile;
use crate::images::context::{Named, Target};
use crate::{command, helm, images, say, workspace};

mod place;

pub(crate) use place::Place;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// How the binaries are optimised
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
}

/// Builds the images, hands them over and installs the operator, or brings all that up to date.
pub(crate) fn act(options: &Options) -> Result<()> {
    let site = options.place.site()?;
    let images = site.bring_images(options.profile)?;
    site.install_operator(&images)
}

const OPERATOR: &str = "portcullis-operator";
/// What the references of our own images have in common.
const OURS: &str = "/portcullis";
/// Annotation of the operator's Deployment and pods: which contents of our images run.
const CONTENTS: &str = "portcullis.dev/images";
/// Selects the Deployments that the operator made, and their pods.
const GATEWAYS: &str = "app.kubernetes.io/managed-by=portcullis";

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

    /// Helm for it, in the release's namespace.
    fn helm(&self) -> Result<Command> {
        let mut helm = match self {
            Self::Local(cluster) => cluster.command(helm::program()?.get_program())?,
            Self::Theirs { context, .. } => {
                let mut helm = helm::program()?;
                helm.args(["--kube-context", context]);
                helm
            }
        };
        helm.args(["--namespace", NAMESPACE]);
        Ok(helm)
    }

    /// Builds our images and hands them to the nodes.
    pub(crate) fn bring_images(&self, profile: Profile) -> Result<Images> {
        let archives = images::build(profile, images::Builder::Own, None)?;
        let names = match self {
            Self::Theirs { target, .. } => target.take(&archives)?,
            Self::Local(cluster) => {
                let step = say::step("images loaded");
                let mut new = false;
                for archive in &archives {
                    new |= cluster.load_if_new(&archive.path)?;
                }
                step.done_as(if new { "images loaded" } else { "images are loaded already" });
                Vec::new()
            }
        };
        let ours = archives.iter().filter(|archive| archive.reference.contains(OURS));
        let contents = ours.map(images::Archive::content).collect::<Result<Vec<_>>>()?.join(".");
        Ok(Images { names, contents, hurried: profile == Profile::Dev })
    }

    /// Installs the operator by its chart, or brings it up to date, and waits until it runs. Images that keep their name
    /// do so with new content: then whatever runs of the old ones is replaced, one after the other; all at once where
    /// somebody waits for what they have just compiled.
    pub(crate) fn install_operator(&self, images: &Images) -> Result<()> {
        let step = say::step("operator installed");
        let ours = ["--namespace", NAMESPACE];
        let runs = format!(
            r#"--output=jsonpath={{range .items[?(@.metadata.name=="{OPERATOR}")]}}{{.metadata.annotations.{}}}{{"\n"}}{{end}}"#,
            CONTENTS.replace('.', r"\.")
        );
        let runs = ["get", "deployments", &runs];
        let runs = command::output(&mut self.kubectl(ours.into_iter().chain(runs))?)?;
        let restart = runs.lines().next().is_some_and(|runs| images.need_a_restart(runs.trim()));
        if restart && images.hurried {
            self.replace_gateways_at_once()?;
        }
        self.apply(&workspace::root().join("manifests/namespace.yaml"), images)?;
        self.install_chart(&images.values()?)?;
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
        if restart && !images.hurried {
            self.restart_gateways()?;
        }
        // Noted last: a run that broke off before is caught up with by the next one.
        let contents = format!("{CONTENTS}={}", images.contents);
        let note = ["annotate", "deployment", OPERATOR, "--overwrite", &contents];
        command::run(&mut self.kubectl(ours.into_iter().chain(note))?)?;
        step.done();
        Ok(())
    }

    /// Helm without `--wait`: a release that is killed while it waits can neither be upgraded nor installed anew. What was
    /// there before, applied by an earlier checkout or changed by hand, becomes the release's.
    fn install_chart(&self, values: &Value) -> Result<()> {
        let mut helm = self.helm()?;
        helm.args(["upgrade", "--install", RELEASE]).arg(workspace::root().join(CHART));
        helm.args(["--server-side=true", "--take-ownership", "--force-conflicts", "--values", "-"]);
        command::run_with_input(&mut helm, &values.to_string())
    }

    /// Replaces the pods of every Gateway at the pace that its Deployment allows.
    fn restart_gateways(&self) -> Result<()> {
        let list =
            r#"--output=jsonpath={range .items[*]}{.metadata.namespace}{" "}{.metadata.name}{"\n"}{end}"#;
        let get = ["get", "deployments", "--all-namespaces", "--selector", GATEWAYS, list];
        for (namespace, name) in deployments(&command::output(&mut self.kubectl(get)?)?) {
            let restart = ["--namespace", namespace, "rollout", "restart", "deployment", name];
            command::run(&mut self.kubectl(restart)?)?;
        }
        Ok(())
    }

    /// Replaces the pods of every Gateway and connector without waiting for any: those that go still serve for as long as
    /// the others take to come.
    fn replace_gateways_at_once(&self) -> Result<()> {
        let delete = ["delete", "pods", "--all-namespaces", "--selector", GATEWAYS, "--wait=false"];
        command::run(&mut self.kubectl(delete)?)
    }

    /// Applies a manifest, in which our images have the names that this cluster knows them by.
    pub(crate) fn apply(&self, manifest: &Path, images: &Images) -> Result<()> {
        let text = std::fs::read_to_string(manifest)
            .with_context(|| format!("failed to read {}", manifest.display()))?;
        let mut kubectl = self.kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"])?;
        let applied = command::run_with_input(&mut kubectl, &images.named(&text));
        applied.with_context(|| format!("failed to apply {}", manifest.display()))
    }
}

/// Images that a cluster was handed.
#[derive(Debug)]
pub(crate) struct Images {
    /// Those that have another name there.
    names: Vec<Named>,
    /// What is in those that are ours, the operator's first.
    contents: String,
    /// Whether they were made for somebody who works on them.
    hurried: bool,
}

impl Images {
    /// A manifest with the cluster's names.
    fn named(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, image| text.replace(&image.reference, &image.name))
    }

    /// What the chart is told of them. The operator's pods are replaced where what is in theirs is other than before.
    fn values(&self) -> Result<Value> {
        let [operator, gateway, connector] =
            images::SHIPPED.map(|(name, _)| image_value(&self.named(&images::reference(name))));
        Ok(json!({
            "image": operator?,
            "gateway": { "image": gateway? },
            "connector": { "image": connector? },
            "podAnnotations": { CONTENTS: operator_of(&self.contents).0 },
        }))
    }

    /// Whether pods of Gateways and connectors with these other contents would go on under the same names. New names replace
    /// pods by themselves.
    fn need_a_restart(&self, running: &str) -> bool {
        let same_names = self.names.iter().all(|image| image.name == image.reference);
        same_names && operator_of(running).1 != operator_of(&self.contents).1
    }
}

/// What is in the operator's image, and what is in the others.
fn operator_of(contents: &str) -> (&str, &str) {
    contents.split_once('.').unwrap_or((contents, ""))
}

/// An image's name in the chart's parts.
fn image_value(name: &str) -> Result<Value> {
    let split = name.rsplit_once('/').and_then(|(registry, rest)| {
        let (repository, tag) = rest.split_once(':')?;
        Some(json!({ "registry": registry, "repository": repository, "tag": tag }))
    });
    split.with_context(|| format!("{name} is not REGISTRY/NAME:TAG"))
}

/// Namespaces and names, a line each.
fn deployments(listed: &str) -> impl Iterator<Item = (&str, &str)> {
    listed.lines().filter_map(|line| line.trim().split_once(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(name: &str) -> Images {
        let named = Named { reference: "localhost/portcullis-gateway:dev".into(), name: name.into() };
        Images { names: vec![named], contents: "0f.1e".into(), hurried: false }
    }

    #[test]
    fn images_in_a_manifest_get_the_names_that_the_registry_has_them_under() {
        assert_eq!(
            images("registry.example/team/portcullis-gateway:dev-1e")
                .named("- --gateway-image=localhost/portcullis-gateway:dev\n"),
            "- --gateway-image=registry.example/team/portcullis-gateway:dev-1e\n"
        );
        let local = Images { names: Vec::new(), contents: String::new(), hurried: false };
        assert_eq!(local.named("image: localhost/go-httpbin:dev"), "image: localhost/go-httpbin:dev");
    }

    #[test]
    fn the_chart_is_told_the_names_that_the_registry_has_images_under() {
        let values = images("registry.example:5000/team/portcullis-gateway:dev-1e").values().unwrap();
        let wanted = json!({
            "image": { "registry": "localhost", "repository": "portcullis-operator", "tag": "dev" },
            "gateway": { "image": {
                "registry": "registry.example:5000/team", "repository": "portcullis-gateway", "tag": "dev-1e" } },
            "connector": { "image": { "registry": "localhost", "repository": "portcullis", "tag": "dev" } },
            "podAnnotations": { CONTENTS: "0f" },
        });
        assert_eq!(values, wanted);
    }

    #[test]
    fn pods_are_restarted_only_for_new_content_under_an_old_name() {
        let loaded = images("localhost/portcullis-gateway:dev");
        assert!(!loaded.need_a_restart("0f.1e"));
        assert!(loaded.need_a_restart("0f.00"));
        assert!(!loaded.need_a_restart("00.1e"), "the operator's own pods have it written on them");
        assert!(loaded.need_a_restart(""), "installed by somebody else");
        let pushed = images("registry.example/portcullis-gateway:dev-1e");
        assert!(!pushed.need_a_restart("0f.00"), "its new name does it");
    }

    #[test]
    fn deployments_are_read_line_by_line() {
        let listed: Vec<_> = deployments("demo door\nshop front\n").collect();
        assert_eq!(listed, [("demo", "door"), ("shop", "front")]);
        assert_eq!(deployments("").count(), 0);
    }
}

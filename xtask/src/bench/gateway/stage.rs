//! A cluster of this machine with a node and the operator, for benches that need one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cluster::{Cluster, Extent};
use crate::images::{self, Profile};
use crate::install::Site;
use crate::{command, say};

/// Where everything is.
pub(in crate::bench) const NAMESPACE: &str = "bench";

/// The cluster, taken down when dropped.
pub(in crate::bench) struct Stage {
    cluster: Cluster,
    program: PathBuf,
}

impl Stage {
    /// Starts it anew, for this program of the bench crate.
    pub(in crate::bench) fn up(cluster: &str, program: &str) -> Result<Self> {
        let programs = images::compiled(Profile::Release, &["portcullis-bench"])?;
        let stage = Self { cluster: Cluster::named(cluster)?, program: programs.join(program) };
        stage.cluster.down()?;
        stage.cluster.up(Extent::Node)?;
        let site = Site::Local(stage.cluster.clone());
        let images = site.bring_images(images::Profile::Release)?;
        site.install_operator(&images)?;
        command::run(&mut stage.cluster.kubectl(["create", "namespace", NAMESPACE])?)?;
        Ok(stage)
    }

    /// The program, which finds the cluster.
    pub(in crate::bench) fn program(&self) -> Result<Command> {
        self.cluster.command(&self.program)
    }

    pub(in crate::bench) fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        self.cluster.kubectl(["--namespace", NAMESPACE].into_iter().chain(arguments.iter().copied()))
    }

    pub(in crate::bench) fn apply(&self, manifest: &str) -> Result<()> {
        command::run_with_input(&mut self.kubectl(&["apply", "-f", "-"])?, manifest)
    }

    /// Where a Gateway's Service is.
    pub(in crate::bench) fn address(&self, name: &str) -> Result<String> {
        let address = ["get", &format!("service/{name}"), "-o", "jsonpath={.spec.clusterIP}"];
        Ok(format!("{}:443", command::output(&mut self.kubectl(&address)?)?.trim()))
    }

    /// The three files of a bundle, in one request.
    pub(in crate::bench) fn fetch(&self, secret: &str, folder: &Path) -> Result<()> {
        const FILES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];
        let file = |name: &str| format!("{{{{index .data \"{name}\" | base64decode}}}}");
        let template = format!("go-template={}", FILES.map(file).join("\u{1}"));
        let told = command::output(&mut self.kubectl(&["get", secret, "-o", &template])?)?;
        for (name, text) in FILES.iter().zip(told.split('\u{1}')) {
            fs::write(folder.join(name), text).context("failed to write the bundle")?;
        }
        Ok(())
    }

    pub(in crate::bench) fn described(&self, name: &str) -> String {
        let told = self.kubectl(&["describe", &format!("gateways.portcullis.dev/{name}")]);
        told.and_then(|mut describe| command::output(&mut describe)).unwrap_or_default()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.down() {
            say::note(format!("error: {error:#}"));
        }
    }
}

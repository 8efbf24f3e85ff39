//! Which cluster is meant, on a command line: one of this machine, or one of the user's.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use super::Site;
use crate::cluster::{Cluster, Extent, cli};
use crate::images::context::Target;
use crate::{command, prerequisites, say};

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Which cluster of this machine; started where it is not up
    #[arg(long, default_value = cli::DEFAULT)]
    pub(crate) name: String,
    /// Use a cluster of yours instead, by its kubeconfig context: images are loaded into kind, k3d and minikube
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub(crate) context: Option<String>,
    /// Where a cluster of yours fetches images from; they are pushed there
    #[arg(long, value_name = "HOST/PREFIX", requires = "context")]
    registry: Option<String>,
}

impl Place {
    /// The cluster, up.
    pub(crate) fn site(&self) -> Result<Site> {
        if !command::exists("curl") {
            install(&["curl"])?;
        }
        if let Some(context) = &self.context {
            let target =
                Target::of(Some(context), self.registry.as_deref())?.context("no way to hand over images")?;
            return Ok(Site::Theirs { context: context.clone(), target });
        }
        if prerequisites::is_root() {
            install(&prerequisites::missing_packages(Extent::Node))?;
        }
        let cluster = Cluster::named(&self.name)?;
        cluster.up(Extent::Node)?;
        Ok(Site::Local(cluster))
    }
}

/// Installs Debian packages where that is possible; where not, the check that follows says what is missing.
fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() || !prerequisites::is_root() || !command::exists("apt-get") {
        return Ok(());
    }
    let step = say::step(format!("apt-get install --no-install-recommends {}", packages.join(" ")));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    command::run(apt().args(["-q", "update"]))?;
    command::run(apt().args(["-q", "-y", "install", "--no-install-recommends"]).args(packages))?;
    step.done();
    Ok(())
}

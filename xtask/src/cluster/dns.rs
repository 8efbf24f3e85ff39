//! Cluster DNS, and the two images that the node itself needs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cluster::Cluster;
use crate::go::Module;
use crate::image::Image;
use crate::{cache, command};

const MANIFEST: &str = include_str!("../../cluster/coredns.yaml");

/// The archives of the sandbox's and the name server's image.
pub(super) fn images() -> Result<Vec<PathBuf>> {
    [(Module::Pause, "pause", "65532:65532"), (Module::CoreDns, "coredns", "0:0")]
        .into_iter()
        .map(|(module, name, user)| {
            let programs = module.programs()?;
            let built = programs.file_name().unwrap_or_default().to_string_lossy();
            let folder = cache::built(&format!("{built}-image"), |folder| {
                let program =
                    fs::read(programs.join(name)).with_context(|| format!("failed to read {name}"))?;
                let image = Image {
                    reference: &format!("localhost/{name}:1"),
                    entrypoint: &format!("/{name}"),
                    program: &program,
                    user,
                    labels: &[],
                };
                fs::write(folder.join("image.tar"), image.archive()?).context("failed to write an image")
            })?;
            Ok(folder.join("image.tar"))
        })
        .collect()
}

/// Hands the name server to the API server.
pub(super) fn install(cluster: &Cluster) -> Result<()> {
    let manifest = cluster.state().join("coredns.yaml");
    fs::write(&manifest, MANIFEST).context("failed to write the name server's manifest")?;
    let mut apply: Command = cluster.kubectl(["apply", "--server-side", "-f"])?;
    command::run(apply.arg(&manifest)).context("failed to install the name server")
}

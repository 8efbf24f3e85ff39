//! `cargo xtask cluster`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};

use crate::cluster::{Cluster, Extent};
use crate::go::Module;
use crate::say;

/// The name of a cluster, where none is given.
pub(crate) const DEFAULT: &str = "portcullis";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Start a cluster: Kubernetes with a real node, in a network of its own (needs root)
    ///
    /// Its programs are built from Go modules the first time, which takes minutes. A cluster that is up is left alone; what is
    /// left of one that was killed is cleared away first.
    Up {
        #[command(flatten)]
        which: Which,
        /// Only the store and the API server: no pods, up in three seconds
        #[arg(long)]
        api_only: bool,
    },
    /// End a cluster and remove all that it left, after a crash too
    Down {
        #[command(flatten)]
        which: Which,
        /// Every cluster that was started on this machine
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Run a command in the cluster's network, with KUBECONFIG set and kubectl, helm and grpcurl on PATH
    ///
    /// For example: cargo xtask cluster run -- kubectl get pods -A
    Run {
        #[command(flatten)]
        which: Which,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Give image archives to the cluster's node
    Load {
        #[command(flatten)]
        which: Which,
        /// Archives, as `cargo xtask images` or `docker save` write them
        #[arg(required = true, value_name = "IMAGE.tar")]
        archives: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Which cluster; several run side by side
    #[arg(long, default_value = DEFAULT)]
    name: String,
}

/// Does what was asked.
pub(crate) fn act(action: Action) -> Result<()> {
    match action {
        Action::Up { which, api_only } => up(&Cluster::named(&which.name)?, api_only),
        Action::Down { all: true, .. } => {
            let clusters = Cluster::all()?;
            if clusters.is_empty() {
                say::note("there is no cluster");
            }
            clusters.iter().try_for_each(Cluster::down)
        }
        Action::Down { which, .. } => Cluster::named(&which.name)?.down(),
        Action::Run { which, command } => run(&Cluster::named(&which.name)?, &command),
        Action::Load { which, archives } => {
            let cluster = Cluster::named(&which.name)?;
            for archive in &archives {
                let step = say::step(format!("{} loaded", archive.display()));
                cluster.load(archive)?;
                step.done();
            }
            Ok(())
        }
    }
}

fn up(cluster: &Cluster, api_only: bool) -> Result<()> {
    cluster.up(if api_only { Extent::ApiOnly } else { Extent::Node })?;
    let name = if cluster.name() == DEFAULT { String::new() } else { format!(" --name {}", cluster.name()) };
    let what = if api_only { "namespaces" } else { "pods" };
    say::note(format!(
        "\n  cargo xtask cluster run{name} -- kubectl get {what} -A\n  cargo xtask cluster down{name}\n  logs: {}",
        cluster.logs().display()
    ));
    Ok(())
}

/// Becomes the command, so that signals and the exit code are the command's own.
fn run(cluster: &Cluster, command: &[OsString]) -> Result<()> {
    let (program, arguments) = command.split_first().context("no command")?;
    if program == "helm" {
        Module::Helm.programs()?;
    }
    if program == "grpcurl" || program == "grpc-health-probe" {
        Module::Tools.programs()?;
    }
    let mut inside = cluster.command(program)?;
    let error = inside.args(arguments).exec();
    ensure!(error.raw_os_error().is_none(), "failed to run nsenter: {error}");
    Ok(())
}

//! Arguments that say which cluster: of `gateway add --from-kube`, and of the kubectl plugin.

use std::path::PathBuf;

use clap::Args;

/// Which cluster.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct Kube {
    /// The namespace that is meant where none is said.
    #[arg(short, long, global = true, value_name = "NAME", hide_short_help = true)]
    pub namespace: Option<String>,

    /// The kubeconfig's context.
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub context: Option<String>,

    /// The kubeconfig. Without it, as kubectl does: KUBECONFIG, or else ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub kubeconfig: Option<PathBuf>,
}

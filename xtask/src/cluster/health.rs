//! Whether a cluster that somebody started earlier still does all that it should.

use std::path::Path;

use crate::cluster::process::Process;
use crate::cluster::up::Extent;
use crate::cluster::{Cluster, NODE};
use crate::command;

/// What is found of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Nothing at all.
    Absent,
    /// Something, but not all of it, or not what is asked for.
    Broken,
    /// All of it.
    Well,
}

/// Looks at everything.
pub(super) fn of(cluster: &Cluster, wanted: Extent, programs: &str) -> Health {
    let network = Path::new("/run/netns").join(cluster.netns());
    if !cluster.state().exists() && !network.exists() {
        return Health::Absent;
    }
    let serves = cluster.extent().is_some_and(|(extent, from)| extent >= wanted && from == programs);
    let lives = cluster.holder().is_some_and(|holder| holder.alive())
        && cluster.components().iter().all(Process::alive);
    if serves && lives && answers(cluster, wanted) { Health::Well } else { Health::Broken }
}

fn answers(cluster: &Cluster, wanted: Extent) -> bool {
    let ask = |arguments: &[&str]| {
        cluster.kubectl(arguments.iter().copied()).is_ok_and(|mut kubectl| command::succeeds(&mut kubectl))
    };
    ask(&["get", "--raw", "/readyz"])
        && (wanted == Extent::ApiOnly
            || ask(&["wait", "--for=condition=Ready", &format!("node/{NODE}"), "--timeout=1s"]))
}

//! Ending a cluster, in whatever state it is: nothing of it stays, and nothing else is touched.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::cluster::lock::Lock;
use crate::cluster::process::Process;
use crate::cluster::{Cluster, cgroups};
use crate::{cache, command, say, wait};

impl Cluster {
    /// Takes it down; that there is none is as good.
    pub(crate) fn down(&self) -> Result<()> {
        let _lock = Lock::take(self)?;
        let step = say::step(format!("cluster '{}' taken down", self.name()));
        if remove(self)? {
            step.done();
        } else {
            step.done_as(&format!("there is no cluster '{}'", self.name()));
        }
        Ok(())
    }
}

/// Removes all that there is of a cluster; says whether there was anything. The caller holds the lock.
pub(super) fn remove(cluster: &Cluster) -> Result<bool> {
    let network = Path::new("/run/netns").join(cluster.netns());
    let anything = cluster.state().exists() || network.exists();
    if let Some(holder) = cluster.holder() {
        // with the first process the kernel ends every other, and its mounts go with the last
        let mut processes = holder.children();
        processes.push(holder);
        processes.iter().for_each(Process::kill);
        processes.extend(cluster.components());
        wait::until_true("the end of its processes", Duration::from_secs(30), || {
            !processes.iter().any(Process::alive)
        })?;
    }
    if network.exists() {
        let name = cluster.netns();
        let guests = command::output(Command::new("ip").args(["netns", "pids", &name])).unwrap_or_default();
        for guest in guests.split_whitespace() {
            let program = std::fs::read_to_string(format!("/proc/{guest}/comm")).unwrap_or_default();
            say::note(format!(
                "        left alone, a guest in the cluster's network: {guest} {}",
                program.trim()
            ));
        }
        command::run(Command::new("ip").args(["netns", "delete", &name]))?;
    }
    cgroups::remove(&cluster.netns())?;
    wait::until(
        "the end of its state",
        Duration::from_secs(10),
        || Ok(cache::remove(&cluster.state()).ok()),
    )?;
    Ok(anything)
}

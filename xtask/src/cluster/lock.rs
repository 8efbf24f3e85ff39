//! One command at a time works on a cluster; a killed one holds nobody up.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::cluster::{Cluster, STATES};
use crate::say;

/// Held while a cluster is changed. Its file goes with it, so that nothing stays behind.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits until nobody else works on this cluster.
    pub(super) fn take(cluster: &Cluster) -> Result<Self> {
        fs::create_dir_all(STATES).with_context(|| format!("failed to make {STATES}"))?;
        let path = PathBuf::from(STATES).join(format!("{}.lock", cluster.name()));
        loop {
            let file = File::create(&path).with_context(|| format!("failed to make {}", path.display()))?;
            if file.try_lock().is_err() {
                say::note(format!("waiting for another command that works on cluster '{}'", cluster.name()));
                file.lock().context("failed to lock the cluster")?;
            }
            // the one that held it may have removed the file that was waited for
            if fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|held| held.ino() == now.ino()))
            {
                return Ok(Self { file, path });
            }
        }
    }

    /// The lock as the input of a process: held until that process closes it as well.
    pub(super) fn lent(&self) -> Result<Stdio> {
        Ok(self.file.try_clone().context("failed to lend the lock")?.into())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

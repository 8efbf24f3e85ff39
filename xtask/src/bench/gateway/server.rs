//! A program that serves while the bench runs, and never longer: it ends with this one, however this one ends.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command;

/// One that runs.
pub(in crate::bench) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it on these processors; what it says goes into a file.
    pub(in crate::bench) fn started(
        processors: &str,
        program: impl AsRef<OsStr>,
        arguments: &[&OsStr],
        log: &Path,
    ) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("failed to write {}", log.display()))?;
        let again = file.try_clone().context("failed to share a log")?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "taskset", "--cpu-list", processors])
            .arg(program.as_ref())
            .args(arguments)
            .env("PATH", command::search_path(&[]))
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(again)
            .spawn()
            .with_context(|| format!("failed to start {}", program.as_ref().display()))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// Its process: `setpriv` and `taskset` become the program that they start.
    pub(in crate::bench) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails with its own last words where it has ended.
    pub(in crate::bench) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("failed to ask for a server")? {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            bail!("a server ended ({status}):\n{}", command::tail(&said, 10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

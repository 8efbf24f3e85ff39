//! Processes that listen in the background. One that lives holds a lock, so that a record that a dead one has left fools
//! nobody, whoever has its process id by now.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};
use crate::store::base;
use crate::store::folder::Folder;

/// How often a process that begins tries to get its lock, and how long it waits in between: somebody may just look at it.
const ATTEMPTS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// A process that listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: u32,
    /// The gateway's URL.
    pub(crate) gateway: String,
    /// What it forwards to.
    pub(crate) endpoint: String,
    pub(crate) project: String,
    pub(crate) name: String,
    /// Empty until a byte has come back through it.
    pub(crate) url: String,
    /// Where it writes what it says.
    pub(crate) log: PathBuf,
}

/// Where one of them keeps what it is.
#[derive(Debug)]
pub(crate) struct Spot {
    folder: Folder,
    key: String,
}

/// The folder of all of them.
fn place() -> Option<PathBuf> {
    base("XDG_STATE_HOME", ".local/state").map(|base| base.join("portcullis/tunnels"))
}

impl Spot {
    /// The spot of this key, with what leads to it.
    pub(crate) fn make(key: String) -> Result<Self, Failure> {
        let place = place().ok_or_else(|| {
            Failure::new(Exit::Failed, "there is no home to keep a log in").hint("set XDG_STATE_HOME or HOME")
        })?;
        Ok(Self { folder: Folder::create(&place)?, key })
    }

    fn file(&self, kind: &str) -> String {
        format!("{}.{kind}", self.key)
    }

    /// Where it writes what it says.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path(&self.file("log"))
    }

    /// An empty log, and nothing that one before has said of itself.
    pub(crate) fn fresh_log(&self) -> Result<File, Failure> {
        self.folder.remove(&self.file("json"))?;
        self.folder.write(&self.file("log"), b"")?;
        let path = self.log();
        File::options().append(true).open(&path).map_err(|error| {
            Failure::new(Exit::Failed, format!("failed to open {}: {error}", path.display()))
        })
    }

    /// The lock, which is held until it is dropped; none where another process has it for longer than it takes to look.
    pub(crate) async fn hold(&self) -> Result<Option<File>, Failure> {
        let file = self.folder.open_lock(&self.file("lock"))?;
        for _ in 0..ATTEMPTS {
            if self.is_free(file.try_lock())? {
                return Ok(Some(file));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(None)
    }

    fn is_free(&self, tried: Result<(), TryLockError>) -> Result<bool, Failure> {
        match tried {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => {
                let message = format!("failed to lock {}: {error}", self.file("lock"));
                Err(Failure::new(Exit::Failed, message))
            }
        }
    }

    /// What the process says of itself; none where there is none that lives.
    pub(crate) fn process(&self) -> Result<Option<Process>, Failure> {
        // Several may look at once.
        if self.is_free(self.folder.open_lock(&self.file("lock"))?.try_lock_shared())? {
            return Ok(None);
        }
        let kept = self.folder.read(&self.file("json"))?;
        Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Says what this process is.
    pub(crate) fn tell(&self, process: &Process) -> Result<(), Failure> {
        // Texts under texts cannot fail.
        let bytes = serde_json::to_vec(process).unwrap_or_default();
        Ok(self.folder.write(&self.file("json"), &bytes)?)
    }
}

/// All that live. What cannot be read is as good as nothing.
pub(crate) fn running() -> Vec<Process> {
    let Some(place) = place() else { return Vec::new() };
    let keys = Folder::open(&place).ok().flatten().and_then(|folder| folder.list().ok()).unwrap_or_default();
    let keys = keys.into_iter().filter(|(_, kind)| *kind == FileType::RegularFile);
    let keys = keys.filter_map(|(name, _)| name.strip_suffix(".json").map(str::to_owned));
    keys.filter_map(|key| Spot { folder: Folder::open(&place).ok()??, key }.process().ok()?).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_counts_for_as_long_as_its_process_holds_the_lock() {
        let home = tempfile::tempdir().unwrap();
        let spot = || Spot { folder: Folder::create(&home.path().join("tunnels")).unwrap(), key: "a".into() };
        let process = Process { pid: 7, url: "https://web.example".into(), ..Process::default() };
        assert_eq!(spot().process().unwrap(), None);
        let held = spot().hold().await.unwrap().unwrap();
        assert_eq!(spot().process().unwrap(), None, "it has said nothing yet");
        spot().tell(&process).unwrap();
        assert_eq!(spot().process().unwrap(), Some(process));
        assert!(spot().hold().await.unwrap().is_none(), "another one lives");
        drop(held);
        // A program that another test starts at this moment has the file too, until it has begun.
        let let_go = async {
            while spot().process().unwrap().is_some() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let let_go = tokio::time::timeout(std::time::Duration::from_mins(1), let_go).await;
        assert!(let_go.is_ok(), "what a dead one has left fools nobody");
        assert!(spot().hold().await.unwrap().is_some());
    }
}

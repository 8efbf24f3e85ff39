//! Processes of this machine that tests look at or end: those in pods too, since the node is this machine.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub u32);

impl Process {
    /// Our program in a pod, by the name that the pod has told it.
    pub fn of_pod(pod: &str) -> Self {
        let wanted = format!("POD_NAME={pod}");
        let mut found = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let is_it = environment.split(|byte| *byte == 0).any(|text| text == wanted.as_bytes());
            is_it.then(|| entry.file_name().to_str()?.parse().ok())?
        });
        Self(found.next().unwrap_or_else(|| panic!("no process of the pod {pod} is here")))
    }

    /// `kill -9`.
    pub fn kill(self) {
        let killed = Command::new("kill").args(["-9", &self.0.to_string()]).status().unwrap();
        assert!(killed.success(), "{self:?} was gone already");
    }

    /// Lets it stand still for so long.
    pub async fn stands(self, stands: Duration) {
        let _awake = Awakened(self);
        self.signal("-STOP");
        sleep(stands).await;
    }

    /// Lets it stand still and run in turns until this is over: a process that is slow.
    pub async fn is_slow(self, stands: Duration, runs: Duration, over: CancellationToken) {
        while !over.is_cancelled() {
            self.stands(stands).await;
            over.run_until_cancelled(sleep(runs)).await;
        }
    }

    fn signal(self, signal: &str) {
        drop(Command::new("kill").args([signal, &self.0.to_string()]).status());
    }

    /// The most memory that it ever had, in megabytes (1e6).
    pub fn peak_megabytes(self) -> u64 {
        let status = fs::read_to_string(PathBuf::from(format!("/proc/{}/status", self.0))).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024 / 1_000_000
    }
}

/// Runs again once this is gone, however a test ends.
struct Awakened(Process);

impl Drop for Awakened {
    fn drop(&mut self) {
        self.0.signal("-CONT");
    }
}

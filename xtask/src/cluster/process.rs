//! Which process a recorded number stands for: a number alone may be another's by now.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// A process for good: its number, when it started, and since which start of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pid: u32,
    started: u64,
    boot: String,
}

/// Run by `sh` with a file and a command: writes down who it is, lets go of the lock that it got as its input, and
/// becomes the command.
pub(super) const RECORD_AND_RUN: &str = r#"
read -r boot </proc/sys/kernel/random/boot_id
read -r stat </proc/$$/stat
printf '%s\n%s\n' "$boot" "$stat" >"$0" && exec "$@" </dev/null"#;

impl Process {
    /// The process that has this number now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let Fields { pid, started, .. } = fields(&stat)?;
        Some(Self { pid, started, boot: boot()? })
    }

    /// What [`RECORD_AND_RUN`] or [`Process::record`] wrote.
    pub(super) fn recorded(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (boot, stat) = text.split_once('\n')?;
        let Fields { pid, started, .. } = fields(stat)?;
        Some(Self { pid, started, boot: boot.to_owned() })
    }

    /// Writes down the process that has this number now.
    pub(super) fn record(pid: u32, file: &Path) -> Result<()> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        fs::write(file, format!("{}\n{stat}", boot().unwrap_or_default()))
            .context("failed to record a process")
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs; one that waits to be buried does not.
    pub(super) fn alive(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else { return false };
        let same = fields(&stat).is_some_and(|now| now.started == self.started && !now.dead());
        same && boot().as_ref() == Some(&self.boot)
    }

    /// The processes that it started and that still run.
    pub(super) fn children(&self) -> Vec<Self> {
        if !self.alive() {
            return Vec::new();
        }
        let listed = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).unwrap_or_default();
        listed.split_whitespace().filter_map(|pid| Self::of(pid.parse().ok()?)).collect()
    }

    /// Ends it at once, if it is still the one that was recorded.
    pub(super) fn kill(&self) {
        if self.alive() {
            command::succeeds(Command::new("sh").args(["-c", r#"kill -KILL "$0""#, &self.pid.to_string()]));
        }
    }
}

/// What a line of `/proc/PID/stat` tells.
#[derive(Debug, PartialEq, Eq)]
struct Fields {
    pid: u32,
    state: char,
    threads: u32,
    started: u64,
}

impl Fields {
    /// A first process whose main thread is gone may have another one that still ends the rest of them.
    fn dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

/// Reads a line whose second field, the command's name, may hold anything.
fn fields(stat: &str) -> Option<Fields> {
    let (pid, _) = stat.split_once(' ')?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let rest: Vec<&str> = rest.split_whitespace().collect();
    Some(Fields {
        pid: pid.parse().ok()?,
        state: rest.first()?.chars().next()?,
        threads: rest.get(17)?.parse().ok()?,
        started: rest.get(19)?.parse().ok()?,
    })
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_not_another_with_its_number() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.alive());
        assert!(!Process { started: own.started + 1, ..own.clone() }.alive());
        assert!(!Process { boot: "another start".into(), ..own }.alive());
    }

    #[test]
    fn a_record_written_by_the_process_itself_is_read_back() {
        let file = std::env::temp_dir().join(format!("portcullis-record-{}", std::process::id()));
        let mut child =
            Command::new("sh").args(["-c", RECORD_AND_RUN]).arg(&file).args(["sleep", "60"]).spawn().unwrap();
        crate::wait::until_true("the record", std::time::Duration::from_mins(1), || {
            Process::recorded(&file).is_some()
        })
        .unwrap();
        let recorded = Process::recorded(&file).unwrap();
        assert_eq!(recorded.pid(), child.id());
        assert!(recorded.alive());
        recorded.kill();
        child.wait().unwrap();
        assert!(!recorded.alive());
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_command_name_with_spaces_and_brackets_does_not_confuse() {
        let stat = "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(fields(stat), Some(Fields { pid: 7, state: 'S', threads: 1, started: 4242 }));
    }

    #[test]
    fn a_process_is_dead_once_its_last_thread_is() {
        let seen = |state, threads| Fields { pid: 1, state, threads, started: 1 }.dead();
        assert!(seen('Z', 1) && !seen('Z', 2) && !seen('S', 1));
    }
}

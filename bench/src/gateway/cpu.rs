//! What a process has cost so far.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A tick of `/proc`: 1/100 s on every Linux that Rust's standard library runs on.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of processes, their own and the kernel's on their behalf, all threads together.
///
/// # Errors
/// Where there is no such process.
pub fn spent(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| of_one(*pid)).sum()
}

fn of_one(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    ticks(&stat).map(|ticks| TICK * ticks).with_context(|| format!("failed to understand {path}"))
}

/// User and system time of a line whose second field, the command's name, may hold anything.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_name() {
        assert_eq!(ticks("7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 30 12 9 9 20 0 1 0 42 0 0"), Some(42));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_that_works_spends_time() {
        let pid = [std::process::id()];
        let before = spent(&pid).unwrap();
        let mut sum = 0_u64;
        while spent(&pid).unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(spent(&pid).unwrap() > before);
    }
}

//! Which processors the door gets, and which are left for all else.

use anyhow::{Context as _, Result, ensure};

/// Numbers of processors, as `taskset --cpu-list` wants them.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::bench) struct Processors {
    pub(in crate::bench) door: String,
    pub(in crate::bench) others: String,
}

impl Processors {
    /// Divides those that this process may use: the last one is the door's.
    pub(in crate::bench) fn divided() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").context("failed to read /proc")?;
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let numbers = allowed.and_then(|list| numbers(list.trim())).context("failed to read /proc")?;
        divide(&numbers)
    }
}

fn divide(numbers: &[u32]) -> Result<Processors> {
    ensure!(numbers.len() > 1, "this takes two processors: one for the door, one for the load on it");
    let (door, others) = numbers.split_last().context("no processor")?;
    let others: Vec<_> = others.iter().map(ToString::to_string).collect();
    Ok(Processors { door: door.to_string(), others: others.join(",") })
}

/// Reads `0-2,5`.
fn numbers(list: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for range in list.split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        all.extend(from..=to);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_processor_is_the_door_s() {
        let divided = divide(&numbers("0-2,5").unwrap()).unwrap();
        assert_eq!(divided, Processors { door: "5".into(), others: "0,1,2".into() });
        assert!(divide(&[0]).is_err());
    }
}

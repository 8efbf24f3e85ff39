//! What the kernel knows of a process: memory and processor time.

use std::fs;

use anyhow::{Context as _, Result};

/// Memory of a process, in MB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub now: f64,
    /// The most that it ever was.
    pub peak: f64,
}

/// Memory of a process.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("failed to look at a process")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0 / 1e6).with_context(|| format!("no {name} in /proc/{pid}/status"))
    };
    Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// Processor time that a process has used, in seconds.
pub fn processor_time(pid: u32) -> Result<f64> {
    /// What the kernel counts in for other programs, on every architecture that Linux runs on today.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("failed to look at a process")?;
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    let field = |at: usize| fields.as_ref()?.get(at)?.parse::<f64>().ok();
    let ticks = field(11).zip(field(12)).context("/proc/PID/stat is of another form")?;
    Ok((ticks.0 + ticks.1) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_has_memory_and_never_had_less_than_now() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.now > 0.0 && memory.peak >= memory.now, "{memory:?}");
        assert!(processor_time(std::process::id()).unwrap() >= 0.0);
    }
}

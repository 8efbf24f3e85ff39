//! Many callers at once for a fixed time, and what that cost the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use tokio::task::JoinSet;

use super::caller::{Caller, Session};
use super::cpu;

/// What callers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Each keeps its connection and asks again and again.
    KeepAlive,
    /// Each connects anew for every request: a full handshake, one request, a polite close.
    Connect,
}

/// How much, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What callers do.
    pub manner: Manner,
    /// How many there are.
    pub callers: usize,
    /// Before the measurement begins.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
    /// The server's process.
    pub pid: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Requests, or connections, that ended well within the time.
    pub done: u64,
    /// The same in a second.
    pub per_second: f64,
    /// Processor time of the server for each, in microseconds.
    pub cpu_micros: f64,
    /// How much of one processor the server used, in percent.
    pub busy_percent: f64,
}

#[derive(Default)]
struct Tally {
    done: AtomicU64,
    stop: AtomicBool,
}

/// Runs it; any failure of any caller fails the whole.
///
/// # Errors
/// Where a caller cannot connect or is not answered with 200.
pub async fn run(caller: &Caller, load: Load) -> Result<Figures> {
    let tally = Arc::new(Tally::default());
    let mut callers = JoinSet::new();
    for _ in 0..load.callers {
        let (caller, tally) = (caller.clone(), Arc::clone(&tally));
        match load.manner {
            Manner::KeepAlive => {
                let session = caller.connect().await?;
                callers.spawn(async move { keep_asking(session, &tally).await });
            }
            Manner::Connect => drop(callers.spawn(async move { keep_connecting(&caller, &tally).await })),
        }
    }
    tokio::time::sleep(load.warm_up).await;
    let (began, before, already) =
        (Instant::now(), cpu::spent(load.pid)?, tally.done.load(Ordering::Relaxed));
    tokio::time::sleep(load.time).await;
    let (took, after) = (began.elapsed(), cpu::spent(load.pid)?);
    let (done, cost) = (tally.done.load(Ordering::Relaxed) - already, after.saturating_sub(before));
    tally.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    ensure!(done > 0, "nothing was answered");
    Ok(figures(done, took, cost))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn figures(done: u64, took: Duration, cost: Duration) -> Figures {
    Figures {
        done,
        per_second: done as f64 / took.as_secs_f64(),
        cpu_micros: cost.as_secs_f64() * 1e6 / done as f64,
        busy_percent: cost.as_secs_f64() / took.as_secs_f64() * 100.0,
    }
}

async fn keep_asking(mut session: Session, tally: &Tally) -> Result<()> {
    while !tally.stop.load(Ordering::Relaxed) {
        ask(&mut session).await?;
        tally.done.fetch_add(1, Ordering::Relaxed);
    }
    session.close().await
}

async fn keep_connecting(caller: &Caller, tally: &Tally) -> Result<()> {
    while !tally.stop.load(Ordering::Relaxed) {
        let mut session = caller.connect().await?;
        ask(&mut session).await?;
        session.close().await?;
        tally.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn ask(session: &mut Session) -> Result<()> {
    let status = session.ask().await?;
    ensure!(status == 200, "an answer with status {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rates_and_costs_of_one() {
        let figures = figures(1000, Duration::from_secs(2), Duration::from_millis(500));
        assert!((figures.per_second - 500.0).abs() < 1e-9);
        assert!((figures.cpu_micros - 500.0).abs() < 1e-9);
        assert!((figures.busy_percent - 25.0).abs() < 1e-9);
    }
}

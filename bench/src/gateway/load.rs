//! Many callers at once for a fixed time, and what that cost the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
#[derive(Clone, Debug)]
pub struct Load {
    /// What callers do.
    pub manner: Manner,
    /// How many there are.
    pub callers: usize,
    /// Before the measurement begins.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
    /// The server's processes.
    pub pids: Vec<u32>,
    /// Who else is there meanwhile.
    pub neighbours: Neighbours,
}

/// Downloads that go on meanwhile, each on a connection of its own.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    /// Whom they ask; without one, there are none.
    pub caller: Option<Caller>,
    /// How many read on and on.
    pub reading: usize,
    /// Bytes a second that each of those takes at most; 0: as many as come.
    pub pace: u32,
    /// How many ask and never read.
    pub stalled: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Requests, or connections, that ended well within the time.
    pub done: u64,
    /// The same in a second.
    pub per_second: f64,
    /// Processor time of the servers for each, in microseconds.
    pub cpu_micros: f64,
    /// How much of one processor the servers used, in percent.
    pub busy_percent: f64,
    /// Of a hundred requests, one took longer: microseconds, with the handshake where there is one.
    pub p99_micros: f64,
}

#[derive(Default)]
struct Tally {
    done: AtomicU64,
    measured: AtomicBool,
    stop: AtomicBool,
}

/// Runs it; any failure of any caller fails the whole.
///
/// # Errors
/// Where a caller cannot connect or is not answered with 200.
pub async fn run(caller: &Caller, load: Load) -> Result<Figures> {
    let tally = Arc::new(Tally::default());
    let neighbours = settle(&load.neighbours).await?;
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
    tally.measured.store(true, Ordering::Relaxed);
    let (began, before, already) =
        (Instant::now(), cpu::spent(&load.pids)?, tally.done.load(Ordering::Relaxed));
    tokio::time::sleep(load.time).await;
    let (took, after) = (began.elapsed(), cpu::spent(&load.pids)?);
    let (done, cost) = (tally.done.load(Ordering::Relaxed) - already, after.saturating_sub(before));
    tally.stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    while let Some(ended) = callers.join_next().await {
        times.extend(ended??);
    }
    drop(neighbours);
    ensure!(done > 0, "nothing was answered");
    Ok(figures(done, took, cost, times))
}

/// The neighbours, at it until dropped.
async fn settle(neighbours: &Neighbours) -> Result<JoinSet<Result<()>>> {
    let mut settled = JoinSet::new();
    let Some(caller) = &neighbours.caller else { return Ok(settled) };
    for number in 0..neighbours.reading + neighbours.stalled {
        let mut stream = caller.stream().await?;
        stream.write_all(caller.request()).await.context("failed to ask")?;
        stream.flush().await?;
        let (stalled, pace) = (number >= neighbours.reading, neighbours.pace);
        settled.spawn(async move {
            if stalled {
                std::future::pending::<()>().await;
            }
            let mut buffer = vec![0; 64 * 1024];
            let mut free = tokio::time::Instant::now();
            loop {
                let read = stream.read(&mut buffer).await.context("failed to read")?;
                ensure!(read > 0, "a neighbour's download ended");
                if pace > 0 {
                    free += Duration::from_nanos(1_000_000_000 * read as u64 / u64::from(pace));
                    tokio::time::sleep_until(free).await;
                }
            }
        });
    }
    Ok(settled)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn figures(done: u64, took: Duration, cost: Duration, mut times: Vec<Duration>) -> Figures {
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    Figures {
        done,
        per_second: done as f64 / took.as_secs_f64(),
        cpu_micros: cost.as_secs_f64() * 1e6 / done as f64,
        busy_percent: cost.as_secs_f64() / took.as_secs_f64() * 100.0,
        p99_micros: p99.as_secs_f64() * 1e6,
    }
}

impl Tally {
    /// One more is done, which began then.
    fn note(&self, began: Instant, times: &mut Vec<Duration>) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if self.measured.load(Ordering::Relaxed) {
            times.push(began.elapsed());
        }
    }
}

async fn keep_asking(mut session: Session, tally: &Tally) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !tally.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        ask(&mut session).await?;
        tally.note(began, &mut times);
    }
    session.close().await?;
    Ok(times)
}

async fn keep_connecting(caller: &Caller, tally: &Tally) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !tally.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let mut session = caller.connect().await?;
        ask(&mut session).await?;
        session.close().await?;
        tally.note(began, &mut times);
    }
    Ok(times)
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
        let times = (1..=1000).rev().map(Duration::from_micros).collect();
        let figures = figures(1000, Duration::from_secs(2), Duration::from_millis(500), times);
        assert!((figures.per_second - 500.0).abs() < 1e-9);
        assert!((figures.cpu_micros - 500.0).abs() < 1e-9);
        assert!((figures.busy_percent - 25.0).abs() < 1e-9);
        assert!((figures.p99_micros - 991.0).abs() < 1e-9);
    }
}

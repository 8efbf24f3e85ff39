//! Two replicas, three connectors and their visitors, while everything between them breaks as a seed says. What must hold
//! whatever breaks is written down in docs/reference/protocol.md ("Invariants"); failures name it.
//!
//! `PORTCULLIS_SEED=N` plays one seed again: the same events and the same requests at about the same moments.
//! `PORTCULLIS_SEEDS=200` plays so many.

mod book;
mod endpoint;
mod schedule;
mod stage;
mod visitor;

use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use book::Which;
use schedule::{Schedule, restore};
use stage::{Stage, all_ways};
use visitor::{Errand, Visit};

use crate::support::relay::{End, Weather};

/// Visitors at once while things break.
const VISITORS: u64 = 6;
/// Seeds at once.
const ABREAST: usize = 2;

/// A connection of which one side is gone without a word is let go: a ping every 10 s, 5 s to answer it.
const SILENCE: Duration = Duration::from_secs(30);
/// From the last fault until everything is connected as it should be: the longest wait of a connector is 10 s.
const RECOVERY: Duration = Duration::from_mins(1);
/// Whoever waits for an answer of a connection that breaks.
const AT_ONCE: Duration = Duration::from_secs(10);
/// A request, where nothing on its way is broken: generous, since a machine may be busy, and less than what it takes until
/// a link that is stalled is given up.
const PROMPT: Duration = Duration::from_secs(12);
/// Requests at once, where nothing is broken.
const CROWD: usize = 8;

const RECOVERS: &str = "visitors are answered again in bounded time after the faults";
const NEWER_STAYS: &str = "an old session never clears a newer one";
const WAITERS: &str = "every waiter of a dead session fails at once";
const NO_GROWTH: &str = "nothing grows with the number of past sessions";
const ALONE: &str = "a stalled link stops nobody on another one";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_the_invariants_of_the_session_protocol_hold() {
    let seeds = seeds();
    let mut failures = Vec::new();
    for abreast in seeds.chunks(ABREAST) {
        let runs = abreast.iter().map(|seed| {
            let seed = *seed;
            let run = tokio::spawn(run(seed));
            async move { run.await.unwrap_or_else(|error| Err(error.to_string())).map_err(|why| (seed, why)) }
        });
        failures.extend(join_all(runs).await.into_iter().filter_map(Result::err));
    }
    let failures: Vec<String> = failures
        .into_iter()
        .map(|(seed, why)| format!("PORTCULLIS_SEED={seed} plays this again\n{why}"))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// A router was restarted: the connector hears of it, the gateway does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_comes_again_takes_the_place_of_its_own_session_that_was_forgotten() {
    let stage = Stage::new().await;
    stage.within(RECOVERY, "connected at first", || connected_as_they_should(&stage)).await;
    let hanging = stage.hang(Which::Lab);
    stage.within(PROMPT, "they wait", || async { stage.hanging() == hanging.len() }).await;
    stage.end_all(Which::Lab, End::Forget);
    // Not when a ping is not answered: that is 15 s after the connection was opened.
    let ended = tokio::time::timeout(AT_ONCE, join_all(hanging)).await;
    assert!(ended.is_ok_and(|ended| ended.iter().all(|it| matches!(it, Ok(None)))), "{WAITERS}");
    stage.within(AT_ONCE, WAITERS, || async { stage.lines().iter().all(|line| line.holes() == 0) }).await;
    stage.within(RECOVERY, NEWER_STAYS, || connected_as_they_should(&stage)).await;
    all_is_well(&stage).await;
    assert_eq!(stage.book.verdict(), Ok(()));
}

/// Those that are always played, so that a failure is a change's; or new ones, as many as the environment says.
fn seeds() -> Vec<u64> {
    let said = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = said("PORTCULLIS_SEED") {
        return vec![seed];
    }
    let fresh = || u64::from(rand::random::<u32>());
    match said("PORTCULLIS_SEEDS") {
        Some(count) => (0..count).map(|_| fresh()).collect(),
        None => vec![1, 2, 3, 4],
    }
}

async fn run(seed: u64) -> Result<(), String> {
    // Not by a macro: the harness keeps those to itself until a test fails.
    let _ = writeln!(std::io::stderr(), "simulation: PORTCULLIS_SEED={seed}");
    let mut stage = Stage::new().await;
    let connected = "all connectors are connected to both replicas at first";
    stage.within(RECOVERY, connected, || connected_as_they_should(&stage)).await;
    let (stop, visitors) = (CancellationToken::new(), TaskTracker::new());
    for number in 0..VISITORS {
        visitors.spawn(wander(seed ^ (number << 40), stage.town.clone(), stop.clone()));
    }
    visitors.close();
    Schedule::new(seed).play(&mut stage).await;
    stop.cancel();
    recover(&mut stage).await;
    visitors.wait().await;
    if stage.book.verdict().is_ok() {
        all_is_well(&stage).await;
        stalled_links_stop_nobody_else(&stage).await;
        waiters_fail(&stage).await;
        nothing_is_left(&mut stage).await;
    }
    let (answered, failed) = (&stage.book.answered, &stage.book.failed);
    stage.book.note(format!(
        "{} answered, {} failed",
        answered.load(Ordering::SeqCst),
        failed.load(Ordering::SeqCst)
    ));
    if std::env::var_os("PORTCULLIS_SEED").is_some() {
        let _ = writeln!(std::io::stderr(), "{}", stage.book.told());
    }
    stage.book.verdict()
}

/// One visitor after the other, until there shall be no more.
async fn wander(seed: u64, town: std::sync::Arc<visitor::Town>, stop: CancellationToken) {
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.is_cancelled() {
        town.visit(Visit::draw(&mut random)).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
    }
}

/// Each connector to both replicas, and nobody else.
async fn connected_as_they_should(stage: &Stage) -> bool {
    let expected = stage.places.len();
    for replica in &stage.replicas {
        let connectors = replica.door.metric("portcullis_gateway_connectors").await;
        if (connectors - f64::from(u32::try_from(expected).unwrap())).abs() > 0.1 {
            return false;
        }
    }
    true
}

/// No more faults: everything comes back, and what has died without a word is let go without taking anything else.
async fn recover(stage: &mut Stage) {
    stage.book.note("the faults end");
    for line in stage.lines() {
        line.clear();
    }
    restore(stage).await;
    for place in 0..stage.places.len() {
        stage.start_connector(place).await;
    }
    let lines = stage.lines();
    stage.within(SILENCE, WAITERS, || async { lines.iter().all(|line| line.holes() == 0) }).await;
    stage.within(RECOVERY, NEWER_STAYS, || connected_as_they_should(stage)).await;
    for replica in 0..2 {
        for which in Which::ALL {
            let town = &stage.town;
            stage
                .within(RECOVERY, RECOVERS, || async {
                    for _ in 0..5 {
                        let visit =
                            Visit { replica, which, errand: Errand::Bytes, over_http2: false, length: 10 };
                        if town.visit(visit).await.is_none() {
                            return false;
                        }
                    }
                    true
                })
                .await;
        }
    }
    stage.book.note("recovered");
}

/// Where nothing is broken, nothing fails.
async fn all_is_well(stage: &Stage) {
    let mut visits = Vec::new();
    for errand in [Errand::Bytes, Errand::Events, Errand::Upload, Errand::Socket] {
        for (replica, which, over_http2) in all_ways() {
            visits.push(Visit { replica, which, errand, over_http2, length: 20_000 });
        }
    }
    prompt(stage, RECOVERS, visits).await;
}

/// Each of these is answered, and soon.
async fn prompt(stage: &Stage, invariant: &str, visits: Vec<Visit>) {
    for crowd in visits.chunks(CROWD) {
        let asked = crowd.iter().map(|visit| async move {
            let began = Instant::now();
            let answered = tokio::time::timeout(PROMPT, stage.town.visit(*visit)).await;
            if !matches!(answered, Ok(Some(()))) {
                stage
                    .book
                    .violation(invariant, format!("{visit:?}: {answered:?} after {:?}", began.elapsed()));
            }
        });
        join_all(asked).await;
    }
}

/// The ways to the first replica are stalled for one tunnel: who comes to the second replica, or for the other tunnel,
/// does not notice.
async fn stalled_links_stop_nobody_else(stage: &Stage) {
    stage.book.note("stalled");
    for line in stage.lines_of(Which::Web).iter().step_by(2) {
        line.set(Weather { frozen: true, ..Weather::default() });
    }
    let stuck = (0..4).map(|number| {
        let (town, over_http2) = (stage.town.clone(), number % 2 == 0);
        let visit =
            Visit { replica: 0, which: Which::Web, errand: Errand::Bytes, over_http2, length: 300_000 };
        tokio::spawn(async move { town.visit(visit).await })
    });
    let stuck: Vec<_> = stuck.collect();
    let elsewhere =
        all_ways().into_iter().filter(|(replica, which, _)| *replica == 1 || *which == Which::Lab);
    let visits = elsewhere.map(|(replica, which, over_http2)| Visit {
        replica,
        which,
        errand: Errand::Bytes,
        over_http2,
        length: 30_000,
    });
    prompt(stage, ALONE, visits.collect()).await;
    for line in stage.lines_of(Which::Web) {
        line.clear();
    }
    // They go on, or have failed by now.
    join_all(stuck).await;
    stage.within(RECOVERY, RECOVERS, || connected_as_they_should(stage)).await;
}

/// The connections of a tunnel break while its endpoint is working on requests.
async fn waiters_fail(stage: &Stage) {
    stage.book.note("waiters");
    let waiters = stage.hang(Which::Web);
    stage.within(PROMPT, RECOVERS, || async { stage.hanging() == waiters.len() }).await;
    stage.end_all(Which::Web, End::Reset);
    match tokio::time::timeout(AT_ONCE, join_all(waiters)).await {
        Ok(ended) if ended.iter().all(|it| matches!(it, Ok(None))) => {}
        Ok(ended) => stage.book.violation(WAITERS, format!("some were answered: {ended:?}")),
        Err(_) => stage.book.violation(WAITERS, format!("not within {AT_ONCE:?}")),
    }
    stage.within(AT_ONCE, WAITERS, || async { stage.hanging() == 0 }).await;
}

/// When everybody has gone, it is as if nobody had been there.
async fn nothing_is_left(stage: &mut Stage) {
    stage.book.note("everybody goes");
    stage.within(RECOVERY, RECOVERS, || connected_as_they_should(stage)).await;
    stage.stop_connector(0).await;
    stage.drop_connector(1);
    stage.drop_connector(2);
    stage.acquaint(false).await;
    let lines = stage.lines();
    stage.within(AT_ONCE, NO_GROWTH, || async { lines.iter().all(|line| line.open() == 0) }).await;
    for (replica, at_first) in stage.replicas.iter().zip(&stage.at_first) {
        for gauge in ["portcullis_gateway_connectors", "portcullis_gateway_connections_open"] {
            stage.within(PROMPT, NO_GROWTH, || async { replica.door.metric(gauge).await < 0.5 }).await;
        }
        // A few come and go by themselves, such as whoever answers for the metrics.
        stage.within(PROMPT, NO_GROWTH, || async { replica.machine.tasks() <= at_first + 3 }).await;
    }
    stage.within(PROMPT, NO_GROWTH, || async { stage.connectors.tasks() == 0 }).await;
}

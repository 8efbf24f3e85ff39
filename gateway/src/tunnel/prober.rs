//! When each tunnel is probed: as soon as it has a connector here, or has changed; again before the proof is old; soon
//! again while it fails. What was found last is kept for the operator.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_contract::control::Probe;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::names::Tunnel;
use super::probe::probe;
use crate::shared::Shared;

/// How long a proof is good before the next probe, on average.
const REST: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles.
const FIRST: Duration = Duration::from_millis(250);
/// How long news of connectors may gather after some were looked at.
const TOGETHER: Duration = Duration::from_millis(10);
/// Probes at a time.
const AT_ONCE: usize = 32;

/// What was found last, by tunnel.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    found: Mutex<HashMap<Arc<str>, Probe>>,
    changes: watch::Sender<u64>,
}

impl Probes {
    pub(crate) fn of(&self, uid: &str) -> Option<Probe> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn keep(&self, uid: &Arc<str>, found: Probe) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(uid), found);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| keep(uid));
    }
}

/// A tunnel whose turn comes.
struct Turn {
    tunnel: Arc<Tunnel>,
    /// None: it is being probed.
    due: Option<Instant>,
    /// The next one, if this fails.
    pause: Duration,
}

/// Everybody's turns, and whose is next.
#[derive(Default)]
struct Turns {
    all: HashMap<Arc<str>, Turn>,
    queue: BTreeSet<(Instant, Arc<str>)>,
}

impl Turns {
    /// Sets a tunnel's next turn.
    fn set(&mut self, uid: &Arc<str>, turn: Turn) {
        self.queue.extend(turn.due.map(|due| (due, Arc::clone(uid))));
        if let Some(Turn { due: Some(due), .. }) = self.all.insert(Arc::clone(uid), turn) {
            self.queue.remove(&(due, Arc::clone(uid)));
        }
    }

    /// A tunnel whose turn it is, and which is being probed from now on.
    fn take(&mut self, now: Instant) -> Option<(Arc<str>, Arc<Tunnel>)> {
        let (due, uid) = self.queue.first().filter(|(due, _)| *due <= now).cloned()?;
        self.queue.remove(&(due, Arc::clone(&uid)));
        let turn = self.all.get_mut(&uid)?;
        turn.due = None;
        let tunnel = Arc::clone(&turn.tunnel);
        Some((uid, tunnel))
    }

    /// Those that have a connector here and are on, and no others.
    fn follow(&mut self, shared: &Shared) {
        let config = shared.config();
        let tunnels = config.as_ref().and_then(|config| config.tunnels.as_deref());
        let held = shared.sessions.held();
        let probed: HashMap<&str, &Arc<Tunnel>> = held
            .iter()
            .filter_map(|uid| tunnels?.by_uid(uid))
            .filter(|tunnel| tunnel.enabled)
            .map(|tunnel| (&*tunnel.uid, tunnel))
            .collect();
        let Self { all, queue } = self;
        all.retain(|uid, _| probed.contains_key(&**uid));
        queue.retain(|(_, uid)| probed.contains_key(&**uid));
        shared.probes.retain(|uid| probed.contains_key(uid));
        for tunnel in probed.into_values() {
            if !self.all.get(&tunnel.uid).is_some_and(|turn| turn.tunnel.is_like(tunnel)) {
                let turn = Turn { tunnel: Arc::clone(tunnel), due: Some(Instant::now()), pause: FIRST };
                self.set(&tunnel.uid, turn);
            }
        }
    }

    /// It has been probed. One that has gone meanwhile, or become another one, is not spoken of.
    fn settle(&mut self, shared: &Shared, uid: &Arc<str>, tunnel: &Arc<Tunnel>, found: Option<Probe>) {
        let Some(turn) = self.all.get(uid).filter(|turn| Arc::ptr_eq(&turn.tunnel, tunnel)) else { return };
        let passed = found.as_ref().is_some_and(|found| found.passed);
        let wait = if passed { REST } else { turn.pause };
        let pause = if passed { FIRST } else { (turn.pause * 2).min(REST) };
        let due = Some(Instant::now() + wait.mul_f64(rand::random_range(0.8..1.0)));
        self.set(uid, Turn { tunnel: Arc::clone(tunnel), due, pause });
        if let Some(found) = found {
            shared.metrics.probe(&found);
            shared.probes.keep(uid, found);
        }
    }
}

/// Probes until the replica stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let stop = shared.lifeline.stop.clone();
    stop.run_until_cancelled(work(&shared)).await;
}

async fn work(shared: &Arc<Shared>) {
    let (mut sessions, mut changes) = (shared.sessions.changes(), shared.changes());
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let (mut turns, mut news) = (Turns::default(), true);
    let mut running = JoinSet::new();
    loop {
        if news {
            turns.follow(shared);
        }
        while let Some((uid, tunnel)) = turns.take(Instant::now()) {
            let (shared, places) = (Arc::clone(shared), Arc::clone(&places));
            running.spawn(async move {
                let _place = places.acquire().await;
                let found = one(&shared, &tunnel).await;
                (uid, tunnel, found)
            });
        }
        if news {
            // Where thousands come at once, they are looked through together.
            sleep(TOGETHER).await;
        }
        let next = turns.queue.first().map(|(due, _)| *due);
        let due = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        news = tokio::select! {
            Some(Ok((uid, tunnel, found))) = running.join_next() => {
                turns.settle(shared, &uid, &tunnel, found);
                false
            }
            _ = sessions.changed() => true,
            _ = changes.changed() => true,
            () = due => false,
        };
    }
}

async fn one(shared: &Arc<Shared>, tunnel: &Tunnel) -> Option<Probe> {
    let config = Arc::clone(shared.config().as_ref()?);
    let tunnels = Arc::clone(config.tunnels.as_ref()?);
    Some(probe(shared, &config, &tunnels, tunnel).await)
}

//! When each tunnel is probed: as soon as it has a connector here, or has changed; again before the proof is old; soon
//! again while it fails. What was found last is kept for the operator.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_contract::control::Probe;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::names::Tunnel;
use super::probe::probe;
use crate::shared::Shared;

/// How long a proof is good before the next probe, on average.
const REST: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles.
const FIRST: Duration = Duration::from_millis(250);
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

/// Probes until the replica stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let stop = shared.lifeline.stop.clone();
    stop.run_until_cancelled(work(&shared)).await;
}

async fn work(shared: &Arc<Shared>) {
    let (mut sessions, mut changes) = (shared.sessions.changes(), shared.changes());
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut turns: BTreeMap<Arc<str>, Turn> = BTreeMap::new();
    let mut running = JoinSet::new();
    loop {
        follow(shared, &mut turns);
        let now = Instant::now();
        for (uid, turn) in turns.iter_mut().filter(|(_, turn)| turn.due.is_some_and(|due| due <= now)) {
            turn.due = None;
            let (shared, places) = (Arc::clone(shared), Arc::clone(&places));
            let (uid, tunnel) = (Arc::clone(uid), Arc::clone(&turn.tunnel));
            running.spawn(async move {
                let _place = places.acquire().await;
                (uid, Arc::clone(&tunnel), one(&shared, &tunnel).await)
            });
        }
        let next = turns.values().filter_map(|turn| turn.due).min().unwrap_or(now + REST);
        tokio::select! {
            Some(Ok((uid, tunnel, found))) = running.join_next() => settle(shared, &mut turns, &uid, &tunnel, found),
            _ = sessions.changed() => {}
            _ = changes.changed() => {}
            () = sleep_until(next) => {}
        }
    }
}

async fn one(shared: &Arc<Shared>, tunnel: &Tunnel) -> Option<Probe> {
    let config = Arc::clone(shared.config().as_ref()?);
    let tunnels = Arc::clone(config.tunnels.as_ref()?);
    Some(probe(shared, &config, &tunnels, tunnel).await)
}

/// Those that have a connector here and are on, and no others.
fn follow(shared: &Shared, turns: &mut BTreeMap<Arc<str>, Turn>) {
    let config = shared.config();
    let tunnels = config.as_ref().and_then(|config| config.tunnels.as_deref());
    let held = shared.sessions.held();
    let probed: HashMap<&str, &Arc<Tunnel>> = held
        .iter()
        .filter_map(|uid| tunnels?.by_uid(uid))
        .filter(|tunnel| tunnel.enabled)
        .map(|tunnel| (&*tunnel.uid, tunnel))
        .collect();
    turns.retain(|uid, _| probed.contains_key(&**uid));
    shared.probes.retain(|uid| probed.contains_key(uid));
    for tunnel in probed.into_values() {
        let turn = turns.entry(Arc::clone(&tunnel.uid)).or_insert_with(|| Turn {
            tunnel: Arc::clone(tunnel),
            due: Some(Instant::now()),
            pause: FIRST,
        });
        if !turn.tunnel.is_like(tunnel) {
            *turn = Turn { tunnel: Arc::clone(tunnel), due: Some(Instant::now()), pause: FIRST };
        }
    }
}

fn settle(
    shared: &Shared,
    turns: &mut BTreeMap<Arc<str>, Turn>,
    uid: &Arc<str>,
    tunnel: &Arc<Tunnel>,
    found: Option<Probe>,
) {
    // It has gone meanwhile, or become another one that is probed anew.
    let Some(turn) = turns.get_mut(uid).filter(|turn| Arc::ptr_eq(&turn.tunnel, tunnel)) else { return };
    let passed = found.as_ref().is_some_and(|found| found.passed);
    let pause = if passed { REST } else { turn.pause };
    turn.pause = if passed { FIRST } else { (turn.pause * 2).min(REST) };
    turn.due = Some(Instant::now() + pause.mul_f64(rand::random_range(0.8..1.0)));
    if let Some(found) = found {
        shared.probes.keep(uid, found);
    }
}

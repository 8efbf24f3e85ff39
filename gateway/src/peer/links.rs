//! Which other replicas there are, and a connection to each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::dial::{Ended, Peer, follow};
use crate::shared::Shared;

/// How often it is looked which replicas there are.
const LOOK: Duration = Duration::from_secs(2);
/// The same while a replica that is not ready waits for it.
const LOOK_FRESH: Duration = Duration::from_millis(300);
/// How long a fresh pod waits before it asks for the first time: a name that is not there yet is not there for as long as
/// the cluster's DNS remembers that.
const FRESH: Duration = Duration::from_millis(700);
/// How long the others are looked for before this replica is ready all the same.
const SETTLING: Duration = Duration::from_secs(10);
/// Waits after a connection that failed.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// The other replicas that are connected, by address.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    known: Mutex<BTreeMap<SocketAddr, Arc<Peer>>>,
    /// Addresses that lead to this very replica.
    own: Mutex<BTreeSet<SocketAddr>>,
    changes: watch::Sender<u64>,
    settled: AtomicBool,
}

impl Peers {
    /// Hears of every change of what others hold.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The least busy one that holds a tunnel.
    pub(crate) fn pick(&self, uid: &str) -> Option<Arc<Peer>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|peer| peer.holds(uid)).min_by_key(|peer| peer.load()).cloned()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether every other replica that there is has been found, or was looked for long enough. Before, visitors of tunnels
    /// would be told that nobody is connected.
    pub(crate) fn are_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    fn settle(&self) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            self.news();
        }
    }

    /// Whether these are all connected, this very replica among them.
    fn are(&self, found: &BTreeSet<SocketAddr>) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().any(|it| own.contains(it))
            && found.iter().all(|it| own.contains(it) || known.contains_key(it))
    }

    fn news(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn put(&self, address: SocketAddr, peer: Arc<Peer>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(address, peer);
        self.news();
    }

    /// An old connection never clears a newer one.
    pub(super) fn remove(&self, address: SocketAddr, peer: &Arc<Peer>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&address).is_some_and(|it| Arc::ptr_eq(it, peer)) {
            known.remove(&address);
            drop(known);
            self.news();
        }
    }
}

/// Finds the others until the replica is cut. One that drains still forwards.
pub(crate) async fn run(shared: Arc<Shared>) {
    let cut = shared.lifeline.cut.clone();
    cut.run_until_cancelled(look(&shared)).await;
}

async fn look(shared: &Arc<Shared>) {
    let mut followed: BTreeMap<SocketAddr, DropGuard> = BTreeMap::new();
    let (mut changes, mut found_out) = (shared.changes(), shared.peers.changes());
    let began = Instant::now();
    sleep(FRESH).await;
    loop {
        let (names, server) = sought(shared);
        let (mut found, mut all_are_found) = (BTreeSet::new(), true);
        for name in &names {
            match tokio::net::lookup_host(name.as_str()).await {
                Ok(addresses) => found.extend(addresses),
                Err(_) => all_are_found = false,
            }
        }
        // Where DNS does not answer, nobody is forgotten: those that are gone end their connections themselves.
        if all_are_found {
            followed.retain(|address, _| found.contains(address));
        }
        for address in found {
            followed.entry(address).or_insert_with(|| {
                let stop = CancellationToken::new();
                let (shared, stopped, server) = (Arc::clone(shared), stop.clone(), server.clone());
                shared.lifeline.tasks.clone().spawn(async move {
                    stopped.run_until_cancelled(keep(&shared, address, &server)).await;
                });
                stop.drop_guard()
            });
        }
        let all: BTreeSet<SocketAddr> = followed.keys().copied().collect();
        let looked = Instant::now();
        loop {
            if shared.peers.are(&all) || began.elapsed() >= SETTLING {
                shared.peers.settle();
            }
            let wait = match shared.peers.are_settled() {
                _ if names.is_empty() => Duration::from_hours(1),
                true => LOOK,
                false => LOOK_FRESH,
            };
            tokio::select! {
                heard = changes.changed() => if heard.is_err() { return } else { break },
                // Nothing new is to be looked for.
                _ = found_out.changed() => {}
                () = sleep_until(looked + wait) => break,
            }
        }
    }
}

/// Names that the replicas are behind, and the name in their certificates.
fn sought(shared: &Shared) -> (Vec<String>, String) {
    let config = shared.config();
    let tunnels = config.as_ref().and_then(|config| config.tunnels.as_deref());
    let server = tunnels.and_then(|it| it.service.rsplit_once(':')).map_or("localhost", |(host, _)| host);
    (tunnels.map(|it| it.peers.clone()).unwrap_or_default(), server.to_owned())
}

/// Keeps a connection to one of them.
async fn keep(shared: &Arc<Shared>, address: SocketAddr, server: &str) {
    let mut pause = FIRST;
    loop {
        let began = Instant::now();
        match follow(shared, address, server).await {
            Ended::Ourselves => {
                shared.peers.own.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
                return shared.peers.news();
            }
            Ended::Lost(error) => tracing::debug!(%address, %error, "no connection to another replica"),
        }
        pause = if began.elapsed() > LONGEST { FIRST } else { (pause * 2).min(LONGEST) };
        sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}

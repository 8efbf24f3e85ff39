//! Which other replicas there are, and a connection to each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::dial::{Ended, Peer, follow};
use crate::shared::Shared;

/// How often it is looked which replicas there are.
const LOOK: Duration = Duration::from_secs(2);
/// Waits after a connection that failed.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// The other replicas that are connected, by address.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    known: Mutex<BTreeMap<SocketAddr, Arc<Peer>>>,
    changes: watch::Sender<u64>,
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

    pub(super) fn put(&self, address: SocketAddr, peer: Arc<Peer>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(address, peer);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// An old connection never clears a newer one.
    pub(super) fn remove(&self, address: SocketAddr, peer: &Arc<Peer>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&address).is_some_and(|it| Arc::ptr_eq(it, peer)) {
            known.remove(&address);
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
    let mut changes = shared.changes();
    loop {
        let (names, server) = sought(shared);
        let mut found = BTreeSet::new();
        for name in &names {
            if let Ok(addresses) = tokio::net::lookup_host(name.as_str()).await {
                found.extend(addresses);
            }
        }
        followed.retain(|address, _| found.contains(address));
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
        let wait = if names.is_empty() { Duration::from_secs(3600) } else { LOOK };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep(wait) => {}
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
            Ended::Ourselves => return,
            Ended::Lost(error) => tracing::debug!(%address, %error, "no connection to another replica"),
        }
        pause = if began.elapsed() > LONGEST { FIRST } else { (pause * 2).min(LONGEST) };
        sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}

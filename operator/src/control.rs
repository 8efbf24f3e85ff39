//! The control channel: what replicas are told, and what they say. Replicas dial in over mutual TLS, are handed the
//! current snapshot and every change, and answer each; what they answered is evidence for the status.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_contract::control::{ClientSeen, TunnelReport};
use portcullis_pki::Authority;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use crate::gateway::plan::Published;
use crate::world::Key;

pub mod authority;
pub mod calls;
pub mod renewals;
pub mod seen;
pub mod server;
pub mod service;
pub mod surroundings;
pub mod tunnels;

use seen::Sights;
pub use surroundings::Surroundings;
use tunnels::Evidence;

/// How long a replica that was lost may take to come back before what it said counts no more.
const COMEBACK: Duration = Duration::from_secs(5);
/// Tunnels that one replica may speak of; more than a Gateway takes.
const TUNNELS: usize = 4096;

/// What one replica said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The version that it serves, and the fingerprint of the certificate that it shows.
    pub acknowledged: Option<(String, String)>,
    /// The last version that it refused, and why.
    pub rejected: Option<(String, String)>,
    /// How it gets on with what it depends on.
    pub surroundings: Option<Surroundings>,
}

impl Session {
    /// Whether nothing was said yet of any configuration.
    pub fn is_silent(&self) -> bool {
        self.acknowledged.is_none() && self.rejected.is_none()
    }
}

/// What replicas are told, and what they say.
#[derive(Debug, Default)]
pub struct Control {
    gateways: Mutex<HashMap<Key, Channel>>,
    authority: Mutex<Option<Arc<Authority>>>,
    attached: Mutex<u64>,
}

/// What one replica said of tunnels, by their uid.
#[derive(Debug, Default)]
struct Said {
    evidence: BTreeMap<String, Arc<Evidence>>,
    lost: Option<Instant>,
}

impl Said {
    /// Whether the replica is attached, or was a moment ago.
    fn counts(&self) -> bool {
        self.lost.is_none_or(|lost| lost.elapsed() < COMEBACK)
    }
}

#[derive(Debug)]
struct Channel {
    snapshot: watch::Sender<Option<Arc<Published>>>,
    /// By pod; the number tells a session from an older one of the same pod.
    sessions: BTreeMap<String, (u64, Session)>,
    /// What replicas said of tunnels, by pod; with the time when one was lost.
    tunnels: BTreeMap<String, Said>,
    /// When the first of its certificates ends, and when the next one is to be renewed.
    certificates: (Option<OffsetDateTime>, Option<OffsetDateTime>),
    /// When replicas have let clients in.
    seen: Sights,
    /// Held by the one call that creates something.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            snapshot: watch::Sender::new(None),
            sessions: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            certificates: (None, None),
            seen: Sights::new(),
            turn: Arc::default(),
        }
    }
}

impl Control {
    /// Tells a Gateway's replicas what to serve; nothing happens if they were told before.
    pub fn publish(&self, key: &Key, published: &Published) {
        self.lock().entry(key.clone()).or_default().snapshot.send_if_modified(|current| {
            let news = current.as_deref() != Some(published);
            if news {
                *current = Some(Arc::new(published.clone()));
            }
            news
        });
    }

    /// What a Gateway's replicas are to serve, now and from now on.
    pub fn subscribe(&self, key: &Key) -> watch::Receiver<Option<Arc<Published>>> {
        self.lock().entry(key.clone()).or_default().snapshot.subscribe()
    }

    /// What a Gateway's replicas are to serve.
    pub fn published(&self, key: &Key) -> Option<Arc<Published>> {
        self.lock().get(key)?.snapshot.borrow().clone()
    }

    /// What a Gateway's replicas said of one tunnel, by pod.
    pub fn evidence(&self, key: &Key, uid: &str) -> Vec<(String, Arc<Evidence>)> {
        let gateways = self.lock();
        let said = gateways.get(key).into_iter().flat_map(|channel| &channel.tunnels);
        let said = said.filter(|(_, said)| said.counts());
        said.filter_map(|(pod, said)| Some((pod.clone(), said.evidence.get(uid)?.clone()))).collect()
    }

    /// Pods that have a connector of a tunnel, by the tunnel's uid.
    pub fn connected(&self, key: &Key) -> BTreeMap<String, Vec<String>> {
        let gateways = self.lock();
        let mut connected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (pod, said) in gateways.get(key).into_iter().flat_map(|channel| &channel.tunnels) {
            let here = said.evidence.iter().filter(|(_, it)| said.counts() && !it.connections.is_empty());
            for (uid, _) in here {
                connected.entry(uid.clone()).or_default().push(pod.clone());
            }
        }
        connected
    }

    /// A replica said something of a tunnel. None where a newer session of that pod has taken over, or it is no news;
    /// otherwise whether a connector came or went.
    pub fn heard_of(&self, key: &Key, pod: &str, number: u64, report: TunnelReport) -> Option<bool> {
        let mut gateways = self.lock();
        let channel = gateways.get_mut(key)?;
        channel.sessions.get(pod).filter(|(current, _)| *current == number)?;
        let said = channel.tunnels.entry(pod.to_owned()).or_default();
        let (uid, evidence) = (report.uid.clone(), Evidence::from(report));
        if said.evidence.len() >= TUNNELS && !said.evidence.contains_key(&uid) {
            return None;
        }
        let before = said.evidence.get(&uid).cloned().unwrap_or_default();
        let evidence = evidence.settled(&before);
        if *before == evidence {
            return None;
        }
        let moved = before.connections.is_empty() != evidence.connections.is_empty();
        if evidence.connections.is_empty() && evidence.probe.is_none() && !evidence.carried {
            said.evidence.remove(&uid);
        } else {
            said.evidence.insert(uid, Arc::new(evidence));
        }
        Some(moved)
    }

    /// The Tunnels that a replica had said something of.
    pub fn spoken_of(&self, key: &Key, pod: &str) -> Vec<Key> {
        let gateways = self.lock();
        let said = gateways.get(key).and_then(|channel| channel.tunnels.get(pod));
        said.into_iter().flat_map(|said| said.evidence.values()).filter_map(|it| it.tunnel.clone()).collect()
    }

    /// What a Gateway's replicas said, by pod.
    pub fn sessions(&self, key: &Key) -> BTreeMap<String, Session> {
        let gateways = self.lock();
        let sessions = gateways.get(key).map(|channel| &channel.sessions);
        sessions.into_iter().flatten().map(|(pod, (_, session))| (pod.clone(), session.clone())).collect()
    }

    /// A replica is attached; returns the number of its session.
    pub fn attach(&self, key: &Key, pod: &str) -> u64 {
        let number = {
            let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
            *attached += 1;
            *attached
        };
        let mut gateways = self.lock();
        let channel = gateways.entry(key.clone()).or_default();
        channel.sessions.insert(pod.to_owned(), (number, Session::default()));
        channel.tunnels.retain(|of, said| of != pod && said.counts());
        number
    }

    /// A replica said something. False where a newer session of that pod has taken over, or it is no news.
    pub fn heard(&self, key: &Key, pod: &str, number: u64, change: impl FnOnce(&mut Session)) -> bool {
        let mut gateways = self.lock();
        let slot = gateways.get_mut(key).and_then(|channel| channel.sessions.get_mut(pod));
        let Some((_, session)) = slot.filter(|(current, _)| *current == number) else { return false };
        let before = session.clone();
        change(session);
        *session != before
    }

    /// A replica has let clients in.
    pub fn saw(&self, key: &Key, said: Vec<ClientSeen>) {
        if let Some(channel) = self.lock().get_mut(key) {
            seen::note(&mut channel.seen, said);
        }
    }

    /// When replicas have let clients in, by the client's name.
    pub fn seen(&self, key: &Key) -> Sights {
        self.lock().get(key).map(|channel| channel.seen.clone()).unwrap_or_default()
    }

    /// A replica is gone; an older session never clears a newer one.
    pub fn detach(&self, key: &Key, pod: &str, number: u64) -> bool {
        let mut gateways = self.lock();
        let Some(channel) = gateways.get_mut(key) else { return false };
        let ours = channel.sessions.get(pod).is_some_and(|(current, _)| *current == number);
        if ours {
            channel.sessions.remove(pod);
            if let Some(said) = channel.tunnels.get_mut(pod) {
                said.lost = Some(Instant::now());
            }
        }
        ours
    }

    /// Whoever creates something at a Gateway waits for this first.
    pub fn turn(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        self.lock().entry(key.clone()).or_default().turn.clone()
    }

    /// Forgets a Gateway that is gone; its replicas are let go.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// How many replicas are attached.
    pub fn attached(&self) -> usize {
        self.lock().values().map(|channel| channel.sessions.len()).sum()
    }

    /// Remembers when a Gateway's first certificate ends, and when the next one is to be renewed.
    pub fn record_certificates(
        &self,
        key: &Key,
        expiry: Option<OffsetDateTime>,
        renewal: Option<OffsetDateTime>,
    ) {
        self.lock().entry(key.clone()).or_default().certificates = (expiry, renewal);
    }

    /// When the first certificate of any Gateway ends, and when the next one is to be renewed.
    pub fn certificates(&self) -> (Option<OffsetDateTime>, Option<OffsetDateTime>) {
        let gateways = self.lock();
        let all = || gateways.values().map(|channel| channel.certificates);
        (all().filter_map(|(expiry, _)| expiry).min(), all().filter_map(|(_, renewal)| renewal).min())
    }

    /// Signs the channel's certificates, once it is known.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.authority.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The authority is known.
    pub fn set_authority(&self, authority: Arc<Authority>) {
        *self.authority.lock().unwrap_or_else(PoisonError::into_inner) = Some(authority);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Channel>> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_session_of_a_pod_never_clears_or_speaks_for_a_newer_one() {
        let (control, key) = (Control::default(), Key::new("shop", "door"));
        let old = control.attach(&key, "door-1");
        let new = control.attach(&key, "door-1");
        let acknowledge = |session: &mut Session| session.acknowledged = Some(("v1".into(), "f1".into()));
        assert!(!control.heard(&key, "door-1", old, acknowledge));
        assert!(control.heard(&key, "door-1", new, acknowledge));
        assert!(!control.heard(&key, "door-1", new, acknowledge), "the same again is no news");
        assert!(!control.detach(&key, "door-1", old));
        assert_eq!(control.attached(), 1);
        assert!(control.detach(&key, "door-1", new));
        assert!(control.sessions(&key).is_empty());
    }

    #[test]
    fn replicas_are_told_only_what_is_new_to_them() {
        let (control, key) = (Control::default(), Key::new("shop", "door"));
        let published = |version: &str| Published {
            version: version.into(),
            json: "{}".into(),
            server_fingerprint: "f".into(),
            tunnels: BTreeMap::new(),
        };
        let mut told = control.subscribe(&key);
        control.publish(&key, &published("v1"));
        assert!(told.has_changed().unwrap());
        told.mark_unchanged();
        control.publish(&key, &published("v1"));
        assert!(!told.has_changed().unwrap());
        control.publish(&key, &published("v2"));
        assert_eq!(told.borrow_and_update().as_ref().unwrap().version, "v2");
    }
}

//! Which connectors are connected to this replica, by the tunnels that they serve. An old connection never clears a newer
//! one, and nothing is kept of those that have ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::client::conn::http2::SendRequest;
use portcullis_contract::tunnel::{Offer, Service};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::names::Tunnels;
use super::outbound::Outbound;
use super::session::{Facts, Instructions, Session};

/// Every connector's connection of a replica.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    state: Mutex<State>,
    numbers: AtomicU64,
    /// Counts what comes and goes.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// With what their connectors were told last.
    all: HashMap<u64, (Arc<Session>, Vec<Service>)>,
    by_tunnel: HashMap<Arc<str>, Vec<Arc<Session>>>,
}

impl Sessions {
    /// Hears of every connection that comes or goes, and of every change of what they serve.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A connector is connected. Where it was so before, it has given that connection up, whether we have noticed or not.
    pub(super) fn enter(
        &self,
        facts: Facts,
        offers: Vec<Offer>,
        sender: SendRequest<Outbound>,
        ended: CancellationToken,
        tunnels: Option<&Tunnels>,
    ) -> (Arc<Session>, Instructions) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (session, told) = Session::new(number, facts, offers, sender, ended);
        let session = Arc::new(session);
        let services = session.services(tunnels);
        let given_up = {
            let mut state = self.lock();
            let given_up = state.earlier_of(&session, &services);
            state.add(Arc::clone(&session), services.clone());
            given_up
        };
        for earlier in given_up {
            earlier.give_up();
        }
        session.tell(services);
        self.news();
        (session, told)
    }

    /// Notes what a connection serves under this configuration, and tells its connector. False: nothing any more. One
    /// that has ended meanwhile stays away.
    pub(super) fn serve(&self, session: &Arc<Session>, tunnels: Option<&Tunnels>) -> bool {
        let services = session.services(tunnels);
        let serves = !services.is_empty();
        {
            let mut state = self.lock();
            if state.all.get(&session.number).is_none_or(|(_, told)| *told == services) {
                return serves;
            }
            state.remove(session.number);
            state.add(Arc::clone(session), services.clone());
        }
        session.tell(services);
        self.news();
        serves
    }

    /// It has ended.
    pub(super) fn leave(&self, session: &Session) {
        self.lock().remove(session.number);
        self.news();
    }

    /// The least busy connection that serves the tunnel; one that is leaving only where there is no other.
    pub(crate) fn pick(&self, uid: &str) -> Option<Arc<Session>> {
        let state = self.lock();
        let open = state.by_tunnel.get(uid)?.iter();
        let open = open.filter_map(|session| Some(((session.is_leaving(), session.load()?), session)));
        open.min_by_key(|(load, _)| *load).map(|(_, session)| Arc::clone(session))
    }

    /// The connections that serve a tunnel.
    pub(crate) fn of(&self, uid: &str) -> Vec<Arc<Session>> {
        self.lock().by_tunnel.get(uid).cloned().unwrap_or_default()
    }

    /// The tunnels that are served here.
    pub(crate) fn held(&self) -> Vec<Arc<str>> {
        let state = self.lock();
        let held = state.by_tunnel.iter().filter(|(_, sessions)| sessions.iter().any(|it| !it.is_leaving()));
        held.map(|(uid, _)| Arc::clone(uid)).collect()
    }

    fn news(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Connections for these services of the very same connector: it says which replicas it is connected to, and is let in
    /// only where it does not name this one.
    fn earlier_of(&self, session: &Session, services: &[Service]) -> Vec<Arc<Session>> {
        let (connector, identity) = (&session.facts.connector, &session.facts.identity);
        let serving =
            services.iter().filter_map(|service| self.by_tunnel.get(service.uid.as_str())).flatten();
        let of_it = serving.filter(|it| it.facts.connector == *connector && it.facts.identity == *identity);
        of_it.cloned().collect()
    }

    fn add(&mut self, session: Arc<Session>, services: Vec<Service>) {
        for service in &services {
            self.by_tunnel.entry(service.uid.as_str().into()).or_default().push(Arc::clone(&session));
        }
        self.all.insert(session.number, (session, services));
    }

    fn remove(&mut self, number: u64) {
        let Some((_, services)) = self.all.remove(&number) else { return };
        for service in services {
            let uid = service.uid.as_str();
            if let Some(sessions) = self.by_tunnel.get_mut(uid) {
                sessions.retain(|session| session.number != number);
                if sessions.is_empty() {
                    self.by_tunnel.remove(uid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

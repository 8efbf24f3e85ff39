//! When each client was let in last, and from where: what the operator is told for the status. Coarse on purpose, since
//! nobody needs to know it to the second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use portcullis_contract::control::ClientSeen;
use tokio::sync::watch;

/// How long what is known of a client is new enough, in seconds.
pub(crate) const GRAIN: i64 = 60;
/// Clients that are remembered: more than a Gateway has.
const MOST: usize = 4096;

/// Who came when, by the client's name.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    clients: Mutex<BTreeMap<String, (i64, IpAddr)>>,
    news: watch::Sender<()>,
}

impl Seen {
    /// A client was let in at this time, in seconds since the epoch.
    pub(crate) fn note(&self, client: &str, now: i64, from: IpAddr) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clients.get(client);
        if known.is_some_and(|(at, _)| now - at < GRAIN) || (known.is_none() && clients.len() >= MOST) {
            return;
        }
        clients.insert(client.to_owned(), (now, from.to_canonical()));
        drop(clients);
        self.news.send_replace(());
    }

    /// Changes whenever somebody was seen anew.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Whoever was seen since the operator was told last; it is told of them now.
    pub(crate) fn untold(&self, told: &mut BTreeMap<String, i64>) -> Vec<ClientSeen> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let news = clients.iter().filter(|(name, (at, _))| told.get(*name) != Some(at));
        let news: Vec<_> = news
            .map(|(name, (at, from))| ClientSeen {
                client: name.clone(),
                at_ms: at * 1000,
                address: from.to_string(),
            })
            .collect();
        *told = clients.iter().map(|(name, (at, _))| (name.clone(), *at)).collect();
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_of_once_a_minute_at_most_and_again_to_whoever_was_told_nothing() {
        let seen = Seen::default();
        let mut news = seen.changes();
        let mut told = BTreeMap::new();
        let from = |last: u8| IpAddr::from([192, 0, 2, last]);
        for (now, last) in [(100, 1), (130, 2), (159, 3)] {
            seen.note("ci", now, from(last));
        }
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        let first = ClientSeen { client: "ci".into(), at_ms: 100_000, address: "192.0.2.1".into() };
        assert_eq!(seen.untold(&mut told), std::slice::from_ref(&first));
        assert!(seen.untold(&mut told).is_empty());
        seen.note("ci", 159, from(4));
        assert!(!news.has_changed().unwrap());
        assert_eq!(seen.untold(&mut BTreeMap::new()), [first]);
        seen.note("ci", 160, "::ffff:192.0.2.5".parse().unwrap());
        let next = ClientSeen { client: "ci".into(), at_ms: 160_000, address: "192.0.2.5".into() };
        assert_eq!(seen.untold(&mut told), [next]);
    }
}

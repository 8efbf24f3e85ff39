//! When each client was let in last with a certificate of each authority, and from where: what the operator is told for the
//! status, and for the authority that is to go. Coarse on purpose, since nobody needs to know it to the second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use portcullis_contract::control::ClientSeen;
use tokio::sync::watch;

/// How long what is known of a client is new enough, in seconds.
pub(crate) const GRAIN: i64 = 60;
/// Clients that are remembered: more than a Gateway has.
const MOST: usize = 4096;
/// Authorities of one client that are remembered, those that were seen last: more than are trusted at once.
const AUTHORITIES: usize = 4;

/// Somebody was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Seconds since the epoch.
    pub(crate) at: i64,
    /// Where from.
    pub(crate) from: IpAddr,
    /// The certificate's serial.
    pub(crate) serial: String,
}

/// When the operator was told last that a client was seen with a certificate of an authority: seconds since the epoch.
pub(crate) type Known = BTreeMap<(String, String), i64>;

/// Who came when, by the client's name and the authority's key identifier.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    clients: Mutex<BTreeMap<String, BTreeMap<String, Sight>>>,
    news: watch::Sender<()>,
}

impl Seen {
    /// A client was let in with a certificate that this authority has signed.
    pub(crate) fn note(&self, client: &str, authority: &str, sight: Sight) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if !clients.contains_key(client) && clients.len() >= MOST {
            return;
        }
        let known = clients.entry(client.to_owned()).or_default();
        if known.get(authority).is_some_and(|known| sight.at - known.at < GRAIN) {
            return;
        }
        known.insert(authority.to_owned(), sight);
        if known.len() > AUTHORITIES {
            let oldest =
                known.iter().min_by_key(|(_, sight)| sight.at).map(|(authority, _)| authority.clone());
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        drop(clients);
        self.news.send_replace(());
    }

    /// Changes whenever somebody was seen anew.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Whoever was seen since the operator was told last; it is told of them now.
    pub(crate) fn untold(&self, told: &mut Known) -> Vec<ClientSeen> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let all = clients.iter().flat_map(|(client, sights)| {
            sights.iter().map(move |(authority, sight)| ((client.clone(), authority.clone()), sight))
        });
        let (mut news, mut known) = (Vec::new(), Known::new());
        for (who, sight) in all {
            if told.get(&who) != Some(&sight.at) {
                news.push(ClientSeen {
                    client: who.0.clone(),
                    at_ms: sight.at * 1000,
                    address: sight.from.to_string(),
                    serial: sight.serial.clone(),
                    authority_key_id: who.1.clone(),
                });
            }
            known.insert(who, sight.at);
        }
        *told = known;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(at: i64, last: u8) -> Sight {
        Sight { at, from: IpAddr::from([192, 0, 2, last]), serial: format!("{last:02x}") }
    }

    fn said(at: i64, last: u8, authority: &str) -> ClientSeen {
        ClientSeen {
            client: "ci".to_owned(),
            at_ms: at * 1000,
            address: format!("192.0.2.{last}"),
            serial: format!("{last:02x}"),
            authority_key_id: authority.to_owned(),
        }
    }

    #[test]
    fn a_client_is_told_of_once_a_minute_at_most_and_again_to_whoever_was_told_nothing() {
        let seen = Seen::default();
        let mut news = seen.changes();
        let mut told = Known::new();
        for (now, last) in [(100, 1), (130, 2), (159, 3)] {
            seen.note("ci", "a1", sight(now, last));
        }
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        assert_eq!(seen.untold(&mut told), [said(100, 1, "a1")]);
        assert!(seen.untold(&mut told).is_empty());
        seen.note("ci", "a1", sight(159, 4));
        assert!(!news.has_changed().unwrap());
        assert_eq!(seen.untold(&mut Known::new()), [said(100, 1, "a1")]);
        seen.note("ci", "a1", sight(160, 5));
        assert_eq!(seen.untold(&mut told), [said(160, 5, "a1")]);
    }

    #[test]
    fn a_client_with_certificates_of_two_authorities_is_told_of_with_both() {
        let (seen, mut told) = (Seen::default(), Known::new());
        seen.note("ci", "old", sight(100, 1));
        seen.note("ci", "new", sight(101, 2));
        assert_eq!(seen.untold(&mut told), [said(101, 2, "new"), said(100, 1, "old")]);
        seen.note("ci", "old", sight(170, 3));
        assert_eq!(seen.untold(&mut told), [said(170, 3, "old")]);
        // Those that are long gone give way.
        for (at, authority) in [(300, "third"), (400, "fourth"), (500, "fifth")] {
            seen.note("ci", authority, sight(at, 4));
        }
        let kept: Vec<_> = seen.untold(&mut Known::new()).into_iter().map(|it| it.authority_key_id).collect();
        assert_eq!(kept, ["fifth", "fourth", "old", "third"]);
    }
}

//! Which clients replicas have let in, when, and with certificates of which authority: the newest of what any of them said.

use std::collections::BTreeMap;

use portcullis_contract::control::ClientSeen;

/// Clients that are remembered at one Gateway: more than it has.
const MOST: usize = 4096;
/// Authorities of one client that are remembered, those that were seen last: more than are trusted at once.
const AUTHORITIES: usize = 4;
/// Characters of a word that is told.
const WORD: usize = 64;

/// When somebody came last, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Seconds since the epoch, by the replica's clock.
    pub at: i64,
    /// IP address.
    pub from: String,
    /// The certificate's serial; empty where the replica is of a version that does not tell.
    pub serial: String,
}

/// By the client's name (of a connector, `tunnel/NAMESPACE/NAME`), then by the key identifier of the authority that signed
/// what was shown; that is empty where the replica is of a version that does not tell.
pub type Sights = BTreeMap<String, BTreeMap<String, Sight>>;

/// The last time that a client came, with whichever certificate.
pub fn last<'a>(sights: &'a Sights, client: &str) -> Option<&'a Sight> {
    sights.get(client)?.values().max_by_key(|sight| sight.at)
}

/// Takes in what a replica said. Names that are no client's are nobody's: the status speaks of clients alone.
pub(super) fn note(sights: &mut Sights, said: Vec<ClientSeen>) {
    let word = |text: &str| text.chars().take(WORD).collect::<String>();
    for ClientSeen { client, at_ms, address, serial, authority_key_id } in said {
        if !sights.contains_key(&client) && sights.len() >= MOST {
            continue;
        }
        let sight = Sight { at: at_ms.div_euclid(1000), from: word(&address), serial: word(&serial) };
        let known = sights.entry(client).or_default();
        let authority = word(&authority_key_id);
        if known.get(&authority).is_none_or(|known| known.at < sight.at) {
            known.insert(authority, sight);
        }
        if known.len() > AUTHORITIES {
            let oldest =
                known.iter().min_by_key(|(_, sight)| sight.at).map(|(authority, _)| authority.clone());
            oldest.and_then(|oldest| known.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(at_ms: i64, address: &str, authority: &str) -> ClientSeen {
        ClientSeen {
            client: "ci".to_owned(),
            at_ms,
            address: address.to_owned(),
            serial: "5e".to_owned(),
            authority_key_id: authority.to_owned(),
        }
    }

    fn sight(at: i64, from: &str) -> Sight {
        Sight { at, from: from.to_owned(), serial: "5e".to_owned() }
    }

    #[test]
    fn of_what_several_replicas_say_the_newest_counts() {
        let mut sights = Sights::new();
        note(&mut sights, vec![said(5_000, "192.0.2.1", "a1"), said(9_500, "192.0.2.2", "a1")]);
        note(&mut sights, vec![said(7_000, "192.0.2.3", "a1")]);
        assert_eq!(sights["ci"], BTreeMap::from([("a1".to_owned(), sight(9, "192.0.2.2"))]));
        assert_eq!(last(&sights, "dev"), None);
    }

    #[test]
    fn what_was_shown_of_each_authority_is_remembered_and_of_many_the_last() {
        let mut sights = Sights::new();
        note(&mut sights, vec![said(9_000, "192.0.2.1", "old"), said(5_000, "192.0.2.2", "new")]);
        assert_eq!(sights["ci"].len(), 2);
        assert_eq!(last(&sights, "ci"), Some(&sight(9, "192.0.2.1")));
        note(&mut sights, (10..20).map(|at| said(at * 1000, "192.0.2.3", &at.to_string())).collect());
        assert_eq!(sights["ci"].keys().collect::<Vec<_>>(), ["16", "17", "18", "19"]);
    }
}

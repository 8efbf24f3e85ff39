//! Which clients replicas have let in, and when: the newest of what any of them said.

use std::collections::BTreeMap;

use portcullis_contract::control::ClientSeen;

/// Clients that are remembered at one Gateway: more than it has.
const MOST: usize = 4096;
/// Characters of an address that is told.
const ADDRESS: usize = 64;

/// When somebody came last, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Seconds since the epoch, by the replica's clock.
    pub at: i64,
    /// IP address.
    pub from: String,
}

/// By the client's name.
pub type Sights = BTreeMap<String, Sight>;

/// Takes in what a replica said. Names that are no client's are nobody's: the status speaks of clients alone.
pub(super) fn note(sights: &mut Sights, said: Vec<ClientSeen>) {
    for ClientSeen { client, at_ms, address } in said {
        let sight = Sight { at: at_ms.div_euclid(1000), from: address.chars().take(ADDRESS).collect() };
        let known = sights.get(&client);
        let is_newer = known.is_none_or(|known| known.at < sight.at);
        if is_newer && (known.is_some() || sights.len() < MOST) {
            sights.insert(client, sight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_several_replicas_say_the_newest_counts() {
        let mut sights = Sights::new();
        let said = |at_ms: i64, address: &str| ClientSeen {
            client: "ci".to_owned(),
            at_ms,
            address: address.to_owned(),
        };
        note(&mut sights, vec![said(5_000, "192.0.2.1"), said(9_500, "192.0.2.2")]);
        note(&mut sights, vec![said(7_000, "192.0.2.3")]);
        assert_eq!(sights["ci"], Sight { at: 9, from: "192.0.2.2".to_owned() });
    }
}

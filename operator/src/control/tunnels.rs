//! What replicas said of tunnels: their connectors, and what their probes found. Their own words, shortened.

use portcullis_contract::control::{Connection, Probe, TunnelReport};

use crate::tunnel::took;
use crate::world::Key;

/// Connections of one tunnel that are kept of one replica.
const CONNECTIONS: usize = 32;
/// Characters of any word that are kept.
const WORD: usize = 256;
const MESSAGE: usize = 1000;

/// What one replica said of one tunnel last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Which Tunnel, as the replica was told.
    pub tunnel: Option<Key>,
    /// Its connectors there.
    pub connections: Vec<Connection>,
    /// What its last probe found.
    pub probe: Option<Probe>,
    /// Visitors that come to it are carried.
    pub carried: bool,
}

impl From<TunnelReport> for Evidence {
    fn from(said: TunnelReport) -> Self {
        let short = |text: String| text.chars().take(WORD).collect::<String>();
        let connection = |it: Connection| Connection {
            connector: short(it.connector),
            identity: short(it.identity),
            certificate_fingerprint: short(it.certificate_fingerprint),
            remote_address: short(it.remote_address),
            transport: short(it.transport),
            version: short(it.version),
            round_trip_us: it.round_trip_us,
            since_ms: it.since_ms,
        };
        let probe = said.probe.map(|it| Probe {
            hop: short(it.hop),
            message: it.message.chars().take(MESSAGE).collect(),
            ..it
        });
        Self {
            tunnel: Some(Key::new(said.namespace, said.name)),
            connections: said.connections.into_iter().take(CONNECTIONS).map(connection).collect(),
            probe,
            carried: said.carried,
        }
    }
}

impl Evidence {
    /// Round trips move with every measurement: what has not moved far is no news.
    #[must_use]
    pub fn settled(mut self, before: &Self) -> Self {
        for it in &mut self.connections {
            let is_it =
                |known: &&Connection| (&known.connector, known.since_ms) == (&it.connector, it.since_ms);
            if let Some(known) = before.connections.iter().find(is_it)
                && !took::has_moved(known.round_trip_us, it.round_trip_us)
            {
                it.round_trip_us = known.round_trip_us;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_that_has_not_moved_far_is_no_news() {
        let said = |round_trip_us: u32, since_ms: i64| {
            let connection =
                Connection { connector: "c1".to_owned(), since_ms, round_trip_us, ..Connection::default() };
            Evidence::from(TunnelReport { connections: vec![connection], ..TunnelReport::default() })
        };
        let before = said(1_000, 1);
        assert_eq!(said(1_900, 1).settled(&before), before);
        assert_eq!(said(0, 1).settled(&before), before);
        assert_eq!(said(2_100, 1).settled(&before), said(2_100, 1));
        // Another connection of that connector is measured by itself.
        assert_eq!(said(1_900, 2).settled(&before), said(1_900, 2));
    }
}

//! What the operator is told of each tunnel: its connectors here, and what the last probe found.

use portcullis_contract::control::{Connection, TunnelReport};

use super::names::Tunnel;
use super::session::Session;
use crate::shared::Shared;

/// Of every tunnel that there is something to tell of.
pub(crate) fn reports(shared: &Shared) -> Vec<TunnelReport> {
    let config = shared.config();
    let Some(tunnels) = config.as_ref().and_then(|config| config.tunnels.as_deref()) else {
        return Vec::new();
    };
    tunnels.all().iter().map(|tunnel| report(shared, tunnel)).collect()
}

fn report(shared: &Shared, tunnel: &Tunnel) -> TunnelReport {
    let sessions = shared.sessions.of(&tunnel.uid);
    TunnelReport {
        namespace: tunnel.namespace.clone(),
        name: tunnel.name.clone(),
        uid: tunnel.uid.to_string(),
        connections: sessions.iter().map(|session| connection(session)).collect(),
        // What is not connected is not proved.
        probe: shared.probes.of(&tunnel.uid).filter(|_| !sessions.is_empty()),
        carried: shared.sessions.pick(&tunnel.uid).is_some() || shared.peers.pick(&tunnel.uid).is_some(),
    }
}

fn connection(session: &Session) -> Connection {
    let facts = &session.facts;
    Connection {
        connector: facts.connector.clone(),
        identity: facts.identity.clone(),
        certificate_fingerprint: facts.fingerprint.clone(),
        remote_address: facts.remote.clone(),
        transport: facts.transport.to_owned(),
        since_ms: facts.since_ms,
        round_trip_us: session.round_trip_us(),
        version: facts.version.clone(),
    }
}

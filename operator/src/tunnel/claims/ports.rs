//! The port that a Tunnel of protocol TCP gets: one that its Gateway has for Tunnels, that nothing in the gateway's pods
//! listens on, and that no older Tunnel has.

use std::ops::RangeInclusive;

use portcullis_api::condition::Reason;
use portcullis_api::{Backend, Gateway, Protocol, Tunnel, Tunnels};
use portcullis_contract::files;

use super::{Held, rejected};
use crate::gateway::validate::Rejected;
use crate::world::Key;

pub(super) fn port(
    key: &Key,
    gateway: &Gateway,
    tunnels: &Tunnels,
    tunnel: &Tunnel,
    held: &Held,
) -> Result<Option<u16>, Rejected> {
    if tunnel.spec.protocol != Protocol::TCP {
        return Ok(None);
    }
    let written = tunnel.spec.port.unwrap_or_default();
    let port = u16::try_from(written).ok().filter(|port| *port >= 1024).ok_or_else(|| {
        rejected(Reason::Invalid, format!("spec.port is {written}: write a port between 1024 and 65535"))
    })?;
    let listed = tunnels.ports.join(", ");
    if !tunnels.ports.iter().filter_map(|text| range(text)).any(|range| range.contains(&port)) {
        let what = if listed.is_empty() {
            format!(
                "Gateway {key} has no ports for Tunnels: give it spec.tunnels.ports, such as [20000-20100]"
            )
        } else {
            format!("{port} is not among the ports that Gateway {key} has for Tunnels: write one of {listed}")
        };
        return Err(rejected(Reason::NotAllowed, what));
    }
    if is_taken(gateway, port) {
        let what = format!(
            "{port} is a port of Gateway {key} itself, or of a sidecar in its pods: write another one"
        );
        return Err(rejected(Reason::NotAllowed, what));
    }
    match held.ports.get(&port) {
        None => Ok(Some(port)),
        Some(winner) => Err(rejected(
            Reason::PortConflict,
            format!(
                "port {port} belongs to {}, which is older: write another one, or have it released",
                Held::whose(tunnel, winner)
            ),
        )),
    }
}

/// `20000` or `20000-20100`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

fn is_taken(gateway: &Gateway, port: u16) -> bool {
    let own = [files::PORT, files::PEER_PORT, files::HEALTH_PORT, files::METRICS_PORT];
    let sidecar = |backend: &Backend| backend.sidecar.as_ref().is_some_and(|it| it.port == i32::from(port));
    own.contains(&port)
        || gateway.spec.service.port == i32::from(port)
        || gateway.spec.backends.iter().any(sidecar)
}

//! A visitor's request: who may come, which connector takes it, and the answer back, all of it streamed.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use portcullis_contract::hostname::Hostname;
use portcullis_contract::snapshot::{Auth, TunnelProtocol};
use portcullis_protocol::carried;

use super::carrier::send;
use super::fault::TunnelFault;
use super::names::Tunnel;
use super::outbound::Outbound;
use super::pass::{DETAIL, HOP, PASSED, PROBE};
use crate::auth::{Carried, Principal};
use crate::backend::{self, Place, Reply, Upgrade};
use crate::body::Body;
use crate::config::Config;
use crate::fault::{Dialect, Fault};
use crate::listener::{Connection, Origin};
use crate::service::{forbidden, identify};

/// Answers a visitor of a public name, or a probe of our own.
pub(crate) async fn visit(
    connection: &Arc<Connection>,
    mut request: Request<Incoming>,
    config: &Arc<Config>,
    name: &Hostname,
) -> Result<Response<Body>, Fault> {
    let shared = &connection.shared;
    let tunnel = config.tunnels.as_ref().and_then(|tunnels| tunnels.find(name));
    let is_probe =
        tunnel.is_some_and(|tunnel| shared.passes.is_probe(&request, &tunnel.uid, shared.clock.now()));
    request.headers_mut().remove(PROBE);
    if tunnel.is_some_and(|tunnel| tunnel.protocol != TunnelProtocol::Http) {
        // The name is asked for on a connection that was opened for another one.
        return Err(Fault::Misdirected);
    }
    let origin = connection.origin(request.headers(), config);
    if is_probe && let Some(tunnel) = tunnel {
        return Ok(proved(carry(connection, tunnel, config, &origin, request, None).await));
    }
    if !connection.may_ask(config) {
        return Err(Fault::UntrustedPeer);
    }
    let tunnel = tunnel.ok_or(TunnelFault::Nothing)?;
    let principal = admit(connection, tunnel, config, &origin, &request).await?;
    carry(connection, tunnel, config, &origin, request, principal.as_deref()).await
}

/// What a probe is told: whether the endpoint has answered, or where it broke.
fn proved(carried: Result<Response<Body>, Fault>) -> Response<Body> {
    match carried {
        Ok(mut response) => {
            response.headers_mut().insert(PROBE, PASSED);
            response
        }
        Err(fault) => {
            let (hop, detail) =
                (HeaderValue::from_static(fault.hop()), HeaderValue::try_from(fault.detail()));
            let mut response = fault.into_response(Dialect::Problem);
            response.headers_mut().insert(HOP, hop);
            response.headers_mut().extend(detail.ok().map(|detail| (DETAIL, detail)));
            response
        }
    }
}

/// Carries a request to a connector, and the answer back.
async fn carry(
    connection: &Arc<Connection>,
    tunnel: &Tunnel,
    config: &Arc<Config>,
    origin: &Origin,
    mut request: Request<Incoming>,
    principal: Option<&Principal>,
) -> Result<Response<Body>, Fault> {
    if tunnel.auth != Auth::None {
        Carried::strip(request.headers_mut(), config);
    }
    let upgrade = Upgrade::take(&mut request);
    let outgoing = backend::to_connector(principal, origin, request, upgrade.as_ref())?;
    let mut outgoing = outgoing.map(Outbound::Visitor);
    let headers = outgoing.headers_mut();
    headers.remove(carried::FAULT);
    let uid = HeaderValue::from_str(&tunnel.uid).map_err(|_| Fault::Malformed("the tunnel's uid is none"))?;
    headers.insert(carried::TUNNEL, uid);
    let (response, place) = send(&connection.shared, tunnel, outgoing).await?;
    answer(response, place, upgrade, connection)
}

/// What every tunnel asks of a visitor, whatever is spoken: that it is on, where the visitor comes from, and how often.
pub(super) fn lets_in(tunnel: &Tunnel, address: Option<IpAddr>) -> Result<(), TunnelFault> {
    if !tunnel.enabled {
        return Err(TunnelFault::Off);
    }
    if !tunnel.takes_from(address) {
        return Err(TunnelFault::Address);
    }
    match tunnel.bucket.as_ref().map(|bucket| bucket.take()) {
        Some(Err(seconds)) => Err(TunnelFault::Often { seconds }),
        _ => Ok(()),
    }
}

/// Whether the visitor may come in; who it is, where that matters.
async fn admit(
    connection: &Arc<Connection>,
    tunnel: &Tunnel,
    config: &Arc<Config>,
    origin: &Origin,
    request: &Request<Incoming>,
) -> Result<Option<Arc<Principal>>, Fault> {
    let address = origin.address.to_str().ok().and_then(|text| text.parse().ok());
    lets_in(tunnel, address)?;
    let principal = match tunnel.auth {
        Auth::None => None,
        Auth::Required | Auth::Optional => Some(identify(connection, request, config).await?),
    };
    if let Some(principal) = &principal {
        let meets = principal.meets(&tunnel.requires, request.method());
        meets.map_err(|missing| forbidden(&connection.shared, missing))?;
    }
    if !tunnel.lets_through(request.method(), request.uri().path()) {
        return Err(TunnelFault::Path.into());
    }
    Ok(principal)
}

fn answer(
    mut response: Response<Incoming>,
    place: Place,
    upgrade: Option<Upgrade>,
    connection: &Arc<Connection>,
) -> Result<Response<Body>, Fault> {
    if let Some(fault) = carried::Fault::read(response.headers()) {
        return Err(TunnelFault::Endpoint(fault).into());
    }
    for ours in [carried::TUNNEL, PROBE, HOP, DETAIL] {
        response.headers_mut().remove(ours);
    }
    let switched = response.status() == StatusCode::OK;
    let mut response = response.map(|body| Reply::h2c(body, place));
    match upgrade {
        Some(upgrade) if switched => Ok(upgrade.accept(&mut response, connection)),
        _ => Ok(backend::incoming(response)),
    }
}

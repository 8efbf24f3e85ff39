//! Visitors who speak no HTTP: their bytes go to the endpoint as they come, in a stream of the connector's connection.
//! What may be asked of them is where they come from and how often; whoever is turned away learns no more than TLS can
//! tell.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use portcullis_contract::snapshot::TunnelProtocol;
use portcullis_protocol::{carried, raw};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio_util::io::InspectWriter;
use tokio_util::sync::CancellationToken;

use super::carrier::send;
use super::fault::TunnelFault;
use super::names::Tunnel;
use super::outbound::Outbound;
use super::visit::lets_in;
use crate::backend::Place;
use crate::metrics::{Passed, Way};
use crate::shared::Shared;

mod asked;
mod bytes_in;
mod probe;

pub(super) use probe::probe;

use asked::Asked;
use bytes_in::BytesIn;

/// What a connector may take beyond the connect timeout that it was told.
const GRACE: Duration = Duration::from_secs(5);

/// A visitor who has just come.
pub(crate) struct Visitor {
    pub(crate) stream: TcpStream,
    /// What was read of it.
    pub(crate) seen: Bytes,
    /// Protocols that its handshake names.
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) address: IpAddr,
}

/// The body of the request that a visitor's bytes go in.
pub(crate) type Body = raw::Outgoing<BytesIn>;

/// Why a visitor's connection ends.
enum End {
    /// Both sides have said all that they would.
    Whole,
    /// One of them broke off, or the replica stops, or the tunnel is not what it was.
    Broken,
    /// It never began.
    Refused(TunnelFault),
    /// It was a probe.
    Asked(Asked),
}

/// Passes a visitor's bytes on to the endpoint and back, until both have ended or one breaks off.
pub(crate) async fn pass_on(shared: &Arc<Shared>, tunnel: &Arc<Tunnel>, visitor: Visitor) {
    shared.metrics.connections_open.inc();
    let Visitor { stream, seen, alpn, address } = visitor;
    let asked = alpn.iter().find_map(|name| Asked::read(name, shared, tunnel));
    let (read, mut write) = stream.into_split();
    let ended = tokio::select! {
        biased;
        () = shared.lifeline.cut.cancelled() => End::Broken,
        ended = async {
            match (asked, lets_in(tunnel, Some(address))) {
                (Some(asked), _) => End::Asked(asked),
                (None, Err(fault)) => End::Refused(fault),
                (None, Ok(())) => carry(shared, tunnel, BytesIn::new(seen, read), &mut write).await,
            }
        } => ended,
        () = taken_away(shared, tunnel, address) => End::Broken,
    };
    part(shared, tunnel, ended, write).await;
    shared.metrics.connections_open.dec();
}

/// Waits until the tunnel leads elsewhere, is off, or takes nobody from there any more.
async fn taken_away(shared: &Shared, tunnel: &Tunnel, address: IpAddr) {
    let mut changes = shared.changes();
    loop {
        let config = shared.config().clone();
        let now = config.as_ref().and_then(|it| it.tunnels.as_ref()?.by_uid(&tunnel.uid));
        if !now.is_some_and(|now| now.is_like(tunnel) && now.takes_from(Some(address))) {
            return;
        }
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn carry(
    shared: &Arc<Shared>,
    tunnel: &Arc<Tunnel>,
    bytes: BytesIn,
    write: &mut OwnedWriteHalf,
) -> End {
    let (broken, sent) = (CancellationToken::new(), CancellationToken::new());
    // Whatever ends this ends what the connector is sent.
    let _broken = broken.clone().drop_guard();
    let looks = (tunnel.protocol == TunnelProtocol::Tcp).then(|| (Arc::clone(shared), Arc::clone(tunnel)));
    let (bytes, asked) = bytes.counted(&shared.metrics, sent.clone().drop_guard(), looks);
    let body = raw::Outgoing::new(bytes, broken.clone());
    let carrying = async {
        let (response, _place) = match open(shared, tunnel, Method::POST, Outbound::Raw(body)).await {
            Ok(opened) => opened,
            Err(fault) => return End::Refused(fault),
        };
        shared.metrics.passed(Passed::Carried);
        let out = shared.metrics.passed_bytes(Way::Out);
        let mut counted = InspectWriter::new(write, |bytes: &[u8]| {
            out.inc_by(bytes.len() as u64);
        });
        if raw::incoming(response.into_body(), &mut counted, &broken).await.is_err() {
            return End::Broken;
        }
        // The endpoint has said all that it would; the visitor may go on.
        sent.cancelled().await;
        if broken.is_cancelled() { End::Broken } else { End::Whole }
    };
    tokio::select! {
        biased;
        Ok(asked) = asked => End::Asked(asked),
        ended = carrying => ended,
    }
}

/// Has the endpoint dialled; the answer comes when it has accepted.
async fn open(
    shared: &Shared,
    tunnel: &Tunnel,
    method: Method,
    body: Outbound,
) -> Result<(Response<Incoming>, Place), TunnelFault> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::builder()
        .scheme("http")
        .authority("connector")
        .path_and_query(carried::RAW)
        .build()
        .unwrap_or_default();
    let uid = HeaderValue::from_str(&tunnel.uid).map_err(|_| TunnelFault::Nothing)?;
    request.headers_mut().insert(carried::TUNNEL, uid);
    let time = Duration::from_millis(tunnel.upstream.connect_timeout_ms) + GRACE;
    let sent = tokio::time::timeout(time, send(shared, tunnel, request)).await;
    let (response, place) =
        sent.map_err(|_| TunnelFault::Endpoint(carried::Fault::ConnectTimeout)).flatten()?;
    match carried::Fault::read(response.headers()) {
        Some(fault) => Err(TunnelFault::Endpoint(fault)),
        None => Ok((response, place)),
    }
}

/// Whether the endpoint would accept a connection.
async fn accepts(shared: &Shared, tunnel: &Tunnel) -> Result<(), TunnelFault> {
    open(shared, tunnel, Method::HEAD, Outbound::Nothing).await.map(drop)
}

/// Ends the connection in the way that tells the visitor most.
async fn part(shared: &Arc<Shared>, tunnel: &Arc<Tunnel>, ended: End, mut write: OwnedWriteHalf) {
    let fault = match ended {
        End::Whole => return,
        End::Broken => return reset(write),
        End::Asked(asked) => return asked.answer(shared, tunnel, &mut write).await,
        End::Refused(fault) => fault,
    };
    // What is asked in a handshake is known before.
    if tunnel.protocol == TunnelProtocol::Tcp
        && let Some(asked) = Asked::wait(write.as_ref(), shared, tunnel).await
    {
        return asked.answer(shared, tunnel, &mut write).await;
    }
    shared.metrics.passed(Passed::of(fault));
    tracing::debug!(tunnel = %tunnel.label, why = fault.title(), "a visitor was turned away");
    if tunnel.protocol == TunnelProtocol::Tls {
        let alert = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, alert(fault)];
        // A visitor who is gone needs no alert.
        let _ = write.write_all(&alert).await;
        let _ = write.shutdown().await;
    } else {
        reset(write);
    }
}

/// What a fatal alert says (RFC 8446, 6.2).
fn alert(fault: TunnelFault) -> u8 {
    match fault {
        TunnelFault::Nothing | TunnelFault::Off => 112, // unrecognized_name
        TunnelFault::Address => 49,                     // access_denied
        _ => 80,                                        // internal_error
    }
}

/// Closes the connection so that the visitor does not take it for a proper end.
fn reset(write: OwnedWriteHalf) {
    // Where even that fails it is closed already.
    let _ = write.as_ref().set_zero_linger();
    write.forget();
}

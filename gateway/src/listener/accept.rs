//! Binds the port, accepts connections, and turns the ones beyond the limit away.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::certificates::Served;
use super::connection::{Came, Connection, Peer};
use super::handshake::{Manner, Spoken, handshake};
use super::{connection, connector, handshake};
use crate::metrics::HandshakeResult;
use crate::shared::Shared;

const BACKLOG: i32 = 4096;
/// How long to wait where the process is out of file descriptors.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);
/// A fatal TLS alert, `internal_error`: what OpenSSL and Go report in words.
const ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x50];

/// Listens on the address, or on the same port of IPv4 where the machine has no IPv6.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match listen(address) {
        Err(_) if address.ip().is_unspecified() && address.is_ipv6() => {
            listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        bound => bound,
    }
}

/// Accepted connections inherit these options on Linux, which saves system calls on each.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(15)),
    )?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the replica stops.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(shared.limits.connections));
    let mut served = shared.certificates.served();
    // Until there is a certificate to show, callers wait in the backlog.
    tokio::select! {
        () = shared.lifeline.stop.cancelled() => return,
        ready = served.wait_for(Option::is_some) => if ready.is_err() { return },
    }
    shared.set_listening();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.lifeline.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(OUT_OF_RESOURCES).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            refuse(&stream, &shared);
            continue;
        };
        let Some(now) = served.borrow().clone() else { continue };
        let shared = Arc::clone(&shared);
        let callers = shared.lifeline.callers.clone();
        callers.spawn(async move {
            let _place = place;
            admit(stream, peer, &now, &shared).await;
        });
    }
}

/// Shakes hands with whoever connects, and serves them.
async fn admit(stream: TcpStream, peer: SocketAddr, now: &Served, shared: &Arc<Shared>) {
    let (is_trusted, proxy_protocol) = match shared.config().as_ref() {
        Some(config) => (config.trusts_peer(peer.ip()), config.proxy_protocol),
        None => (false, false),
    };
    // Whoever else begins like that is taken at its word by nobody.
    let manner = Manner { tls: now.tls.clone(), proxy_protocol: proxy_protocol && is_trusted };
    let shaken = tokio::select! {
        shaken = handshake(stream, manner, shared.limits.handshake_time) => shaken,
        () = shared.lifeline.stop.cancelled() => return,
    };
    match shaken {
        Ok(shaken) => {
            shared.metrics.handshake(HandshakeResult::Ok);
            let peer = Peer { socket: peer, on_behalf_of: shaken.on_behalf_of };
            let came = Came { chain: shaken.chain, peer, mode: now.mode, door: shaken.door };
            let connection = Connection::new(came, Arc::clone(shared));
            let trust = Arc::clone(&now.trust);
            match shaken.spoken {
                Spoken::Connector => connector::serve(shaken.transport, connection, trust, "tls").await,
                spoken => {
                    connection::serve(shaken.transport, spoken == Spoken::Http2, connection, trust).await;
                }
            }
        }
        Err(failure) => {
            shared.metrics.handshake(failure.result);
            tracing::debug!(%peer, result = failure.result.as_str(), error = %failure.error, "handshake failed");
            handshake::part(failure).await;
        }
    }
}

fn refuse(stream: &TcpStream, shared: &Shared) {
    shared.metrics.connections_refused.inc();
    // A connection this young has an empty send buffer; where even that fails there is nothing more to say.
    let _ = stream.try_write(ALERT);
}

//! Binds the port, accepts connections, and turns the ones beyond the limit away.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_protocol::limits::UNSENT;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::certificates::Served;
use super::connection::{Came, Connection, Peer};
use super::handshake::{Kind, Manner, Passing, Shaken, Spoken, handshake};
use super::{connection, connector, handshake};
use crate::config::Config;
use crate::metrics::HandshakeResult;
use crate::shared::Shared;
use crate::tunnel::{self, Visitor};

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
    // A kernel that does not know it, such as a sandbox's, does without.
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(15)),
    )?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the replica stops.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut served = shared.certificates.served();
    let stop = shared.lifeline.stop.clone();
    // Until there is a certificate to show, callers wait in the backlog.
    tokio::select! {
        () = stop.cancelled() => return,
        ready = served.wait_for(Option::is_some) => if ready.is_err() { return },
    }
    shared.set_listening();
    let admitting = Arc::clone(&shared);
    let accepting = accept(&listener, &shared, ALERT, |stream, peer| {
        let (now, shared) = (served.borrow().clone(), Arc::clone(&admitting));
        async move {
            if let Some(now) = now {
                admit(stream, peer, &now, &shared).await;
            }
        }
    });
    stop.run_until_cancelled(accepting).await;
}

/// Accepts, and has as many served at once as there may be. The others are told `full`.
pub(super) async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: &TcpListener,
    shared: &Shared,
    full: &[u8],
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(OUT_OF_RESOURCES).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            shared.metrics.connections_refused.inc();
            // A connection this young has an empty send buffer; where even that fails there is nothing more to say.
            let _ = stream.try_write(full);
            continue;
        };
        let served = serve(stream, peer);
        shared.lifeline.callers.spawn(async move {
            let _place = place;
            served.await;
        });
    }
}

/// Whether a connection from there begins with a PROXY protocol header. Whoever else begins like that is taken at its word
/// by nobody.
pub(super) fn is_introduced(config: Option<&Config>, peer: SocketAddr) -> bool {
    config.is_some_and(|config| config.proxy_protocol && config.trusts_peer(peer.ip()))
}

/// Shakes hands with whoever connects, and serves them.
async fn admit(stream: TcpStream, peer: SocketAddr, now: &Served, shared: &Arc<Shared>) {
    let config = shared.config().clone();
    let manner = Manner {
        tls: now.tls.clone(),
        tunnels: config.as_ref().and_then(|config| config.tunnels.clone()),
        proxy_protocol: is_introduced(config.as_deref(), peer),
    };
    let shaken = tokio::select! {
        shaken = handshake(stream, manner, shared.limits.handshake_time) => shaken,
        () = shared.lifeline.stop.cancelled() => return,
    };
    let Shaken { kind, on_behalf_of } = match shaken {
        Ok(shaken) => shaken,
        Err(failure) => {
            shared.metrics.handshake(failure.result);
            tracing::debug!(%peer, result = failure.result.as_str(), error = %failure.error, "handshake failed");
            return handshake::part(failure).await;
        }
    };
    let peer = Peer { socket: peer, on_behalf_of };
    match kind {
        Kind::Asks(asking) => {
            shared.metrics.handshake(HandshakeResult::Ok);
            if let Some(exchange) = asking.exchange {
                shared.metrics.key_exchange(exchange);
            }
            let chain = now.trust.attributed(asking.chain, shared.clock.now());
            let came = Came { chain, peer, mode: now.mode, door: asking.door };
            let connection = Connection::new(came, Arc::clone(shared));
            let trust = Arc::clone(&now.trust);
            match asking.spoken {
                Spoken::Connector => connector::serve(asking.transport, connection, trust, "tls").await,
                spoken => {
                    connection::serve(asking.transport, spoken == Spoken::Http2, connection, trust).await;
                }
            }
        }
        Kind::Passes(Passing { tunnel, seen, alpn, stream }) => {
            let visitor = Visitor { stream, seen, alpn, address: peer.address() };
            tunnel::pass_on(shared, &tunnel, visitor).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

    #[tokio::test]
    async fn what_is_accepted_sends_at_once_and_lets_little_wait_in_the_kernel() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (_caller, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (accepted, _) = accepted.unwrap();
        let socket = SockRef::from(&accepted);
        assert_eq!((socket.tcp_nodelay().unwrap(), socket.tcp_notsent_lowat().unwrap()), (true, UNSENT));
    }
}

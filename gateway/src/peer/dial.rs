//! A connection to another replica: what it holds, and requests for that.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use portcullis_contract::peer::Held;
use portcullis_protocol::limits::UNSENT;
use portcullis_protocol::message;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{HELD, tls};
use crate::backend::Place;
use crate::shared::Shared;
use crate::tunnel::{Outbound, http2_client};

const CONNECT_TIME: Duration = Duration::from_secs(3);
const PING: Duration = Duration::from_secs(5);
const PONG: Duration = Duration::from_secs(3);

/// Another replica.
#[derive(Debug)]
pub(crate) struct Peer {
    sender: SendRequest<Outbound>,
    in_flight: Arc<AtomicUsize>,
    held: Mutex<HashSet<String>>,
}

impl Peer {
    /// Whether it can be asked for a tunnel.
    pub(super) fn holds(&self, uid: &str) -> bool {
        !self.sender.is_closed() && self.held.lock().unwrap_or_else(PoisonError::into_inner).contains(uid)
    }

    pub(super) fn load(&self) -> usize {
        self.in_flight.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Sends a request there. One that was not sent comes back.
    pub(crate) async fn send(
        &self,
        request: Request<Outbound>,
    ) -> Result<(Response<Incoming>, Place), TrySendError<Request<Outbound>>> {
        let place = Place::take(&self.in_flight);
        let response = self.sender.clone().try_send_request(request).await?;
        Ok((response, place))
    }
}

/// What came of a connection.
pub(super) enum Ended {
    /// It leads to this very replica.
    Ourselves,
    Lost(io::Error),
}

/// Connects to another replica and hears what it holds, until the connection ends.
pub(super) async fn follow(shared: &Arc<Shared>, address: SocketAddr, name: &str) -> Ended {
    let opened = tokio::time::timeout(CONNECT_TIME, open(shared, address, name)).await;
    let (peer, mut body) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return Ended::Lost(error),
        Err(_) => return Ended::Lost(io::ErrorKind::TimedOut.into()),
    };
    let following = Following { shared, address, peer };
    let mut buffer = BytesMut::new();
    let mut known = false;
    loop {
        match message::take::<Held>(&mut buffer) {
            Ok(Some(held)) if held.replica == shared.pod => return Ended::Ourselves,
            Ok(Some(held)) => {
                *following.peer.held.lock().unwrap_or_else(PoisonError::into_inner) =
                    held.tunnels.into_iter().collect();
                if !known {
                    tracing::info!(replica = %held.replica, %address, "connected to another replica");
                    known = true;
                }
                shared.peers.put(address, Arc::clone(&following.peer));
            }
            Ok(None) => match body.frame().await {
                Some(Ok(frame)) => buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Ended::Lost(io::Error::other(error)),
                None => return Ended::Lost(io::ErrorKind::UnexpectedEof.into()),
            },
            Err(error) => return Ended::Lost(error.into()),
        }
    }
}

/// A connection among those that are known, until dropped: also where nobody waits for its end any more.
struct Following<'a> {
    shared: &'a Shared,
    address: SocketAddr,
    peer: Arc<Peer>,
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.shared.peers.remove(self.address, &self.peer);
    }
}

async fn open(shared: &Shared, address: SocketAddr, name: &str) -> io::Result<(Arc<Peer>, Incoming)> {
    let config = tls::client(&shared.tls_dir).await?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (mut sender, connection) = http2_client(PING, PONG)
        .handshake::<_, Outbound>(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let cut = shared.lifeline.cut.clone();
    shared.lifeline.tasks.spawn(async move {
        let _ = cut.run_until_cancelled(connection).await;
    });
    let request =
        Request::get(format!("http://peer{HELD}")).body(Outbound::Nothing).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    if !response.status().is_success() {
        return Err(io::Error::other(format!("it answered {}", response.status())));
    }
    let peer = Peer { sender, in_flight: Arc::default(), held: Mutex::default() };
    Ok((Arc::new(peer), response.into_body()))
}

//! A connector's connection: greeted, and then used the other way round for as long as what the connector has shown
//! holds. Here the gateway is HTTP/2's client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use portcullis_protocol::limits::{PING, PONG};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, Through};
use super::cut::Cuttable;
use super::guard::{Graceful, Guard};
use super::trust::Trust;
use crate::auth::Carried;
use crate::tunnel::{self, Attached, Outbound, http2_client};

/// Serves a connector until it goes, or must. `transport` is `tls` or `websocket`.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut stream: S,
    connection: Arc<Connection>,
    trust: Arc<Trust>,
    transport: &'static str,
) {
    let admitted = tokio::select! {
        biased;
        () = connection.shared.lifeline.stop.cancelled() => None,
        () = connection.cut.cancelled() => None,
        admitted = tunnel::admit(&mut stream, &connection) => admitted,
    };
    let Some(admitted) = admitted else { return };
    let shared = Arc::clone(&connection.shared);
    let peer = connection.peer();
    let Some(config) = shared.config().as_ref().map(Arc::clone) else { return };
    // One that comes through a WebSocket is known by what opened that.
    let inner = if connection.is_tunnelled() {
        connection
    } else {
        Connection::through(Through {
            carried: Carried::read(&admitted.evidence, &config),
            origin: connection.origin(&admitted.evidence, &config),
            expires_at: admitted.principal.expires_at,
            grace: 0,
            outer: connection,
        })
    };
    // It is judged like a request's, so that a revocation is noticed.
    if inner.identify(&admitted.evidence, &config).await.is_err() {
        return;
    }
    let ended = inner.cut.child_token();
    let stream = Cuttable::new(stream, ended.clone());
    let begun = http2_client(PING, PONG).handshake::<_, Outbound>(TokioIo::new(stream)).await;
    let Ok((sender, http)) = begun else { return };
    let attached = Attached::new(&shared, admitted, peer.ip(), transport, sender, ended.clone());
    let _in_flight = inner.begin();
    let mut guard = Guard::new(&inner, trust);
    tokio::select! {
        biased;
        () = ended.cancelled() => {}
        ended = guard.drive(Carrier { http, attached }) => if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connector's connection ended");
        },
    }
    inner.cut.cancel();
    guard.linger().await;
}

/// The connection, and what is known of its connector. Dropped together.
struct Carrier<C> {
    http: C,
    attached: Attached,
}

impl<C: Future<Output = hyper::Result<()>> + Unpin> Future for Carrier<C> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.http).poll(cx)
    }
}

impl<C: Future<Output = hyper::Result<()>> + Unpin> Graceful for Carrier<C> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.attached.drain();
    }
}

//! A WebSocket as a stream of bytes: binary messages in order, whose borders mean nothing. Back-pressure is the stream's
//! own: what nobody reads is not taken from the network.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::connection::Cut;
use super::frame::Frames;
use crate::body::Body;

type WebSocket<S> = WebSocketStream<Frames<S>>;

/// The longest that we take, whole or in fragments.
const LONGEST: usize = 256 * 1024;
/// How long taking leave may take.
const PARTING_TIME: Duration = Duration::from_secs(1);

/// The bytes of a WebSocket.
pub(crate) struct Socket<S = TokioIo<Upgraded>> {
    socket: Shared<S>,
    unread: Bytes,
}

/// The socket itself, which outlives its bytes' reader to say why it closes.
pub(crate) struct Shared<S = TokioIo<Upgraded>>(Arc<Mutex<WebSocket<S>>>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Agrees to a WebSocket: the answer, and what comes of it. None where the request does not ask for one that we know
/// (RFC 6455, 4.2; over HTTP/2, RFC 8441).
pub(super) fn accept(request: &mut Request<Incoming>) -> Option<(Response<Body>, OnUpgrade)> {
    let headers = request.headers();
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return None;
    }
    let mut response = Response::new(Body::empty());
    if request.method() == Method::CONNECT {
        request.extensions().get::<Protocol>().filter(|protocol| protocol.as_str() == "websocket")?;
    } else {
        let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
        let upgrade = headers.get(header::UPGRADE).filter(|value| is_websocket(value))?;
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| request.method() == Method::GET)?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answer = response.headers_mut();
        answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        answer.insert(header::UPGRADE, upgrade.clone());
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Some((response, hyper::upgrade::on(request)))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// On a stream that was upgraded to it.
    pub(crate) async fn new(stream: S) -> (Self, Shared<S>) {
        let limits = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
        let stream = Frames::new(stream);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
        let socket = Shared(Arc::new(Mutex::new(socket)));
        (Self { socket: socket.clone(), unread: Bytes::new() }, socket)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shared<S> {
    fn with<T>(&self, act: impl FnOnce(Pin<&mut WebSocket<S>>) -> T) -> T {
        act(Pin::new(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Says why it closes (codes of RFC 6455, 7.4, and of IANA's registry), and closes.
    pub(super) async fn close(self, why: Option<Cut>) {
        let (code, reason) = match why {
            None => (1000, ""),
            Some(Cut::Stopping) => (1001, "the gateway stops: connect again"),
            Some(Cut::Expired) => (3000, "the credential has expired: log in again"),
            Some(Cut::Revoked) => (3003, "the credential opens this gateway no more"),
        };
        let Ok(mutex) = Arc::try_unwrap(self.0) else { return };
        let mut socket = mutex.into_inner().unwrap_or_else(PoisonError::into_inner);
        let frame = Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }));
        let _ = tokio::time::timeout(PARTING_TIME, async {
            socket.send(frame).await?;
            // The peer answers with a close of its own; until then a reset would take ours from it.
            while let Some(Ok(_)) = socket.next().await {}
            Ok::<_, tokio_tungstenite::tungstenite::Error>(())
        })
        .await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.socket.with(|socket| socket.poll_next(cx))) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text message")));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.with(|mut socket| {
            // Half a pong may wait.
            ready!(socket.as_mut().poll_flush(cx)).map_err(io::Error::other)?;
            socket.get_mut().get_mut().poll_message(cx, bufs)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.with(|socket| socket.poll_flush(cx)).map_err(io::Error::other)
    }

    /// The close is said by [`Shared::close`], which knows why.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

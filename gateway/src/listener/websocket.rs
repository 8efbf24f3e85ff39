//! A WebSocket as a stream of bytes: binary messages in order, whose borders mean nothing. Back-pressure is the stream's
//! own: what nobody reads is not taken from the network.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::{Buf as _, Bytes};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Cut;

/// The longest message that we send: with its header it fills four TLS records, which is what one write of them takes.
const MESSAGE: usize = 4 * 16 * 1024 - 10;
/// The longest that we take, whole or in fragments.
pub(super) const LONGEST: usize = 256 * 1024;
/// How long taking leave may take.
const PARTING_TIME: Duration = Duration::from_secs(1);

/// The bytes of a WebSocket.
pub(super) struct Socket {
    socket: Shared,
    unread: Bytes,
}

/// The socket itself, which outlives its bytes' reader to say why it closes.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<WebSocket>>);

impl Socket {
    pub(super) fn new(socket: WebSocket) -> (Self, Shared) {
        let socket = Shared(Arc::new(Mutex::new(socket)));
        (Self { socket: socket.clone(), unread: Bytes::new() }, socket)
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(Pin<&mut WebSocket>) -> T) -> T {
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
        let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let _ = tokio::time::timeout(PARTING_TIME, async {
            socket.send(frame).await?;
            // The peer answers with a close of its own; until then a reset would take ours from it.
            while let Some(Ok(_)) = socket.recv().await {}
            Ok::<_, axum::Error>(())
        })
        .await;
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.socket.with(|socket| socket.poll_next(cx))) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
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

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.socket.with(|socket| socket.poll_ready(cx))).map_err(io::Error::other)?;
        let length = buf.len().min(MESSAGE);
        let message = Message::Binary(Bytes::copy_from_slice(&buf[..length]));
        self.socket.with(|socket| socket.start_send(message)).map_err(io::Error::other)?;
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// One message of several pieces: HTTP/2 writes each frame's head and body apart.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.socket.with(|socket| socket.poll_ready(cx))).map_err(io::Error::other)?;
        let length = bufs.iter().map(|buf| buf.len()).sum::<usize>().min(MESSAGE);
        let mut message = Vec::with_capacity(length);
        for buf in bufs {
            message.extend_from_slice(&buf[..buf.len().min(length - message.len())]);
        }
        self.socket
            .with(|socket| socket.start_send(Message::Binary(message.into())))
            .map_err(io::Error::other)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.with(|socket| socket.poll_flush(cx)).map_err(io::Error::other)
    }

    /// The close is said by [`Shared::close`], which knows why.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

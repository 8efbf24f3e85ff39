//! A caller's bytes, whichever way they come: over TLS, plain, or through a WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::websocket::Socket;

/// What every HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A caller's bytes.
pub(super) enum Transport {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(Sniffed<TcpStream>),
    Tunnel(Sniffed<Socket>),
}

/// A stream whose first bytes were looked at.
pub(super) struct Sniffed<S> {
    seen: Bytes,
    inner: S,
}

impl<S: AsyncRead + Unpin> Sniffed<S> {
    /// Reads until it is clear whether the stream begins as HTTP/2 does.
    pub(super) async fn read(mut inner: S) -> io::Result<(Self, bool)> {
        let mut seen = [0; PREFACE.len()];
        let mut length = 0;
        while length < PREFACE.len() && PREFACE.starts_with(&seen[..length]) {
            match inner.read(&mut seen[length..]).await? {
                0 => break,
                read => length += read,
            }
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let is_h2 = length == PREFACE.len() && seen == PREFACE;
        Ok((Self { seen: Bytes::copy_from_slice(&seen[..length]), inner }, is_h2))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let length = self.seen.len().min(buf.remaining());
        buf.put_slice(&self.seen[..length]);
        self.seen.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// Does the same with whichever stream it is.
macro_rules! each {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport.get_mut() {
            Transport::Tls($stream) => $call,
            Transport::Plain(Sniffed { inner: $stream, .. }) => $call,
            Transport::Tunnel(Sniffed { inner: $stream, .. }) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tunnel(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Plain(stream) => stream.inner.is_write_vectored(),
            Self::Tunnel(stream) => stream.inner.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    async fn sniffed(parts: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut near, far) = tokio::io::duplex(1024);
        for part in parts {
            near.write_all(part).await.unwrap();
        }
        drop(near);
        let (mut stream, is_h2) = Sniffed::read(far).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        (all, is_h2)
    }

    #[tokio::test]
    async fn the_preface_of_http_2_is_known_and_no_byte_is_lost() {
        let whole = [PREFACE, b"rest"].concat();
        assert_eq!(sniffed(&[&whole]).await, (whole.clone(), true));
        assert_eq!(sniffed(&[&PREFACE[..5], &PREFACE[5..], b"rest"]).await, (whole, true));
        for text in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/1.1\r\n\r\n", b"P", b"PRI * HTTP/2.0\r\n\r\n"]
        {
            assert_eq!(sniffed(&[text]).await, (text.to_vec(), false));
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_at_once_is_none() {
        let (near, far) = tokio::io::duplex(16);
        drop(near);
        assert!(Sniffed::read(far).await.is_err());
    }
}

//! The stream below a WebSocket, and binary messages written to it without a copy: their header and the pieces that they
//! are made of go down together.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest message that we send: with its header it fills four TLS records, which is what one write of them takes.
pub(super) const MESSAGE: usize = 4 * 16 * 1024 - HEADER;
/// The longest header of a server's frame, which is not masked (RFC 6455, 5.2).
const HEADER: usize = 10;
/// Pieces of one message; HTTP/2 writes each frame's head and body apart.
const PIECES: usize = 32;
/// A whole message of bytes.
const WHOLE_BINARY: u8 = 0x82;

/// A stream, and what it has not yet taken of the last message.
pub(super) struct Frames<S> {
    inner: S,
    rest: BytesMut,
}

impl<S: AsyncWrite + Unpin> Frames<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, rest: BytesMut::new() }
    }

    /// Sends one message of as many of these bytes as fit; says of how many.
    pub(super) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_rest(cx))?;
        let pieces = &pieces[..pieces.len().min(PIECES)];
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>().min(MESSAGE);
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        let (header, header_length) = header(length);
        let mut slices = [IoSlice::new(&[]); PIECES + 1];
        slices[0] = IoSlice::new(&header[..header_length]);
        let mut left = length;
        for (slice, piece) in slices[1..].iter_mut().zip(pieces) {
            *slice = IoSlice::new(&piece[..piece.len().min(left)]);
            left -= slice.len();
        }
        let slices = &slices[..=pieces.len()];
        let mut taken = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, slices))?;
        if taken == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        // What has begun must end, whatever becomes of whoever writes.
        for slice in slices {
            let skipped = slice.len().min(taken);
            taken -= skipped;
            self.rest.extend_from_slice(&slice[skipped..]);
        }
        Poll::Ready(Ok(length))
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let taken = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.rest))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(taken);
        }
        Poll::Ready(Ok(()))
    }
}

/// Of a whole binary message that is this long, and how much of the array it is.
#[expect(clippy::cast_possible_truncation, reason = "checked by the ranges")]
fn header(length: usize) -> ([u8; HEADER], usize) {
    let mut header = [0; HEADER];
    header[0] = WHOLE_BINARY;
    match length {
        0..126 => {
            header[1] = length as u8;
            (header, 2)
        }
        126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            (header, 4)
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(length as u64).to_be_bytes());
            (header, HEADER)
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

/// What others write, such as pongs, waits for the end of the last message.
impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use proptest::prelude::*;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    /// Sends each list of pieces over a pipe of this width; returns what a WebSocket client reads.
    async fn carried(messages: Vec<Vec<Vec<u8>>>, width: usize) -> Vec<u8> {
        let (near, far) = tokio::io::duplex(width);
        let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        let sending = async move {
            let mut frames = Frames::new(near);
            for pieces in messages {
                let mut all = pieces.concat();
                let mut pieces = pieces;
                while !all.is_empty() {
                    let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
                    let sent = std::future::poll_fn(|cx| frames.poll_message(cx, &slices)).await.unwrap();
                    assert!(sent > 0);
                    all.drain(..sent);
                    pieces = vec![all.clone()];
                }
            }
            std::future::poll_fn(|cx| frames.poll_rest(cx)).await.unwrap();
        };
        let reading = async {
            let mut read = Vec::new();
            while let Some(Ok(message)) = client.next().await {
                read.extend_from_slice(&message.into_data());
            }
            read
        };
        tokio::join!(sending, reading).1
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_client_reads_what_was_written_whatever_the_pieces_and_the_pipe(
            sizes in proptest::collection::vec(proptest::collection::vec(0_usize..70_000, 1..40), 1..4),
            width in 1_usize..100_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let messages: Vec<Vec<Vec<u8>>> = sizes
                .iter()
                .map(|pieces| pieces.iter().map(|size| (0..=250).cycle().take(*size).collect()).collect())
                .collect();
            let written: Vec<u8> = messages.iter().flatten().flatten().copied().collect();
            let width = if written.len() > 500_000 { width.max(4096) } else { width };
            prop_assert!(runtime.block_on(carried(messages, width)) == written);
        }
    }
}

//! Bytes that are no HTTP, in a stream of HTTP/2: what is read becomes a body, and a body is written. The end of one
//! direction is the end of that body, and the other goes on. An end that is none, of either, breaks both: nobody is to
//! take half of it for the whole.

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What is read at a time. It lies on the stack: a stream that waits holds no buffer.
const PIECE: usize = 16 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The other direction broke.
#[derive(Debug, thiserror::Error)]
#[error("the stream broke")]
struct Broken;

/// What is read, as a body. `broken` is cancelled where it ends otherwise than with the last byte, and ends it where the
/// other direction cancels it.
pub struct Outgoing<R> {
    reader: R,
    broken: CancellationToken,
    hears: Pin<Box<WaitForCancellationFutureOwned>>,
    whole: bool,
}

impl<R> Outgoing<R> {
    /// All of `reader`.
    pub fn new(reader: R, broken: CancellationToken) -> Self {
        Self { reader, hears: Box::pin(broken.clone().cancelled_owned()), broken, whole: false }
    }
}

impl<R: AsyncRead + Unpin> Body for Outgoing<R> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.whole {
            return Poll::Ready(None);
        }
        if self.hears.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Broken.into())));
        }
        let mut space = [const { MaybeUninit::uninit() }; PIECE];
        let mut piece = ReadBuf::uninit(&mut space);
        match ready!(Pin::new(&mut self.reader).poll_read(cx, &mut piece)) {
            Ok(()) if piece.filled().is_empty() => {
                self.whole = true;
                Poll::Ready(None)
            }
            Ok(()) => Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(piece.filled()))))),
            Err(error) => {
                self.broken.cancel();
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }
}

impl<R> Drop for Outgoing<R> {
    fn drop(&mut self) {
        if !self.whole {
            self.broken.cancel();
        }
    }
}

/// Writes a body that comes by HTTP/2, and closes the writer after the last byte. Cancels `broken` where it comes to no
/// such end, and ends where the other direction cancels it.
///
/// # Errors
/// Where it comes to no such end.
pub async fn incoming<B, W>(body: B, writer: &mut W, broken: &CancellationToken) -> io::Result<()>
where
    B: Body,
    B::Error: Into<BoxError>,
    W: AsyncWrite + Unpin,
{
    let written = broken.run_until_cancelled(write(body, writer)).await;
    let written = written.unwrap_or_else(|| Err(io::Error::other(Broken)));
    if written.is_err() {
        broken.cancel();
    }
    written
}

async fn write<B, W>(body: B, writer: &mut W) -> io::Result<()>
where
    B: Body,
    B::Error: Into<BoxError>,
    W: AsyncWrite + Unpin,
{
    let mut body = pin!(body);
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(mut data) = frame.map_err(io::Error::other)?.into_data() {
            while data.has_remaining() {
                writer.write_buf(&mut data).await?;
            }
        }
    }
    // hyper takes a reset that says CANCEL or NO_ERROR for an end like any other.
    if !body.is_end_stream() {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    writer.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Full};
    use tokio::io::AsyncReadExt as _;

    /// As a reader: one that was reset. As a body: what hyper makes of a stream that was, an end that none was said to be.
    struct Reset;

    impl AsyncRead for Reset {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }

    impl Body for Reset {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            Poll::Ready(None)
        }
    }

    #[tokio::test]
    async fn what_is_read_is_the_body_and_its_end_breaks_nothing() {
        let text = vec![7; 3 * PIECE + 5];
        let broken = CancellationToken::new();
        let body = Outgoing::new(text.as_slice(), broken.clone()).collect().await.unwrap();
        assert_eq!(body.to_bytes(), text);
        assert!(!broken.is_cancelled());
    }

    #[tokio::test]
    async fn a_body_is_written_and_its_end_closes_the_writer() {
        let (mut near, mut far) = tokio::io::duplex(1024);
        let broken = CancellationToken::new();
        incoming(Full::new(Bytes::from_static(b"all of it")), &mut near, &broken).await.unwrap();
        let mut text = Vec::new();
        far.read_to_end(&mut text).await.unwrap();
        assert_eq!((text.as_slice(), broken.is_cancelled()), (&b"all of it"[..], false));
    }

    #[tokio::test]
    async fn an_end_that_is_none_breaks_the_other_direction() {
        let broken = CancellationToken::new();
        drop(Outgoing::new(&b"rest"[..], broken.clone()));
        assert!(broken.is_cancelled());
        let broken = CancellationToken::new();
        assert!(Outgoing::new(Reset, broken.clone()).frame().await.unwrap().is_err());
        assert!(broken.is_cancelled());
        let broken = CancellationToken::new();
        let (mut near, mut far) = tokio::io::duplex(16);
        assert!(incoming(Reset, &mut near, &broken).await.is_err());
        assert!(broken.is_cancelled());
        near.write_all(b"open").await.unwrap();
        let mut text = [0; 4];
        far.read_exact(&mut text).await.unwrap();
    }

    #[tokio::test]
    async fn what_the_other_direction_broke_does_not_look_whole() {
        let broken = CancellationToken::new();
        let (mut near, far) = tokio::io::duplex(16);
        let mut body = Outgoing::new(far, broken.clone());
        broken.cancel();
        assert!(body.frame().await.unwrap().is_err());
        let all = Full::new(Bytes::from_static(b"all"));
        assert!(incoming(all, &mut near, &broken).await.is_err());
    }
}

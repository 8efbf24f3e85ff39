//! What goes out to a connector as the body of a request.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use portcullis_protocol::limits::{CONNECTION_WINDOW, FRAME, SEND_BUFFER, STREAM_WINDOW};
use tokio::sync::mpsc;

use super::raw;
use crate::backend::Upload;
use crate::body::BoxError;

/// HTTP/2 to a connector, or to another replica that has one; asks at this interval whether the other end is still there.
pub(crate) fn http2_client(interval: Duration, timeout: Duration) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .keep_alive_while_idle(true);
    builder
}

/// The body of a request to a connector.
pub(crate) enum Outbound {
    /// A visitor's.
    Visitor(Upload),
    /// The bytes of one who speaks no HTTP.
    Raw(raw::Body),
    /// What the connector is told, each message with its length before it.
    Instructions(mpsc::Receiver<Bytes>),
    Nothing,
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Visitor(upload) => Pin::new(upload).poll_frame(cx),
            Self::Raw(bytes) => Pin::new(bytes).poll_frame(cx),
            Self::Instructions(messages) => {
                messages.poll_recv(cx).map(|message| message.map(|message| Ok(Frame::data(message))))
            }
            Self::Nothing => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Visitor(upload) => upload.is_end_stream(),
            Self::Raw(_) | Self::Instructions(_) => false,
            Self::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Visitor(upload) => upload.size_hint(),
            Self::Raw(_) | Self::Instructions(_) => SizeHint::default(),
            Self::Nothing => SizeHint::with_exact(0),
        }
    }
}

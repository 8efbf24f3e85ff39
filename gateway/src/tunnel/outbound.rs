//! What goes out to a connector as the body of a request.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::backend::Upload;
use crate::body::BoxError;

/// The body of a request to a connector.
pub(crate) enum Outbound {
    /// A visitor's.
    Visitor(Upload),
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
            Self::Instructions(messages) => {
                messages.poll_recv(cx).map(|message| message.map(|message| Ok(Frame::data(message))))
            }
            Self::Nothing => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Visitor(upload) => upload.is_end_stream(),
            Self::Instructions(_) => false,
            Self::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Visitor(upload) => upload.size_hint(),
            Self::Instructions(_) => SizeHint::default(),
            Self::Nothing => SizeHint::with_exact(0),
        }
    }
}

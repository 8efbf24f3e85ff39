//! The body of a response, wherever it comes from.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_trace::Span;

use crate::backend::Reply;
use crate::listener::InFlight;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body. The request counts as in flight, and its span lasts, until it is dropped.
pub(crate) struct Body {
    kind: Kind,
    in_flight: Option<InFlight>,
    span: Span,
}

enum Kind {
    Empty,
    Bytes(Bytes),
    Backend(Reply),
    Own(tonic::body::Body),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Kind::Empty.into()
    }

    /// Keeps a request in flight for as long as this body lives.
    pub(crate) fn hold(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    /// Ends a span together with this body, and tells it what became of it.
    pub(crate) fn trace(&mut self, span: Span) {
        self.span = span;
    }
}

impl Kind {
    fn is_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(_) => false,
            Self::Backend(reply) => reply.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }
}

impl From<Kind> for Body {
    fn from(kind: Kind) -> Self {
        Self { kind, in_flight: None, span: Span::default() }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Kind::Bytes(bytes).into() }
    }
}

impl From<Reply> for Body {
    fn from(reply: Reply) -> Self {
        Kind::Backend(reply).into()
    }
}

impl From<tonic::body::Body> for Body {
    fn from(body: tonic::body::Body) -> Self {
        Kind::Own(body).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { kind, span, .. } = self.get_mut();
        let polled = match kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Backend(reply) => Pin::new(reply).poll_frame(cx),
            Kind::Own(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        };
        span.carried(&polled, || kind.is_end());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Backend(reply) => reply.size_hint(),
            Kind::Own(body) => body.size_hint(),
        }
    }
}

//! Bodies on their way through: an end that was none is an error on both sides, and never looks whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use portcullis_protocol::raw::Outgoing;
use portcullis_trace::Span;
use prometheus_client::metrics::counter::Counter;
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::counts::Counted;
use super::news::Underway;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An HTTP/2 stream that was reset before its end, which hyper takes for an end where the reset says CANCEL or NO_ERROR.
#[derive(Debug, thiserror::Error)]
#[error("the stream was reset before its end")]
struct CutShort;

/// A body as it comes in.
#[derive(Debug)]
pub(super) struct Passing {
    body: Incoming,
    over_h2: bool,
    /// Counts its bytes, where somebody wants to know.
    bytes: Option<Counter>,
}

impl Passing {
    pub(super) fn new(body: Incoming, over_h2: bool) -> Self {
        Self { body, over_h2, bytes: None }
    }

    /// The same, its bytes counted.
    pub(super) fn counted(self, bytes: Option<Counter>) -> Self {
        Self { bytes, ..self }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) && self.over_h2 && !self.body.is_end_stream() {
            return Poll::Ready(Some(Err(CutShort.into())));
        }
        if let (Some(bytes), Poll::Ready(Some(Ok(frame)))) = (&self.bytes, &polled) {
            bytes.inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer to the gateway.
pub(super) enum Reply {
    Empty,
    /// An endpoint's. The request counts as in flight until it is dropped.
    Endpoint {
        body: Passing,
        in_flight: InFlight,
    },
    /// What an endpoint sends, as it comes.
    Raw {
        body: Outgoing<OwnedReadHalf>,
        in_flight: InFlight,
    },
    /// Of the control stream: open for as long as requests are wanted.
    Control(Pin<Box<WaitForCancellationFutureOwned>>),
}

impl Reply {
    /// Ends when the token is cancelled.
    pub(super) fn until(token: CancellationToken) -> Self {
        Self::Control(Box::pin(token.cancelled_owned()))
    }

    /// Ends a span together with what an endpoint says, and tells it what became of it.
    pub(super) fn trace(&mut self, span: Span) {
        if let Self::Endpoint { in_flight, .. } = self {
            in_flight.span = span;
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Endpoint { body, in_flight } => {
                let polled = Pin::new(&mut *body).poll_frame(cx);
                in_flight.span.carried(&polled, || body.is_end_stream());
                in_flight.counted(polled)
            }
            Self::Raw { body, in_flight } => in_flight.counted(Pin::new(body).poll_frame(cx)),
            Self::Control(cancelled) => cancelled.as_mut().poll(cx).map(|()| None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Endpoint { body, .. } => body.is_end_stream(),
            Self::Raw { .. } | Self::Control(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Endpoint { body, .. } => body.size_hint(),
            Self::Raw { .. } | Self::Control(_) => SizeHint::default(),
        }
    }
}

/// A request in flight, until dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    all: Arc<AtomicUsize>,
    /// What is told of it, where somebody listens.
    told: Option<Box<Underway>>,
    counted: Option<Counted>,
    span: Span,
}

/// What a body says when it is asked for more.
type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl InFlight {
    pub(super) fn begin(
        all: &Arc<AtomicUsize>,
        told: Option<Box<Underway>>,
        counted: Option<Counted>,
    ) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self { all: Arc::clone(all), told, counted, span: Span::default() }
    }

    /// What is counted of it, where somebody wants to know.
    pub(super) fn counts(&self) -> Option<&Counted> {
        self.counted.as_ref()
    }

    /// The endpoint has answered.
    pub(super) fn answered(&mut self, status: StatusCode) {
        if let Some(told) = &mut self.told {
            told.visit.status = Some(status);
        }
        if let Some(counted) = &mut self.counted {
            counted.answered(status);
        }
    }

    fn counted(&mut self, polled: Polled) -> Polled {
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            if let Some(told) = &mut self.told {
                told.visit.bytes += bytes;
            }
            if let Some(counted) = &self.counted {
                counted.sent().inc_by(bytes);
            }
        }
        polled
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

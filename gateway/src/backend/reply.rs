//! The body of a backend's response, and what happens to the connection when it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::h2c::Place;
use super::http1::Lease;
use super::upload::Progress;
use crate::body::BoxError;

/// A response's body as it comes in. Dropped before its end, it takes the exchange with it: an HTTP/1.1 connection is
/// closed, an HTTP/2 stream is reset.
#[derive(Debug)]
pub(crate) struct Reply {
    body: Incoming,
    lease: Option<Lease>,
    upload: Option<Arc<Progress>>,
    place: Option<Place>,
}

impl Reply {
    pub(super) fn http1(body: Incoming, upload: Option<Arc<Progress>>, lease: Option<Lease>) -> Self {
        let mut reply = Self { body, lease, upload, place: None };
        reply.release_at_end();
        reply
    }

    pub(crate) fn h2c(body: Incoming, place: Place) -> Self {
        Self { body, lease: None, upload: None, place: Some(place) }
    }

    fn release_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.end();
        }
    }
}

/// An HTTP/2 stream that was reset before its end. hyper takes a reset that says CANCEL or NO_ERROR for an end like
/// any other, which would make half a body look whole.
#[derive(Debug, thiserror::Error)]
#[error("the stream was reset before its end")]
pub(super) struct CutShort;

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.abandon();
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => {
                if let Some(lease) = self.lease.take() {
                    lease.end();
                }
                if self.place.is_some() && !self.body.is_end_stream() {
                    return Poll::Ready(Some(Err(CutShort.into())));
                }
            }
            Poll::Ready(Some(Ok(_))) => self.release_at_end(),
            Poll::Ready(Some(Err(_))) => self.lease = None,
            Poll::Pending => {}
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

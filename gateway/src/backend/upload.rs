//! The body of a caller's request on its way to a backend.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use http::{Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::headers;
use super::reply::CutShort;
use crate::body::BoxError;

/// How long a backend may take to say `100 Continue` before the body is sent all the same (RFC 9110, 10.1.1).
const CONTINUE_TIME: Duration = Duration::from_secs(1);

/// A request's body as it comes in. Trailers lose what callers may not claim.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Option<Incoming>,
    over_h2: bool,
    progress: Option<Arc<Progress>>,
    gate: Option<Pin<Box<Sleep>>>,
}

/// The body flows.
const FLOWING: u8 = 0;
/// It waits for `100 Continue`.
const WAITING: u8 = 1;
/// The response came instead: it is held until that has been read.
const HELD: u8 = 2;
/// Nobody will read it.
const ABANDONED: u8 = 3;

/// How far a body has come, for whoever waits for the response.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// When something last came in: milliseconds since `began`.
    last: AtomicU64,
    ended: AtomicBool,
    gate: AtomicU8,
    waker: AtomicWaker,
}

impl Progress {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The response has come: a body that still waits to be wanted is not sent while it is read.
    pub(super) fn answered(&self) {
        self.turn(WAITING, HELD);
    }

    /// The response has been read or dropped: a body that was held back ends its connection.
    pub(super) fn abandon(&self) {
        self.turn(HELD, ABANDONED);
    }

    fn turn(&self, from: u8, to: u8) {
        if self.gate.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.waker.wake();
        }
    }

    fn advance(&self, ended: bool) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
        self.ended.store(ended, Ordering::Relaxed);
    }

    /// When the response is late, where it may take this long after the last of the body.
    fn deadline(&self, time: Duration) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed)) + time
    }
}

impl Upload {
    pub(crate) fn new(body: Incoming, over_h2: bool) -> Self {
        let progress = (!body.is_end_stream()).then(|| {
            Arc::new(Progress {
                began: Instant::now(),
                last: AtomicU64::new(0),
                ended: AtomicBool::new(false),
                gate: AtomicU8::new(FLOWING),
                waker: AtomicWaker::new(),
            })
        });
        Self { body: Some(body), over_h2, progress, gate: None }
    }

    pub(crate) fn empty() -> Self {
        Self { body: None, over_h2: false, progress: None, gate: None }
    }

    /// Holds the body back until the backend wants it, so that one that refuses is not sent it.
    pub(super) fn wait_for_continue<B>(&mut self, request: &mut Request<B>) {
        let Some(progress) = &self.progress else { return };
        progress.gate.store(WAITING, Ordering::Release);
        self.gate = Some(Box::pin(tokio::time::sleep(CONTINUE_TIME)));
        let progress = Arc::clone(progress);
        hyper::ext::on_informational(request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                progress.turn(WAITING, FLOWING);
            }
        });
    }

    /// Shared with whoever waits; none where there is no body.
    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let (Some(timer), Some(progress)) = (&mut self.gate, &self.progress) else {
            return Poll::Ready(Ok(()));
        };
        progress.waker.register(cx.waker());
        match progress.gate.load(Ordering::Acquire) {
            WAITING => {
                ready!(timer.as_mut().poll(cx));
                progress.turn(WAITING, FLOWING);
            }
            HELD => return Poll::Pending,
            ABANDONED => return Poll::Ready(Err("the backend answered without wanting the body".into())),
            _ => {}
        }
        self.gate = None;
        Poll::Ready(Ok(()))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        ready!(self.poll_gate(cx))?;
        let over_h2 = self.over_h2;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = ready!(Pin::new(&mut *body).poll_frame(cx));
        let ended = body.is_end_stream() || polled.is_none();
        if polled.is_none() && over_h2 && !body.is_end_stream() {
            return Poll::Ready(Some(Err(CutShort.into())));
        }
        if let Some(progress) = &self.progress {
            progress.advance(ended && !matches!(polled, Some(Err(_))));
        }
        Poll::Ready(polled.map(|frame| {
            let mut frame = frame?;
            if let Some(trailers) = frame.trailers_mut() {
                headers::strip(trailers);
            }
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Awaits a response's header for as long as it may take, counted from the last of the request's body.
pub(super) async fn within<T>(
    time: Option<Duration>,
    progress: Option<&Progress>,
    sent: impl Future<Output = T>,
) -> Option<T> {
    let Some(time) = time else { return Some(sent.await) };
    let Some(progress) = progress else { return tokio::time::timeout(time, sent).await.ok() };
    let mut sent = std::pin::pin!(sent);
    let mut late = std::pin::pin!(tokio::time::sleep(time));
    loop {
        tokio::select! {
            biased;
            done = sent.as_mut() => return Some(done),
            () = late.as_mut() => {
                let deadline = progress.deadline(time);
                if deadline <= Instant::now() {
                    return None;
                }
                late.as_mut().reset(deadline);
            }
        }
    }
}

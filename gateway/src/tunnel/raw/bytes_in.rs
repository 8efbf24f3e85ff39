//! What a visitor sends: what was read of it already, then the rest, counted. On a port, where nothing else says who has
//! come, the first bytes are looked at: a probe's are for us.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;

use super::asked::{Asked, LONGEST};
use crate::metrics::{Metrics, Way};
use crate::shared::Shared;
use crate::tunnel::names::Tunnel;

/// What a visitor sends.
pub(crate) struct BytesIn {
    seen: Bytes,
    read: OwnedReadHalf,
    counter: Counter,
    look: Option<Look>,
    /// Tells when nothing more will be read.
    _done: Option<DropGuard>,
}

/// Who wants to know whether it is a probe that has come.
struct Look {
    shared: Arc<Shared>,
    tunnel: Arc<Tunnel>,
    asked: oneshot::Sender<Asked>,
}

impl BytesIn {
    pub(super) fn new(seen: Bytes, read: OwnedReadHalf) -> Self {
        Self { seen, read, counter: Counter::default(), look: None, _done: None }
    }

    /// Counts them, drops `done` with the last one, and tells of a probe where the first are to be looked at.
    pub(super) fn counted(
        self,
        metrics: &Metrics,
        done: DropGuard,
        looks: Option<(Arc<Shared>, Arc<Tunnel>)>,
    ) -> (Self, oneshot::Receiver<Asked>) {
        let (asked, hears) = oneshot::channel();
        let look = looks.map(|(shared, tunnel)| Look { shared, tunnel, asked });
        (Self { counter: metrics.passed_bytes(Way::In), look, _done: Some(done), ..self }, hears)
    }

    /// Whether the first bytes are a visitor's.
    fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(look) = &self.look else { return Poll::Ready(Ok(())) };
        let mut first = [0; LONGEST];
        let mut peeked = ReadBuf::new(&mut first);
        ready!(self.read.poll_peek(cx, &mut peeked))?;
        let asked = Asked::read(peeked.filled(), &look.shared, &look.tunnel);
        let look = self.look.take();
        let (Some(asked), Some(look)) = (asked, look) else { return Poll::Ready(Ok(())) };
        // What is left unread would turn the answer into a reset.
        let mut rest = [0; LONGEST];
        ready!(Pin::new(&mut self.read).poll_read(cx, &mut ReadBuf::new(&mut rest)))?;
        // Nobody waits any more where the visit has ended.
        let _ = look.asked.send(asked);
        Poll::Ready(Err(io::Error::other("it was a probe")))
    }
}

impl AsyncRead for BytesIn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_look(cx))?;
        let before = buf.filled().len();
        if self.seen.is_empty() {
            ready!(Pin::new(&mut self.read).poll_read(cx, buf))?;
        } else {
            let length = self.seen.len().min(buf.remaining());
            buf.put_slice(&self.seen[..length]);
            self.seen.advance(length);
        }
        self.counter.inc_by((buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

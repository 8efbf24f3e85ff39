//! HTTP/1.1 connections to one backend: one request at a time each, kept for the next one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::dial::{Address, Dialer};
use super::reply::Reply;
use super::upload::{Progress, Upload, within};
use super::upstream::{SendError, Times};

/// Connections that wait for a request; the one used last is used next.
#[derive(Debug)]
pub(super) struct Pool {
    address: Address,
    dialer: Dialer,
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Upload>,
    since: Instant,
}

/// A connection on its way back to its pool; it arrives if the exchange ended whole.
#[derive(Debug)]
pub(super) struct Lease {
    sender: SendRequest<Upload>,
    pool: Arc<Pool>,
    upload: Option<Arc<Progress>>,
}

impl Pool {
    pub(super) fn new(address: Address, dialer: Dialer) -> Self {
        Self { address, dialer, idle: Mutex::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request, again on another connection where the one that waited had been closed and nothing was sent.
    pub(super) async fn send(
        self: &Arc<Self>,
        mut request: Request<Upload>,
        times: Times,
    ) -> Result<Response<Reply>, SendError> {
        let progress = request.body().progress();
        loop {
            let (mut sender, reused) = match self.take().await {
                Some(sender) => (sender, true),
                None => (self.connect(times).await?, false),
            };
            let sent = within(times.response, progress.as_deref(), sender.try_send_request(request)).await;
            match sent.ok_or(SendError::TimedOut)? {
                Ok(response) => return Ok(self.reply(response, sender, progress)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if reused => {
                        self.dialer.metrics.backend_retries.inc();
                        request = unsent;
                    }
                    _ => return Err(SendError::Broken(failed.into_error())),
                },
            }
        }
    }

    fn reply(
        self: &Arc<Self>,
        response: Response<Incoming>,
        sender: SendRequest<Upload>,
        upload: Option<Arc<Progress>>,
    ) -> Response<Reply> {
        if let Some(upload) = &upload {
            upload.answered();
        }
        let keep = response.status() != StatusCode::SWITCHING_PROTOCOLS && !closes(response.headers());
        let lease = keep.then(|| Lease { sender, pool: Arc::clone(self), upload: upload.clone() });
        response.map(|body| Reply::http1(body, upload, lease))
    }

    async fn connect(&self, times: Times) -> Result<SendRequest<Upload>, SendError> {
        let stream = self.dialer.dial(&self.address, times.connect).await.map_err(SendError::Dial)?;
        let (sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(SendError::Broken)?;
        self.dialer.run(connection.with_upgrades());
        Ok(sender)
    }

    async fn take(&self) -> Option<SendRequest<Upload>> {
        loop {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_back()?;
            if idle.since.elapsed() >= self.dialer.limits.backend_idle_time {
                continue;
            }
            if idle.sender.is_ready() || idle.sender.ready().await.is_ok() {
                return Some(idle.sender);
            }
        }
    }

    fn put(&self, sender: SendRequest<Upload>) {
        let limits = &self.dialer.limits;
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.front().is_some_and(|oldest| {
            oldest.sender.is_closed() || now.duration_since(oldest.since) >= limits.backend_idle_time
        }) {
            idle.pop_front();
        }
        if idle.len() < limits.idle_backend_connections {
            idle.push_back(Idle { sender, since: now });
        }
    }
}

impl Lease {
    /// The response has been read to its end.
    pub(super) fn end(self) {
        if self.upload.as_ref().is_none_or(|upload| upload.has_ended()) && !self.sender.is_closed() {
            self.pool.put(self.sender);
        }
    }
}

fn closes(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

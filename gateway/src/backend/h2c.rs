//! HTTP/2 connections to one backend, with prior knowledge: many requests at a time each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::dial::{Address, Dialer};
use super::reply::Reply;
use super::upload::{Upload, within};
use super::upstream::{SendError, Times};

/// Connections that take requests.
#[derive(Debug)]
pub(super) struct Pool {
    address: Address,
    dialer: Dialer,
    lanes: Mutex<Vec<Lane>>,
    /// Held while a connection is opened, so that a burst opens one and not one each.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Lane {
    sender: SendRequest<Upload>,
    in_flight: Arc<AtomicUsize>,
}

/// A request's place on its connection.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    pub(crate) fn take(in_flight: &Arc<AtomicUsize>) -> Self {
        in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(in_flight))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(super) fn new(address: Address, dialer: Dialer) -> Self {
        Self { address, dialer, lanes: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request, again on another connection where the one chosen had been closed and nothing was sent.
    pub(super) async fn send(
        &self,
        mut request: Request<Upload>,
        times: Times,
    ) -> Result<Response<Reply>, SendError> {
        let progress = request.body().progress();
        loop {
            let (mut lane, reused) = self.lane(times).await?;
            let place = Place::take(&lane.in_flight);
            let sent = within(times.response, progress.as_deref(), lane.sender.try_send_request(request));
            match sent.await.ok_or(SendError::TimedOut)? {
                Ok(response) => return Ok(response.map(|body| Reply::h2c(body, place))),
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

    async fn lane(&self, times: Times) -> Result<(Lane, bool), SendError> {
        if let Some(lane) = self.least_busy() {
            return Ok((lane, true));
        }
        let _opening = self.opening.lock().await;
        if let Some(lane) = self.least_busy() {
            return Ok((lane, true));
        }
        let lane = Lane { sender: self.connect(times).await?, in_flight: Arc::default() };
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(lane.clone());
        Ok((lane, false))
    }

    /// The open connection with the fewest requests; none where another one should be opened.
    fn least_busy(&self) -> Option<Lane> {
        let limits = &self.dialer.limits;
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| !lane.sender.is_closed());
        let (busy, lane) = lanes
            .iter()
            .map(|lane| (lane.in_flight.load(Ordering::Relaxed), lane))
            .min_by_key(|(busy, _)| *busy)?;
        let room = busy < limits.streams_per_backend_connection;
        (room || lanes.len() >= limits.h2c_backend_connections).then(|| lane.clone())
    }

    async fn connect(&self, times: Times) -> Result<SendRequest<Upload>, SendError> {
        let limits = &self.dialer.limits;
        let stream = self.dialer.dial(&self.address, times.connect).await.map_err(SendError::Dial)?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(limits.stream_window)
            .initial_connection_window_size(limits.connection_window)
            .max_send_buf_size(limits.send_buffer)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(SendError::Broken)?;
        self.dialer.run(connection);
        Ok(sender)
    }
}

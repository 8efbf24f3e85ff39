//! One connection to a replica, served until it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use http::{Method, Request, header};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portcullis_contract::tunnel::Service;
use portcullis_protocol::carried;
use portcullis_protocol::limits::{
    CONNECTION_WINDOW, FRAME, PING, PONG, SEND_BUFFER, STREAM_WINDOW, STREAMS,
};
use tokio_util::sync::CancellationToken;

use super::answer::answer;
use super::body::InFlight;
use super::counts::Counted;
use super::news::Teller;
use super::services::{Served, Services};
use super::upstream::Upstream;
use crate::line::Transport;

/// What the requests of one connection have in common.
pub(super) struct Link {
    pub(super) replica: String,
    services: Arc<Services>,
    served: Served,
    in_flight: Arc<AtomicUsize>,
    teller: Teller,
    /// We want no more requests.
    leaving: CancellationToken,
    /// The replica wants us elsewhere.
    elsewhere: CancellationToken,
}

impl Link {
    pub(super) fn new(
        replica: String,
        services: Arc<Services>,
        told: Vec<Service>,
        teller: Teller,
        leaving: CancellationToken,
    ) -> Self {
        let served = ArcSwap::default();
        services.take(&served, told);
        Self {
            replica,
            services,
            served,
            in_flight: Arc::default(),
            teller,
            leaving,
            elsewhere: CancellationToken::new(),
        }
    }

    pub(super) fn take(&self, told: Vec<Service>) {
        self.services.take(&self.served, told);
    }

    pub(super) fn upstream(&self, uid: &str) -> Option<Arc<Upstream>> {
        self.served.load().get(uid).cloned()
    }

    /// A visitor's request begins.
    pub(super) fn begin<B>(&self, request: &Request<B>) -> InFlight {
        let is_probe = request.headers().get(header::USER_AGENT) == Some(&carried::PROBER)
            || (request.method() == Method::HEAD && request.uri().path() == carried::RAW);
        if is_probe {
            return self.hold();
        }
        let told = self.teller.visit(request.method(), request.uri().path());
        InFlight::begin(&self.in_flight, told, self.teller.counts().map(Counted::begin))
    }

    /// Something more that a request waits for.
    pub(super) fn hold(&self) -> InFlight {
        InFlight::begin(&self.in_flight, None, None)
    }

    /// The endpoint gave no answer.
    pub(super) fn failed(&self, fault: carried::Fault) {
        if let Some(counts) = self.teller.counts() {
            counts.failed(fault);
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    pub(super) fn leaving(&self) -> CancellationToken {
        self.leaving.clone()
    }

    pub(super) fn go_elsewhere(&self) {
        self.elsewhere.cancel();
    }

    /// Waits until the replica wants us elsewhere.
    pub(super) async fn told_to_go(&self) {
        self.elsewhere.cancelled().await;
    }

    /// Serves the connection until it ends.
    pub(super) async fn serve(self: Arc<Self>, transport: Transport) -> hyper::Result<()> {
        let answers = service_fn(move |request| answer(Arc::clone(&self), request));
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_send_buf_size(SEND_BUFFER)
            // The control stream and pings beside them.
            .max_concurrent_streams(STREAMS + 8)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(TokioIo::new(transport), answers)
            .await
    }
}

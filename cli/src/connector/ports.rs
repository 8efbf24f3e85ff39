//! `/healthz` and `/readyz`, and `/metrics`, plain HTTP on ports of their own: ready while there is a connection.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::follow::Shown;
use super::settings::Error;

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Where others may ask how it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// Where `/healthz` and `/readyz` are.
    pub health: Option<SocketAddr>,
    /// Where `/metrics` is.
    pub metrics: Option<SocketAddr>,
}

/// What is answered on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Health,
    Metrics,
}

impl Ports {
    pub(super) async fn bind(&self) -> Result<Vec<(TcpListener, Page)>, Error> {
        let mut bound = Vec::new();
        for (address, page) in [(self.health, Page::Health), (self.metrics, Page::Metrics)] {
            if let Some(address) = address {
                bound.push((bind(address).await?, page));
            }
        }
        Ok(bound)
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = match TcpListener::bind(address).await {
        // A machine without IPv6.
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|source| Error::Listen { address, source })
}

/// What it knows when it is asked.
#[derive(Clone)]
pub(super) struct Answers {
    page: Page,
    connected: Shown,
    counts: Option<Arc<Counts>>,
}

impl Answers {
    pub(super) fn new(page: Page, connected: Shown, counts: Option<Arc<Counts>>) -> Self {
        Self { page, connected, counts }
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        if let (Page::Metrics, "/metrics", Some(counts)) = (self.page, path, &self.counts) {
            let mut response = Response::new(Full::new(counts.render().into()));
            response.headers_mut().insert(header::CONTENT_TYPE, OPEN_METRICS);
            return response;
        }
        let connected = *self.connected.lock().unwrap_or_else(PoisonError::into_inner).borrow();
        let (status, text) = match (self.page, path) {
            (Page::Health, "/healthz") => (StatusCode::OK, "alive\n".to_owned()),
            (Page::Health, "/readyz") if connected > 0 => {
                (StatusCode::OK, format!("{connected} connections\n"))
            }
            (Page::Health, "/readyz") => {
                (StatusCode::SERVICE_UNAVAILABLE, "not connected to any replica\n".to_owned())
            }
            (Page::Health, _) => (StatusCode::NOT_FOUND, "there are /healthz and /readyz\n".to_owned()),
            (Page::Metrics, _) => (StatusCode::NOT_FOUND, "there is /metrics\n".to_owned()),
        };
        let mut response = Response::new(Full::new(text.into()));
        *response.status_mut() = status;
        response
    }
}

/// Answers until it is told to end.
pub(super) async fn serve(listener: TcpListener, answers: Answers, ended: CancellationToken) {
    let accepting = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let answers = answers.clone();
            let answers = service_fn(move |request: Request<Incoming>| {
                let answer = answers.answer(request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).keep_alive(false);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), answers));
        }
    };
    ended.run_until_cancelled(accepting).await;
}

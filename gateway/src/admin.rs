//! What the kubelet and Prometheus ask: plain HTTP on ports of their own.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/healthz`: the process is alive. `/readyz`: callers should be sent here.
pub(crate) fn health(shared: Arc<Shared>) -> Router {
    let ready = move || async move {
        match shared.readiness() {
            Ok(()) => (StatusCode::OK, "ok\n").into_response(),
            Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")).into_response(),
        }
    };
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

/// `/metrics`.
pub(crate) fn metrics(shared: Arc<Shared>) -> Router {
    let render = move || async move {
        shared.metrics.census.take(&shared);
        ([(header::CONTENT_TYPE, OPEN_METRICS)], shared.metrics.render())
    };
    Router::new().route("/metrics", get(render))
}

/// Serves until the replica is cut, so that a drain can be watched.
pub(crate) async fn serve(listener: TcpListener, router: Router, cut: CancellationToken) {
    let served = std::future::IntoFuture::into_future(axum::serve(listener, router));
    tokio::select! {
        ended = served => if let Err(error) = ended {
            tracing::error!(%error, "an admin port ended");
        },
        () = cut.cancelled() => {}
    }
}

/// Tells the gRPC health service of every change.
pub(crate) async fn follow_readiness(shared: Arc<Shared>) {
    let (mut changes, mut served) = (shared.changes(), shared.certificates.served());
    let mut peers = shared.peers.changes();
    loop {
        shared.api.health.set(shared.readiness().is_ok()).await;
        tokio::select! {
            biased;
            () = shared.lifeline.stop.cancelled() => break,
            Ok(()) = changes.changed() => {}
            Ok(()) = served.changed() => {}
            Ok(()) = peers.changed() => {}
        }
    }
    shared.api.health.set(false).await;
}

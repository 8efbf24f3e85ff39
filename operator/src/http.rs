//! `/healthz`, `/readyz` and `/metrics`. Ready is apart from leadership: a standby with warm caches is ready.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::metrics::Metrics;
use crate::moment;
use crate::world::watch::Progress;

/// What the answers are made of.
#[derive(Clone)]
pub struct Pages {
    /// Everything there is to count.
    pub context: Arc<Context>,
    /// How far the first lists are.
    pub progress: Arc<Progress>,
}

/// Serves until stopped.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(listener: TcpListener, pages: Pages, stop: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, String) {
    let mut missing = pages.progress.missing();
    if pages.context.control.authority().is_none() {
        missing.push("control authority: waiting".to_owned());
    }
    match missing.as_slice() {
        [] => (StatusCode::OK, "ok\n".to_owned()),
        missing => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready:\n{}\n", missing.join("\n"))),
    }
}

async fn metrics(State(pages): State<Pages>) -> ([(&'static str, &'static str); 1], String) {
    let (ctx, metrics) = (&pages.context, &pages.context.metrics);
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    metrics.queue_depth.set(count(ctx.queue.depth() + ctx.tunnels.depth()));
    let gateways = ctx.world.gateways();
    let of = gateways.iter().map(|it| it.status.as_ref().map_or(&[][..], |status| &status.conditions));
    Metrics::tell_states(&metrics.gateway_states, of.clone());
    metrics.tell_rollouts(of);
    metrics.gateways.set(count(gateways.len()));
    let tunnels = ctx.world.tunnels();
    let of = tunnels.iter().map(|it| it.status.as_ref().map_or(&[][..], |status| &status.conditions));
    Metrics::tell_states(&metrics.tunnel_states, of);
    metrics.tunnels.set(count(tunnels.len()));
    let authorities = gateways.iter().filter_map(|it| it.status.as_ref()?.ca.as_ref());
    metrics.tell_rotations(authorities, moment::timestamp(ctx.clock.now()).unwrap_or_default());
    metrics.attached.set(count(ctx.control.attached()));
    let leads = ctx.writer.leads();
    metrics.leading.set(i64::from(leads));
    // Whoever does not lead knows what was so when it did.
    let (expiry, renewal) = if leads { ctx.control.certificates() } else { (None, None) };
    metrics.tell_certificates(expiry, renewal);
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.text())
}

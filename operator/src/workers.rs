//! Drives the visits: workers take Gateways and Tunnels from their queues while this operator leads.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cause::chain;
use crate::context::{Backoff, Context};
use crate::gateway::{Next, reconcile};
use crate::lease::Leadership;
use crate::queue::{Queue, Urgency};
use crate::world::Key;
use crate::world::watch::Progress;
use crate::{tunnel, writer};

/// Starts so many workers. They begin once everything was listed and this operator leads, pause while it does not, and
/// visit every Gateway when it leads again.
pub fn start(
    ctx: &Arc<Context>,
    leadership: &Leadership,
    progress: &Arc<Progress>,
    count: usize,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    for number in 0..count.max(1) {
        let (ctx, leadership, progress) = (ctx.clone(), leadership.clone(), progress.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            // Nothing but waiting is ever cut short: a visit that has begun is ended.
            if stop.run_until_cancelled(progress.synced()).await.is_none() {
                return;
            }
            while stop.run_until_cancelled(leadership.gained()).await.is_some() {
                if number == 0 {
                    for key in ctx.world.keys() {
                        ctx.queue.add(key, Urgency::Routine);
                    }
                    for key in ctx.world.tunnel_keys() {
                        ctx.tunnels.add(key, Urgency::Routine);
                    }
                }
                while leadership.leads() && !stop.is_cancelled() {
                    tokio::select! {
                        key = ctx.queue.next() => visit(&ctx, &key).await,
                        key = ctx.tunnels.next() => visit_tunnel(&ctx, &key).await,
                        () = leadership.lost() => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        });
    }
}

async fn visit(ctx: &Context, key: &Key) {
    let next = guarded(ctx, "Gateway", key, Box::pin(reconcile(ctx, key))).await;
    again(&ctx.queue, &ctx.backoff, key, next);
}

async fn visit_tunnel(ctx: &Context, key: &Key) {
    let next = guarded(ctx, "Tunnel", key, Box::pin(tunnel::reconcile(ctx, key))).await;
    again(&ctx.tunnels, &ctx.tunnel_backoff, key, next);
}

/// Whatever one object does to us, the others are visited.
async fn guarded(
    ctx: &Context,
    kind: &'static str,
    key: &Key,
    visit: impl Future<Output = Result<Next, writer::Error>>,
) -> Next {
    let started = Instant::now();
    let about = [("k8s.namespace.name", key.namespace.clone()), ("portcullis.name", key.name.clone())];
    let mut span = portcullis_trace::work(kind, &about);
    let visited = AssertUnwindSafe(visit).catch_unwind().await;
    ctx.metrics.reconcile_seconds.observe(started.elapsed().as_secs_f64());
    match visited {
        Ok(Ok(next)) => next,
        Ok(Err(error)) => {
            ctx.metrics.count_error(error.reason());
            span.failed(error.reason().as_str());
            tracing::warn!(kind, %key, error = chain(&error), "failed to report on an object");
            Next::Retry
        }
        Err(_) => {
            span.failed("panic");
            tracing::error!(kind, %key, "a visit panicked: this is a defect of the operator");
            Next::Retry
        }
    }
}

fn again(queue: &Queue<Key>, backoff: &Backoff, key: &Key, next: Next) {
    match next {
        Next::Change => backoff.succeeded(key),
        Next::After(delay) => {
            backoff.succeeded(key);
            queue.add_after(key.clone(), delay);
        }
        Next::Now => queue.add(key.clone(), Urgency::Changed),
        Next::Retry => queue.add_after(key.clone(), backoff.failed(key)),
    }
    queue.done(key);
}

//! Drives the visits: workers take Gateways from the queue while this operator leads.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cause::chain;
use crate::context::Context;
use crate::gateway::{Next, reconcile};
use crate::lease::Leadership;
use crate::queue::Urgency;
use crate::world::Key;
use crate::world::watch::Progress;

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
                }
                while leadership.leads() && !stop.is_cancelled() {
                    tokio::select! {
                        key = ctx.queue.next() => visit(&ctx, &key).await,
                        () = leadership.lost() => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        });
    }
}

async fn visit(ctx: &Context, key: &Key) {
    let started = Instant::now();
    // Whatever a Gateway does to us, the others are visited.
    let visited = AssertUnwindSafe(reconcile(ctx, key)).catch_unwind().await;
    ctx.metrics.reconcile_seconds.observe(started.elapsed().as_secs_f64());
    let next = match visited {
        Ok(Ok(next)) => next,
        Ok(Err(error)) => {
            ctx.metrics.count_error(error.reason());
            tracing::warn!(gateway = %key, error = chain(&error), "failed to report on a Gateway");
            Next::Retry
        }
        Err(_) => {
            tracing::error!(gateway = %key, "a visit panicked: this is a defect of the operator");
            Next::Retry
        }
    };
    match next {
        Next::Change => ctx.backoff.succeeded(key),
        Next::After(delay) => {
            ctx.backoff.succeeded(key);
            ctx.queue.add_after(key.clone(), delay);
        }
        Next::Now => ctx.queue.add(key.clone(), Urgency::Changed),
        Next::Retry => ctx.queue.add_after(key.clone(), ctx.backoff.failed(key)),
    }
    ctx.queue.done(key);
}

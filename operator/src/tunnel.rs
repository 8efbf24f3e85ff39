//! The Tunnel controller: one visit brings the connector of one Tunnel to its declared state, where it is to run in this
//! cluster, and says what is proved of that Tunnel. What replicas serve of it is the Gateway's plan.

use std::time::Duration;

use kube::ResourceExt as _;
use portcullis_api::condition::Reason;
use portcullis_api::{Tunnel, TunnelStatus};
use time::OffsetDateTime;

use crate::cause::chain;
use crate::children::apply::{Failure, Foundation};
use crate::context::Context;
use crate::gateway::observe::SETTLING;
use crate::gateway::{Next, events};
use crate::queue::Urgency;
use crate::world::{Key, Kind, Owner};
use crate::{children, moment, names, writer};

pub mod claims;
#[cfg(test)]
mod golden;
pub mod observe;
pub mod plan;
pub mod status;
#[cfg(test)]
mod tests;
pub mod took;
pub mod words;

use observe::{Observed, observe};
use plan::plan;
use status::{Outcome, PROOF, status};

/// Brings one Tunnel to its declared state, and says what is proved of it.
///
/// # Errors
/// Where its status could not be written.
pub async fn reconcile(ctx: &Context, key: &Key) -> Result<Next, writer::Error> {
    let Some(tunnel) = ctx.world.tunnel(key).filter(|tunnel| tunnel.metadata.deletion_timestamp.is_none())
    else {
        return Ok(Next::Change);
    };
    let observed = observe(ctx, &tunnel);
    let visit = carry_out(ctx, &tunnel, &observed).await;
    if visit.again {
        return Ok(Next::Now);
    }
    let observed = observe(ctx, &tunnel);
    let now = moment::timestamp(ctx.clock.now()).unwrap_or_default();
    publish(ctx, &tunnel, status(&tunnel, &observed, &visit.outcome, now)).await?;
    Ok(next_visit(ctx, &observed, &visit))
}

/// What was done for the connector in this cluster, where there is to be one.
#[derive(Default)]
struct Visit {
    outcome: Outcome,
    again: bool,
    renewal: Option<OffsetDateTime>,
    /// There is to be a connector, and nothing to sign its certificate with.
    waits: bool,
}

async fn carry_out(ctx: &Context, tunnel: &Tunnel, observed: &Observed) -> Visit {
    if tunnel.spec.connector.is_none() && observed.children.is_empty() {
        return Visit::default();
    }
    let waits = tunnel.spec.connector.is_some() && observed.authority.is_none();
    let (owner, uid) = (Owner::Tunnel(Key::of(tunnel)), tunnel.uid().unwrap_or_default());
    // It is never closed.
    let turn = ctx.planning.acquire().await.ok();
    let plan = match plan(tunnel, observed, &ctx.settings, ctx.clock.now(), ctx.mint.as_ref()) {
        Ok(plan) => plan,
        Err(error) => {
            let failure = Failure { reason: Reason::IssuingFailed, message: chain(&error) };
            let outcome = Outcome { failures: vec![failure], ..Outcome::default() };
            return Visit { outcome, ..Visit::default() };
        }
    };
    drop(turn);
    for note in &plan.notes {
        tracing::info!(tunnel = %owner.key(), "{note}");
    }
    let is_reissued = !plan.notes.is_empty();
    // Where that name is somebody else's, no pod is to find what is in it.
    let bundle = Foundation {
        slot: (Kind::Secret, names::connector(&owner.key().name)),
        carries: &[Kind::Deployment],
    };
    let carried = children::apply::carry_out(ctx, &owner, &uid, plan.steps, &bundle).await;
    // A rotation may have waited for that bundle.
    if is_reissued {
        ctx.queue.add(Key::of_gateway(tunnel), Urgency::Routine);
    }
    let outcome = Outcome { trouble: plan.trouble, failures: carried.failures };
    Visit { outcome, again: carried.again, renewal: plan.renewal, waits }
}

/// Proof ages, what a new leader has not heard of is not there after a while, and certificates are renewed.
fn next_visit(ctx: &Context, observed: &Observed, visit: &Visit) -> Next {
    if let Some(failure) = visit.outcome.failures.first() {
        ctx.metrics.count_error(failure.reason);
        return Next::Retry;
    }
    let now = moment::timestamp(ctx.clock.now()).unwrap_or_default().as_millisecond();
    let probes = observed.evidence.iter().filter_map(|(_, evidence)| evidence.probe.as_ref());
    let left = probes.map(|probe| (probe.at_ms.min(now) + (PROOF + 1) * 1000) - now).max();
    let settles = observed.settling.then_some(SETTLING);
    let expires = left.and_then(|left| u64::try_from(left).ok()).map(Duration::from_millis);
    let renews = visit.renewal.map(|at| {
        let left: Duration = (at - ctx.clock.now()).try_into().unwrap_or(Duration::ZERO);
        left.max(Duration::from_mins(1))
    });
    let signs = visit.waits.then_some(Duration::from_mins(1));
    let soonest = [settles, expires, renews, signs].into_iter().flatten().min();
    soonest.map_or(Next::Change, Next::After)
}

async fn publish(ctx: &Context, tunnel: &Tunnel, status: TunnelStatus) -> Result<(), writer::Error> {
    if tunnel.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let before = tunnel.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let news = events::transitions(before, &status.conditions);
    let uid = tunnel.uid().unwrap_or_default();
    match ctx.writer.status::<Tunnel, _>(&Key::of(tunnel), &uid, &status).await {
        Ok(written) => ctx.news().tunnel_written(tunnel, written),
        // Gone, or another one by now: there is nothing to report on.
        Err(error) if matches!(error.code(), 404 | 409) => return Ok(()),
        Err(error) => return Err(error),
    }
    let now = moment::timestamp(ctx.clock.now()).unwrap_or_default();
    for news in news {
        if let Err(error) = ctx.writer.event(tunnel, &news, now).await {
            tracing::warn!(error = chain(&error), "failed to tell what happened; the condition says it");
        }
    }
    Ok(())
}

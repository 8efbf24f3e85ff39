//! The Tunnel controller: one visit says what is proved of one Tunnel. What replicas serve of it is the Gateway's plan.

use std::time::Duration;

use kube::ResourceExt as _;
use portcullis_api::{Tunnel, TunnelStatus};

use crate::cause::chain;
use crate::context::Context;
use crate::gateway::{Next, events};
use crate::world::Key;
use crate::{moment, writer};

pub mod claims;
pub mod observe;
pub mod status;
#[cfg(test)]
mod tests;
pub mod words;

use observe::observe;
use status::{PROOF, status};

/// Says what is proved of one Tunnel.
///
/// # Errors
/// Where its status could not be written.
pub async fn reconcile(ctx: &Context, key: &Key) -> Result<Next, writer::Error> {
    let Some(tunnel) = ctx.world.tunnel(key).filter(|tunnel| tunnel.metadata.deletion_timestamp.is_none())
    else {
        return Ok(Next::Change);
    };
    let now = moment::timestamp(ctx.clock.now()).unwrap_or_default();
    let observed = observe(ctx, &tunnel);
    let is_proved = observed.evidence.iter().any(|(_, evidence)| evidence.probe.is_some());
    let settling = observed.settling;
    publish(ctx, &tunnel, status(&tunnel, &observed, now)).await?;
    // Proof ages, and what a new leader has not heard of is not there after a while.
    let next = match (is_proved, settling) {
        (_, true) => Some(crate::gateway::observe::SETTLING),
        (true, false) => Some(Duration::from_secs(PROOF.unsigned_abs() / 2)),
        (false, false) => None,
    };
    Ok(next.map_or(Next::Change, Next::After))
}

async fn publish(ctx: &Context, tunnel: &Tunnel, status: TunnelStatus) -> Result<(), writer::Error> {
    if tunnel.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let before = tunnel.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let news = events::transitions(before, &status.conditions);
    let uid = tunnel.uid().unwrap_or_default();
    match ctx.writer.status::<Tunnel, _>(&Key::of(tunnel), &uid, &status).await {
        Ok(mut written) => {
            written.metadata.managed_fields = None;
            ctx.world.put_tunnel(written);
        }
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

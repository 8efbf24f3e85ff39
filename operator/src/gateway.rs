//! The Gateway controller: one visit brings one Gateway to its declared state and reports what became of it.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use portcullis_api::condition::{ConditionType, Reason, holds};
use portcullis_api::{AuthorityStatus, Gateway, RotationPhase};

use crate::cause::chain;
use crate::context::Context;
use crate::control::renewals::Asked;
use crate::queue::Urgency;
use crate::world::{Key, Kind};
use crate::{moment, names, writer};

pub mod apply;
pub mod events;
#[cfg(test)]
pub(crate) mod golden;
pub mod observe;
pub mod plan;
#[cfg(test)]
mod properties;
pub mod status;
pub mod validate;

use apply::apply;
use observe::observe;
use plan::plan;
use plan::renewals::{Refusal, Renewal};
use status::{Outcome, status};
use validate::validate;

/// When a Gateway is to be visited again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something happens to it.
    Change,
    /// After this long, too.
    After(Duration),
    /// At once.
    Now,
    /// After a failure: when the back-off says so.
    Retry,
}

/// Brings one Gateway to its declared state and reports what became of it.
///
/// # Errors
/// Where its status could not be written.
pub async fn reconcile(ctx: &Context, key: &Key) -> Result<Next, writer::Error> {
    let Some(gateway) =
        ctx.world.gateway(key).filter(|gateway| gateway.metadata.deletion_timestamp.is_none())
    else {
        ctx.control.forget(key);
        ctx.renewals.forget(key);
        ctx.claims.forget(key);
        return Ok(Next::Change);
    };
    // Whoever looks at what it names puts it into the queue again.
    let Some(observed) = observe(ctx, &gateway) else { return Ok(Next::Change) };
    let outcome = carry_out(ctx, &gateway, &observed).await;
    if let Outcome::Applied(_, applied) = &outcome
        && applied.again
    {
        return Ok(Next::Now);
    }
    let Some(observed) = observe(ctx, &gateway) else { return Ok(Next::Change) };
    wake_tunnels(ctx, &observed);
    let status = status(&gateway, &observed, &outcome, now(ctx));
    let next = next_visit(ctx, key, &outcome, status.ca.as_ref());
    let written = publish(ctx, &gateway, status, events::renewals(&outcome)).await?;
    answer(ctx, key, &observed.renewals, &outcome, written);
    // Whoever was not answered waits for the authority's next step, which was taken just now.
    let waits = next != Next::Retry && !ctx.renewals.waiting(key).is_empty();
    Ok(if waits { Next::Now } else { next })
}

/// Tells whoever asked for a certificate what became of it. What was issued is written down by now; where that failed, nobody
/// is told anything of it, and the next plan issues another.
fn answer(ctx: &Context, key: &Key, asked: &[Arc<Asked>], outcome: &Outcome, written: bool) {
    let refuse = |refusal: &Refusal| {
        for asked in asked {
            ctx.renewals.answer(key, asked.id, Err(refusal.clone()));
        }
    };
    match outcome {
        Outcome::Applied(_, applied) => {
            for Renewal { asked, outcome } in &applied.plan.renewals {
                if let (Ok(issued), true) = (outcome, written) {
                    let facts = &issued.certificate.facts;
                    tracing::info!(
                        gateway = %key, client = asked.client, user = asked.user, address = asked.address,
                        shown = asked.serial, serial = facts.serial, fingerprint = facts.fingerprint,
                        not_after = moment::text(facts.not_after), "certificate renewed by its client"
                    );
                }
                if written || outcome.is_err() {
                    ctx.renewals.answer(key, asked.id, outcome.clone());
                }
            }
        }
        Outcome::Suspended => {
            refuse(&Refusal::not_now(
                "the Gateway is suspended (spec.suspend): nothing is issued until it goes on",
            ));
        }
        Outcome::Rejected(rejected) => {
            let message =
                format!("the Gateway's spec is not accepted, and nothing is issued: {}", rejected.message);
            refuse(&Refusal::not_now(message));
        }
        Outcome::Unplanned(_) => {
            refuse(&Refusal::not_now(
                "nothing can be issued at the moment: the Gateway's condition CertificatesReady says why",
            ));
        }
    }
}

async fn carry_out(ctx: &Context, gateway: &Gateway, observed: &observe::Observed) -> Outcome {
    if gateway.spec.suspend {
        return Outcome::Suspended;
    }
    // It is never closed.
    let turn = ctx.planning.acquire().await.ok();
    let accepted = match validate(gateway, observed, &ctx.settings) {
        Ok(accepted) => accepted,
        Err(rejected) => return Outcome::Rejected(rejected),
    };
    let (before, now) = (gateway.status.as_ref(), ctx.clock.now());
    let plan = match plan(&accepted, observed, &ctx.settings, before, now, ctx.mint.as_ref()) {
        Ok(plan) => plan,
        Err(error) => return Outcome::Unplanned(chain(&error)),
    };
    drop(turn);
    for note in &plan.certificates.notes {
        tracing::info!(gateway = %accepted.key, "{note}");
    }
    let applied = apply(ctx, &accepted, plan).await;
    // What replicas are told hangs on authority and server certificate alone: a bundle that cannot be written must not
    // keep a client in that was removed.
    let founded = [names::authority_secret(&accepted.key.name), names::server_secret(&accepted.key.name)]
        .into_iter()
        .all(|secret| !applied.unwritten.contains(&(Kind::Secret, secret)));
    if let (Some(snapshot), true, false) = (&applied.plan.snapshot, founded, applied.again) {
        ctx.control.publish(&accepted.key, snapshot);
    }
    Outcome::Applied(Box::new(accepted), Box::new(applied))
}

/// Those that are not served yet may be by now.
fn wake_tunnels(ctx: &Context, observed: &observe::Observed) {
    for tunnel in observed.claims.iter().flat_map(|claims| claims.accepted()) {
        let key = Key::new(&tunnel.namespace, &tunnel.name);
        let resource = ctx.world.tunnel(&key);
        let status = resource.as_ref().and_then(|it| it.status.as_ref());
        if !status.is_some_and(|it| holds(&it.conditions, ConditionType::Programmed)) {
            ctx.tunnels.add(key, Urgency::Changed);
        }
    }
}

/// Their certificates are to be of the authority that has just been recorded.
fn wake_connectors(ctx: &Context, gateway: &Key) {
    for tunnel in ctx.world.tunnels_of(gateway).iter().filter(|tunnel| tunnel.spec.connector.is_some()) {
        ctx.tunnels.add(Key::of(&**tunnel), Urgency::Changed);
    }
}

/// Writes the status, and tells what is new in it and `more`. False where there is nothing left to write it to.
async fn publish(
    ctx: &Context,
    gateway: &Gateway,
    status: portcullis_api::GatewayStatus,
    more: Vec<writer::News>,
) -> Result<bool, writer::Error> {
    if gateway.status.as_ref() == Some(&status) {
        return Ok(true);
    }
    let before = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut news = events::transitions(before, &status.conditions);
    let known = gateway.status.as_ref().and_then(|status| status.ca.as_ref());
    news.extend(events::rotation(known, status.ca.as_ref()));
    news.extend(more);
    let authority = |status: &portcullis_api::GatewayStatus| {
        status.ca.as_ref().map(|ca| (ca.fingerprint.clone(), ca.phase))
    };
    let is_other = gateway.status.as_ref().and_then(authority) != authority(&status);
    let uid = gateway.uid().unwrap_or_default();
    match ctx.writer.status::<Gateway, _>(&Key::of(gateway), &uid, &status).await {
        Ok(written) => {
            ctx.news().gateway_written(gateway, written);
            if is_other {
                wake_connectors(ctx, &Key::of(gateway));
            }
        }
        // Gone, or another one by now: there is nothing to report on.
        Err(error) if matches!(error.code(), 404 | 409) => return Ok(false),
        Err(error) => return Err(error),
    }
    for news in news {
        if let Err(error) = ctx.writer.event(gateway, &news, now(ctx)).await {
            tracing::warn!(error = chain(&error), "failed to tell what happened; the condition says it");
        }
    }
    Ok(true)
}

fn next_visit(ctx: &Context, key: &Key, outcome: &Outcome, ca: Option<&AuthorityStatus>) -> Next {
    let applied = match outcome {
        Outcome::Suspended => return Next::Change,
        Outcome::Rejected(rejected) => {
            ctx.metrics.count_error(rejected.reason);
            return Next::Change;
        }
        Outcome::Unplanned(_) => {
            ctx.metrics.count_error(Reason::IssuingFailed);
            return Next::Retry;
        }
        Outcome::Applied(_, applied) => applied,
    };
    if let Some(failure) = applied.failures.first() {
        ctx.metrics.count_error(failure.reason);
        return Next::Retry;
    }
    let certificates = &applied.plan.certificates;
    ctx.control.record_certificates(key, certificates.earliest_expiry(), certificates.renewal);
    let left = |at: time::OffsetDateTime| -> Duration {
        (at - ctx.clock.now()).try_into().unwrap_or(Duration::ZERO)
    };
    match certificates.renewal {
        Some(at) => {
            // A rotation that waits for nothing goes on by itself.
            let goes_on = ca.is_some_and(|ca| {
                ca.phase != RotationPhase::Stable && ca.waiting_for.is_none() && ca.phase_until.is_none()
            });
            let moves = certificates.rotation.map(left).into_iter().chain(goes_on.then_some(Duration::ZERO));
            let moves = moves.min().map(|left| left.max(Duration::from_secs(1)));
            let left = left(at).max(Duration::from_mins(1));
            let left = moves.map_or(left, |moves| left.min(moves));
            let settled = observe::SETTLING.checked_sub(ctx.leadership.led_for());
            Next::After(settled.map_or(left, |settled| left.min(settled + Duration::from_secs(1))))
        }
        // A first authority is asked for again then.
        None => {
            certificates.rotation.map_or(Next::Retry, |at| Next::After(left(at).max(Duration::from_secs(1))))
        }
    }
}

fn now(ctx: &Context) -> k8s_openapi::jiff::Timestamp {
    moment::timestamp(ctx.clock.now()).unwrap_or_default()
}

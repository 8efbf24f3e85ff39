//! When an authority goes a step further on its way from one generation to the next. Pure: what there is, what replicas
//! have said and the time are arguments. Each step is one write of the authority's Secret; everything else that a phase
//! writes follows from it, so that whoever comes after a crash goes on from there. See docs/adr/0014-rotation.md.
//!
//! ```text
//! Stable ─► Publishing ─► Issuing ─► Retiring ─► Stable
//!   ▲            │           ▲│          │
//!   └─ rollback ─┘           └┴ rollback ┘     an emergency leads from anywhere to Issuing, with one generation
//! ```

use std::sync::Arc;

use portcullis_api::{GatewayStatus, RotationPhase};
use portcullis_pki::{Authority, AuthorityFacts, AuthorityProfile, Mint, NameConstraints, issue_authority};
use time::OffsetDateTime;

use super::certificates::Certificates;
use super::{Error, Published, brought, request};
use crate::gateway::observe::Observed;
use crate::gateway::status::replicas::Replicas;
use crate::gateway::validate::{Accepted, Rejected, Rotation, Source};
use crate::world::{Content, Key, Roots};

pub mod unused;

/// The next state of an authority, and why it comes, in words for the log.
pub type Step = (Roots, String);

/// An authority that somebody else has issued, or why it may not sign.
pub type Candidate = Result<Arc<Authority>, Rejected>;

/// A first generation, or why there is none: then the authority is somebody else's, and not there.
///
/// # Errors
/// Where it cannot be issued.
pub fn first(
    accepted: &Accepted,
    candidate: Option<&Candidate>,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Result<Roots, Rejected>, Error> {
    let asked = [
        accepted.rotation.rotate.as_ref(),
        accepted.rotation.emergency.as_ref(),
        accepted.rotation.rollback.as_ref(),
    ];
    // What an annotation asked for before there was anything is as good as done.
    let done = asked.into_iter().flatten().cloned().collect();
    let authority = match candidate {
        None => generation(accepted, 1, now, mint)?,
        Some(Ok(brought)) => Authority::clone(brought).numbered(1),
        Some(Err(why)) => return Ok(Err(why.clone())),
    };
    Ok(Ok(Roots::first(authority, done)))
}

/// What somebody has asked for, or age does. None: nothing new.
///
/// # Errors
/// Where a generation cannot be issued.
pub fn asked(
    accepted: &Accepted,
    observed: &Observed,
    status: Option<&GatewayStatus>,
    roots: &Roots,
    candidate: Option<&Candidate>,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Option<Step>, Error> {
    let next = |number| successor(accepted, roots, candidate, number, now, mint);
    let policy = &accepted.rotation;
    let is_new = |what: &&String| !roots.course.done.contains(what);
    if let Some(what) = policy.emergency.as_ref().filter(is_new) {
        let Some(mut next) = replaced(roots, next, now)? else { return Ok(None) };
        next.course.did(what.clone());
        return Ok(Some((next, format!("the authority is replaced at once ({what})"))));
    }
    if roots.signing.facts.not_after <= now {
        let Some(next) = replaced(roots, next, now)? else { return Ok(None) };
        return Ok(Some((next, "the authority has ended; another takes its place".to_owned())));
    }
    if let Some(what) = policy.rollback.as_ref().filter(is_new) {
        let (mut next, said) = rolled_back(observed, status, roots, now);
        next.course.did(what.clone());
        return Ok(Some((next, format!("{said} ({what})"))));
    }
    if let (RotationPhase::Publishing, Some(other)) = (roots.course.phase, &roots.other)
        && status
            .and_then(|status| status.ca.as_ref())
            .is_some_and(|ca| ca.fingerprint == other.facts.fingerprint)
        && other.facts.fingerprint != roots.signing.facts.fingerprint
    {
        // A backup from before the last steps: the old one may be believed by nobody any more.
        let next = handed_over(observed, status, roots, now);
        return Ok(Some((
            next,
            "the authority's Secret is behind what it signed; what signed last signs on".to_owned(),
        )));
    }
    if roots.course.phase == RotationPhase::Publishing {
        return Ok(reconsidered(accepted, roots, candidate, now));
    }
    if roots.course.phase != RotationPhase::Stable {
        return Ok(unused::noted(accepted, observed, roots, now));
    }
    let wish = policy.rotate.as_ref().filter(is_new);
    let why = match wish {
        _ if candidate.is_some() => accepted.authority.holds_another().to_owned(),
        Some(what) => what.clone(),
        None if roots.signing.above.is_some() && may_begin(roots, now) => {
            "spec.pki.ca names nobody else any more".to_owned()
        }
        None if is_of_another_kind(roots, policy) && may_begin(roots, now) => {
            format!("its key is to be of kind {}", policy.key.as_str())
        }
        None if age_due(roots, policy) <= now => "it has two thirds of its life behind it".to_owned(),
        None => return Ok(None),
    };
    let newest = roots.course.newest + 1;
    let Some(other) = next(newest)? else { return Ok(None) };
    let mut next = roots.clone();
    next.other = Some(Arc::new(other));
    next.course.newest = newest;
    enter(&mut next, RotationPhase::Publishing, now);
    if let Some(what) = wish {
        next.course.did(what.clone());
    }
    Ok(Some((next, format!("generation {newest} of the authority is published: {why}"))))
}

/// Another one that is to come, where nothing is signed by the one that is published yet.
fn reconsidered(
    accepted: &Accepted,
    roots: &Roots,
    candidate: Option<&Candidate>,
    now: OffsetDateTime,
) -> Option<Step> {
    let other = roots.other.as_ref()?;
    let mut next = roots.clone();
    match candidate {
        // What was brought along is wanted no more.
        None if other.above.is_some() => {}
        Some(Ok(brought)) if brought.is_same(&roots.signing) => {}
        Some(Ok(brought)) if !brought.is_same(other) => {
            let newest = roots.course.newest + 1;
            next.drop_other();
            next.other = Some(Arc::new(Authority::clone(brought).numbered(newest)));
            next.course.newest = newest;
            enter(&mut next, RotationPhase::Publishing, now);
            return Some((
                next,
                format!(
                    "generation {newest} of the authority is published in place of the one before: {}",
                    accepted.authority.holds_another()
                ),
            ));
        }
        _ => return None,
    }
    next.drop_other();
    enter(&mut next, RotationPhase::Stable, now);
    Some((next, "the next generation of the authority is taken back: its Secret holds it no more".to_owned()))
}

/// What is to sign after the one that signs; None where somebody else is to say, and does not.
fn successor(
    accepted: &Accepted,
    roots: &Roots,
    candidate: Option<&Candidate>,
    number: u32,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Option<Authority>, Error> {
    let Some(found) = candidate else { return Ok(Some(generation(accepted, number, now, mint)?)) };
    let brought = found.as_ref().ok().filter(|brought| !brought.is_same(&roots.signing));
    // After a rollback, what was rolled back does not come again by itself.
    let was_dropped = |it: &Authority| roots.course.former.contains(&it.facts.fingerprint);
    let brought = brought.filter(|it| may_begin(roots, now) || !was_dropped(it));
    Ok(brought.map(|brought| Authority::clone(brought).numbered(number)))
}

/// The next phase, where everything that this one wants is proved: `waits_for` says what is not.
pub fn proved(
    accepted: &Accepted,
    observed: &Observed,
    status: Option<&GatewayStatus>,
    roots: &Roots,
    waits_for: Option<&str>,
    now: OffsetDateTime,
) -> Option<Step> {
    if roots.course.phase == RotationPhase::Stable || waits_for.is_some() {
        return None;
    }
    let mut next = roots.clone();
    let generation = |roots: &Roots| roots.signing.generation;
    match roots.course.phase {
        RotationPhase::Stable => None,
        RotationPhase::Publishing if roots.course.published.is_none() => {
            next.course.published = Some(whole(now));
            let said = "the next generation of the authority is known to every replica and bundle";
            if ends(&next, &accepted.rotation).is_some_and(|end| end <= now) {
                return proved(accepted, observed, status, &next, None, now);
            }
            Some((next, said.to_owned()))
        }
        RotationPhase::Publishing => {
            ends(roots, &accepted.rotation).filter(|end| *end <= now)?;
            next = handed_over(observed, status, roots, now);
            let said = format!("generation {} of the authority signs everything anew", generation(&next));
            Some((next, said))
        }
        RotationPhase::Issuing if roots.other.is_some() => {
            enter(&mut next, RotationPhase::Retiring, now);
            next.course.until = roots.course.until;
            next.course.holders.clone_from(&roots.course.holders);
            Some((next, "everything is signed anew; the other generation is trusted on".to_owned()))
        }
        RotationPhase::Issuing | RotationPhase::Retiring => {
            ends(roots, &accepted.rotation).is_none_or(|end| end <= now).then_some(())?;
            next.retire_other(now);
            enter(&mut next, RotationPhase::Stable, now);
            let said = format!("generation {} of the authority is the only one", generation(&next));
            Some((next, said))
        }
    }
}

/// What a phase waits for beside time, in words: Secrets that are to be written, connectors' bundles, replicas.
pub fn waits_for(
    accepted: &Accepted,
    observed: &Observed,
    certificates: &Certificates,
    published: Option<&Published>,
) -> Option<String> {
    let roots = certificates.roots.as_ref().filter(|it| it.course.phase != RotationPhase::Stable)?;
    let unwritten = certificates.unsettled().map(|secret| format!("Secret {secret} is to be written"));
    unwritten.or_else(|| stands_in_the_way(accepted, observed, roots, published))
}

/// What is not as it should be of that which others bring about.
pub fn stands_in_the_way(
    accepted: &Accepted,
    observed: &Observed,
    roots: &Roots,
    published: Option<&Published>,
) -> Option<String> {
    let trust = roots.trust();
    let mut connectors = observed.connectors.iter();
    let behind = connectors.find(|(_, bundle)| match &bundle.content {
        Content::Bundle(bundle) => {
            let signed_by = bundle.leaf.as_ref().ok().map(|leaf| leaf.issuer_key_id.as_str());
            bundle.ca != trust
                || bundle.chain != roots.signing.chain()
                || signed_by != Some(roots.signing.facts.key_id.as_str())
        }
        _ => false,
    });
    let behind = behind.map(|(tunnel, _): (&Key, _)| format!("the bundle of Tunnel {tunnel}'s connector"));
    behind.or_else(|| Replicas::count(observed, published).behind(accepted.replicas))
}

/// When a phase ends by time alone, once nothing stands in its way: None where that has not begun to count, or nothing
/// but proof is needed.
pub fn ends(roots: &Roots, policy: &Rotation) -> Option<OffsetDateTime> {
    let course = &roots.course;
    match course.phase {
        RotationPhase::Stable | RotationPhase::Issuing => None,
        RotationPhase::Publishing => {
            let end = course.published? + policy.publish_for;
            // Whoever signs until then must not end meanwhile: half of what is left of it is spent at most.
            let since = course.since?;
            Some(end.min(since + (roots.signing.facts.not_after - since) / 2))
        }
        RotationPhase::Retiring => {
            let bound = policy.retire_after.and_then(|bound| Some(course.since? + bound));
            [course.until, bound, unused::end(roots, policy)].into_iter().flatten().min()
        }
    }
}

/// When something is to be looked at again because of time.
pub fn due(accepted: &Accepted, roots: &Roots, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let policy = &accepted.rotation;
    if roots.course.phase != RotationPhase::Stable {
        return ends(roots, policy);
    }
    let (aged, found) = match &accepted.authority {
        Source::Own => return Some(age_due(roots, policy)),
        Source::Brought(brought) => (brought::ending(roots), Some(&brought.found)),
        Source::Asked(asking) => (request::age_due(accepted, roots), asking.found.as_ref()),
    };
    // Another one that is there may begin later.
    let begins = found.into_iter().flatten().map(|found| found.facts.not_before);
    let known = [aged, roots.signing.facts.not_after].into_iter().chain(begins).chain(roots.course.rests);
    known.filter(|at| *at > now).min()
}

pub(super) fn is_of_another_kind(roots: &Roots, policy: &Rotation) -> bool {
    roots.signing.facts.key != Some(policy.key)
}

/// Whether it does not rest after a rollback.
pub(super) fn may_begin(roots: &Roots, now: OffsetDateTime) -> bool {
    roots.course.rests.is_none_or(|rests| rests <= now)
}

/// When two thirds of its life are over, or of the life that it may have; not while it rests after a rollback.
pub(super) fn age_due(roots: &Roots, policy: &Rotation) -> OffsetDateTime {
    let facts = &roots.signing.facts;
    let life = (facts.not_after - facts.not_before).min(policy.lifetime);
    let due = facts.not_before + life * 2 / 3;
    roots.course.rests.map_or(due, |rests| due.max(rests))
}

/// One generation signs and is trusted, from now on: the next one where it is known already. None: there is no other.
fn replaced(
    roots: &Roots,
    successor: impl Fn(u32) -> Result<Option<Authority>, Error>,
    now: OffsetDateTime,
) -> Result<Option<Roots>, Error> {
    let mut next = roots.clone();
    match roots.course.phase {
        RotationPhase::Stable => {
            let newest = roots.course.newest + 1;
            let Some(other) = successor(newest)? else { return Ok(None) };
            next.other = Some(Arc::new(other));
            next.course.newest = newest;
            next.swap();
        }
        RotationPhase::Publishing => next.swap(),
        // What signs has not been what is to go for long.
        RotationPhase::Issuing | RotationPhase::Retiring => {}
    }
    next.drop_other();
    next.course.retired.clear();
    enter(&mut next, RotationPhase::Issuing, now);
    Ok(Some(next))
}

fn rolled_back(
    observed: &Observed,
    status: Option<&GatewayStatus>,
    roots: &Roots,
    now: OffsetDateTime,
) -> (Roots, String) {
    let mut next = roots.clone();
    if roots.other.is_none() {
        return (next, "there is no rotation to roll back".to_owned());
    }
    let said = if roots.course.phase == RotationPhase::Publishing {
        next.drop_other();
        enter(&mut next, RotationPhase::Stable, now);
        "the next generation of the authority is taken back before it has signed anything".to_owned()
    } else {
        next = handed_over(observed, status, roots, now);
        format!("generation {} of the authority signs again", next.signing.generation)
    };
    // Age would begin the next rotation at once.
    let left = next.signing.facts.not_after - now;
    next.course.rests = Some(whole(now + left / 4));
    (next, said)
}

fn enter(roots: &mut Roots, phase: RotationPhase, now: OffsetDateTime) {
    roots.course.phase = phase;
    roots.course.signing = roots.signing.generation;
    roots.course.since = Some(whole(now));
    (roots.course.published, roots.course.until, roots.course.holders) = (None, None, None);
}

/// What signs now is to sign no more: the other one does, and whoever holds certificates of this one is watched for.
fn handed_over(
    observed: &Observed,
    status: Option<&GatewayStatus>,
    roots: &Roots,
    now: OffsetDateTime,
) -> Roots {
    let mut next = roots.clone();
    next.swap();
    enter(&mut next, RotationPhase::Issuing, now);
    let holders = unused::holders(observed, status, now);
    let last = holders.values().max().copied().unwrap_or(now);
    next.course.until = Some(whole(last).min(roots.signing.facts.not_after));
    next.course.holders = Some(unused::begin(holders, now));
    next
}

fn generation(
    accepted: &Accepted,
    number: u32,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Authority, Error> {
    let profile = AuthorityProfile {
        common_name: format!("portcullis {}", accepted.key),
        lifetime: accepted.rotation.lifetime,
        name_constraints: NameConstraints::default(),
        key: accepted.rotation.key,
    };
    Ok(issue_authority(&profile, number, now, mint)?)
}

/// As the Secret keeps it.
fn whole(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
}

/// Whether this clock is behind the one that something was issued by: what that was. Certificates begin five minutes before
/// they are issued, so that clocks may differ by as much.
pub fn ahead(
    roots: &AuthorityFacts,
    observed: &Observed,
    now: OffsetDateTime,
) -> Option<(String, OffsetDateTime)> {
    let of_authority = std::iter::once(("the authority".to_owned(), roots.not_before));
    let leaves = observed.children.values().filter_map(|child| {
        let leaf = match &child.content {
            Content::Server(served) => served.server.as_ref(),
            Content::Bundle(bundle) => bundle.leaf.as_ref(),
            _ => return None,
        };
        Some((format!("Secret {}", child.name), leaf.ok()?.not_before))
    });
    let last = of_authority.chain(leaves).max_by_key(|(_, begins)| *begins)?;
    (now < last.1).then_some(last)
}

#[cfg(test)]
mod tests;

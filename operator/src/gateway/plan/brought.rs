//! An authority that somebody else has issued: whether what its Secret holds now may sign for this Gateway, and what is to
//! be warned of. When it takes the place of the one before is `rotation.rs`. Pure.

use portcullis_api::RotationPhase;
use portcullis_api::condition::Reason;
use portcullis_pki::Authority;
use time::OffsetDateTime;

use super::certificates::{Trouble, profiles};
use super::rotation::Candidate;
use crate::gateway::validate::authority::refused;
use crate::gateway::validate::{Accepted, Brought, Rejected, Source};
use crate::moment;
use crate::settings::Settings;
use crate::world::Roots;

/// What the Secret holds, if it may sign now; otherwise why not, in words that say what to write. None: the authority is
/// ours.
pub fn candidate(accepted: &Accepted, settings: &Settings, now: OffsetDateTime) -> Option<Candidate> {
    let Source::Brought(brought) = &accepted.authority else { return None };
    Some(brought.found.clone().and_then(|authority| {
        check(brought, &authority, accepted, settings, now)?;
        Ok(authority)
    }))
}

fn check(
    brought: &Brought,
    authority: &Authority,
    accepted: &Accepted,
    settings: &Settings,
    now: OffsetDateTime,
) -> Result<(), Rejected> {
    let (secret, facts) = (&brought.secret, &authority.facts);
    let refused =
        |why: String| refused(format!("The authority in Secret {secret} ({}) {why}", facts.subject));
    if facts.not_after <= now {
        let ended = moment::text(facts.not_after);
        return refused(format!(
            "has ended, or what is above it, at {ended}: write one that holds into the Secret"
        ));
    }
    if facts.not_before > now {
        let begins = moment::text(facts.not_before);
        return refused(format!("does not hold before {begins}: it is taken then"));
    }
    let server = profiles::server(accepted, settings);
    match facts.name_constraints.check(&server) {
        Err(error) => refused(format!(
            "may not certify this Gateway's names: {error}. Its name constraints must leave room for the names of the Service and for localhost, 127.0.0.1 and ::1"
        )),
        Ok(()) => Ok(()),
    }
}

/// What its Secret holds is not what signs, or what signs ends before long.
pub fn warnings(
    accepted: &Accepted,
    settings: &Settings,
    roots: &Roots,
    now: OffsetDateTime,
) -> Vec<(Reason, String)> {
    let (Source::Brought(brought), Some(found)) = (&accepted.authority, candidate(accepted, settings, now))
    else {
        return Vec::new();
    };
    let (secret, facts) = (&brought.secret, &roots.signing.facts);
    let refused = found.as_ref().err().map(|why| {
        let message = format!("{}. The authority before it ({}) signs on", why.message, facts.subject);
        (why.reason, message)
    });
    let is_last = roots.signing.above.is_some() && roots.course.phase == RotationPhase::Stable;
    let ends = (is_last && ending(roots) <= now).then(|| {
        let message = format!(
            "The authority that Secret {secret} brought along ({}) ends at {}: write its successor into the Secret, in time for what spec.pki.ca.publishFor says",
            facts.subject,
            moment::text(facts.not_after),
        );
        (Reason::AuthorityEnds, message)
    });
    refused.into_iter().chain(ends).collect()
}

/// When two thirds of its life are over.
pub fn ending(roots: &Roots) -> OffsetDateTime {
    let facts = &roots.signing.facts;
    facts.not_before + (facts.not_after - facts.not_before) * 2 / 3
}

/// Why nothing is issued: the one that signed has ended, and there is no other.
pub fn ended(
    accepted: &Accepted,
    settings: &Settings,
    roots: &Roots,
    now: OffsetDateTime,
) -> Option<Trouble> {
    let Source::Brought(brought) = &accepted.authority else { return None };
    let facts = &roots.signing.facts;
    if facts.not_after > now {
        return None;
    }
    let found = candidate(accepted, settings, now).and_then(Result::err);
    let found = found.map_or_else(|| format!("Secret {} holds no other", brought.secret), |it| it.message);
    let message = format!(
        "The authority ({}) ended at {}: nothing is issued until its Secret holds another one. {found}",
        facts.subject,
        moment::text(facts.not_after),
    );
    Some(Trouble { reason: Reason::AuthorityRefused, message })
}

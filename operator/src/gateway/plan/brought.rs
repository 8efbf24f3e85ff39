//! An authority that somebody else has issued: whether what its Secret holds now may sign for this Gateway, and what is to
//! be warned of. When it takes the place of the one before is `rotation.rs`. Pure.

use portcullis_api::RotationPhase;
use portcullis_api::condition::Reason;
use portcullis_pki::Authority;
use time::OffsetDateTime;

use super::certificates::{Trouble, profiles};
use super::request::{self, Request};
use super::rotation::Candidate;
use crate::gateway::validate::authority::refused;
use crate::gateway::validate::{Accepted, Rejected, Source};
use crate::moment;
use crate::settings::Settings;
use crate::world::Roots;

/// What the Secret holds or the issuer has issued, if it may sign now; otherwise why not, in words that say what to write.
/// None: the authority is ours.
pub fn candidate(accepted: &Accepted, settings: &Settings, now: OffsetDateTime) -> Option<Candidate> {
    let (found, whose, remedy) = match &accepted.authority {
        Source::Own => return None,
        Source::Brought(brought) => (
            brought.found.clone(),
            format!("in Secret {}", brought.secret),
            "write one that holds into the Secret",
        ),
        Source::Asked(asking) => (
            request::candidate(asking, accepted),
            format!("that {} has issued", asking.issuer),
            "look after the issuer's own certificate",
        ),
    };
    Some(found.and_then(|authority| {
        check(&authority, &whose, remedy, accepted, settings, now)?;
        Ok(authority)
    }))
}

fn check(
    authority: &Authority,
    whose: &str,
    remedy: &str,
    accepted: &Accepted,
    settings: &Settings,
    now: OffsetDateTime,
) -> Result<(), Rejected> {
    let facts = &authority.facts;
    let words = |why: String| format!("The authority {whose} ({}) {why}", facts.subject);
    if facts.not_after <= now {
        let ended = moment::text(facts.not_after);
        return refused(words(format!("has ended, or what is above it, at {ended}: {remedy}")));
    }
    if facts.not_before > now {
        let begins = moment::text(facts.not_before);
        let reason = match accepted.authority {
            Source::Asked(_) => Reason::RequestPending,
            Source::Own | Source::Brought(_) => Reason::AuthorityRefused,
        };
        let message = words(format!("does not hold before {begins}: it is taken then"));
        return Err(Rejected { reason, message });
    }
    let server = profiles::server(accepted, settings);
    match facts.name_constraints.check(&server) {
        Err(error) => refused(words(format!(
            "may not certify this Gateway's names: {error}. Its name constraints must leave room for the names of the Service and for localhost, 127.0.0.1 and ::1"
        ))),
        Ok(()) => Ok(()),
    }
}

/// What its Secret holds is not what signs, or what signs ends before long, or an issuer does not answer.
pub fn warnings(
    accepted: &Accepted,
    candidate: Option<&Candidate>,
    roots: &Roots,
    request: &Request,
    now: OffsetDateTime,
) -> Vec<(Reason, String)> {
    let (secret, found) = match (&accepted.authority, candidate) {
        (Source::Brought(brought), Some(found)) => (&brought.secret, found),
        (Source::Asked(_), Some(found)) => {
            return request::warning(found, roots, request, now).into_iter().collect();
        }
        _ => return Vec::new(),
    };
    let facts = &roots.signing.facts;
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
    candidate: Option<&Candidate>,
    roots: &Roots,
    now: OffsetDateTime,
) -> Option<Trouble> {
    let facts = &roots.signing.facts;
    let (until, nothing) = match &accepted.authority {
        _ if facts.not_after > now => return None,
        Source::Own => return None,
        Source::Brought(brought) => {
            ("its Secret holds another one".to_owned(), format!("Secret {} holds no other", brought.secret))
        }
        Source::Asked(asking) => (format!("{} has issued another one", asking.issuer), String::new()),
    };
    let found = candidate.and_then(|it| it.as_ref().err()).map_or(nothing, |it| it.message.clone());
    let message = format!(
        "The authority ({}) ended at {}: nothing is issued until {until}. {found}",
        facts.subject,
        moment::text(facts.not_after),
    );
    Some(Trouble { reason: Reason::AuthorityRefused, message })
}

//! Asking an issuer of cert-manager for an authority: when that is due, what is kept of it until it is answered, and when it
//! is asked again. What was issued then is a candidate like any other that somebody else has issued (`brought.rs`), and
//! takes over as `rotation.rs` has it. Pure. See docs/adr/0018-asked-authorities.md.
//!
//! The key is written before anybody is asked, and the request can be made again from what is kept with it: after a crash
//! at any write, the next visit goes on. A request that failed stays until another takes its place.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::ByteString;
use portcullis_api::condition::Reason;
use portcullis_api::{IssuerRef, RotationPhase};
use portcullis_pki::{Mint, request_authority};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::rotation::{self, Candidate};
use super::{Error, Signer};
use crate::children::secret::Stored;
use crate::children::{Maker, Wanted};
use crate::gateway::validate::{Accepted, Asking, Rejected, Source};
use crate::names;
use crate::world::{Asked, IssuedBy, Kind, Pending, Roots};

/// How long a first request that failed stays before another is made; each further one twice as long.
const BACK_OFF: Duration = Duration::seconds(30);
/// The longest that one that failed stays.
const LONGEST_BACK_OFF: Duration = Duration::hours(1);
/// How long an issuer may take before it is worth a warning.
const GRACE: Duration = Duration::minutes(1);
/// An authority is not replaced for its age before this: one whose issuer ends soon would be, over and over.
const SHORTEST: Duration = Duration::minutes(40);

/// What there is to replace.
#[derive(Clone, Debug)]
pub enum Ground {
    /// There is no authority yet.
    First,
    /// This one.
    After(Arc<Roots>),
    /// What there was is gone or spoilt: nothing is asked, and nothing let go.
    Unclear,
}

impl Ground {
    /// Of the authority that signs, if there is one.
    pub fn of(signer: &Signer) -> Self {
        match signer {
            Signer::Kept(roots) | Signer::New(roots, _) => Self::After(roots.clone()),
            Signer::Awaited(_) => Self::First,
            Signer::Lost(_) => Self::Unclear,
        }
    }
}

/// What is asked.
#[derive(Debug, Default)]
pub struct Request {
    /// With the Secret that it is kept in.
    open: Option<(Arc<Pending>, Stored<Arc<Pending>>)>,
    /// Requests that were answered, and whose authorities are here.
    answered: BTreeSet<String>,
    /// Nothing is let go.
    keeps_all: bool,
    /// Whether another authority is wanted.
    is_due: bool,
    /// Whether it can be asked at the moment.
    possible: bool,
    /// When it is to be looked at again.
    pub due: Option<OffsetDateTime>,
    /// Why it is made, in words for the log.
    pub note: Option<String>,
}

/// What was issued, if it answers what would be asked now; otherwise why there is nothing.
pub fn candidate(asking: &Asking, accepted: &Accepted) -> Candidate {
    asking.possible.clone()?;
    let pending = asking.pending.as_ref().filter(|it| is_current(it, accepted, &asking.issuer));
    let found = asking.found.as_ref().filter(|_| pending.is_some());
    found.cloned().unwrap_or_else(|| {
        Err(Rejected {
            reason: Reason::RequestPending,
            message: format!("{} is asked for an authority", asking.issuer),
        })
    })
}

fn is_current(pending: &Pending, accepted: &Accepted, issuer: &IssuerRef) -> bool {
    pending.asked.is_of(issuer, accepted.rotation.key)
}

/// The authority with who has issued it, where that was just taken.
pub fn credited(mut roots: Roots, accepted: &Accepted) -> Roots {
    let Source::Asked(Asking { pending: Some(pending), found: Some(Ok(found)), .. }) = &accepted.authority
    else {
        return roots;
    };
    let here = [Some(&roots.signing), roots.other.as_ref()].into_iter().flatten();
    let taken = here.filter(|it| it.facts.fingerprint == found.facts.fingerprint).map(|it| it.generation);
    for generation in taken.collect::<Vec<_>>() {
        let Asked { name, issuer, .. } = &pending.asked;
        let by = IssuedBy { issuer: issuer.clone(), request: name.clone() };
        roots.course.issued.insert(generation, by);
    }
    roots
}

/// Decides what is asked, with what came of it so far.
///
/// # Errors
/// Where there is no key for it.
pub fn plan(
    accepted: &Accepted,
    candidate: Option<&Candidate>,
    ground: &Ground,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Request, Error> {
    let answered = match ground {
        Ground::After(roots) => roots.course.issued.values().map(|by| by.request.clone()).collect(),
        Ground::First | Ground::Unclear => BTreeSet::new(),
    };
    let keeps_all = matches!(ground, Ground::Unclear);
    let mut plan = Request { answered, keeps_all, ..Request::default() };
    let Source::Asked(asking) = &accepted.authority else { return Ok(plan) };
    let keep = |plan: &mut Request, pending: &Arc<Pending>| {
        plan.open = Some((pending.clone(), Stored::Kept));
    };
    plan.possible = asking.possible.is_ok();
    let generation = match ground {
        Ground::Unclear => {
            asking.pending.iter().for_each(|pending| keep(&mut plan, pending));
            plan.possible = false;
            return Ok(plan);
        }
        Ground::First => 1,
        Ground::After(roots) => roots.course.newest + 1,
    };
    let Some(why) = why(accepted, asking, ground, now) else { return Ok(plan) };
    plan.is_due = true;
    let pending = asking.pending.as_ref().filter(|it| is_current(it, accepted, &asking.issuer));
    let wish = wish(accepted, ground);
    let mut attempt = 1;
    if let Some(pending) = pending {
        let failed = candidate.and_then(|it| it.as_ref().err()).is_some_and(|why| has_failed(why.reason));
        let again = pending.asked.since + back_off(pending.asked.attempt);
        let is_wished = wish.is_some() && wish != pending.asked.wish.as_ref();
        if !failed || (now < again && !is_wished) {
            let grace = pending.asked.since + GRACE;
            // The issuer's clock may be ahead of ours.
            let begins = asking.found.iter().flatten().map(|found| found.facts.not_before);
            plan.due = begins.chain([if failed { again } else { grace }]).filter(|at| *at > now).min();
            keep(&mut plan, pending);
            return Ok(plan);
        }
        attempt = if is_wished { 1 } else { pending.asked.attempt + 1 };
    }
    // Without anybody to ask, there is nothing to keep a key for.
    if !plan.possible {
        return Ok(plan);
    }
    let common_name = format!("portcullis {}", accepted.key);
    let made = request_authority(&common_name, accepted.rotation.key, generation, mint)?;
    let name = names::request(&accepted.key.name, generation, &made.key_digest);
    plan.note =
        Some(format!("{} is asked for an authority by CertificateRequest {name}: {why}", asking.issuer));
    let asked = Asked {
        name,
        issuer: asking.issuer.clone(),
        key: accepted.rotation.key.as_str().to_owned(),
        seconds: accepted.rotation.lifetime.whole_seconds(),
        since: now.replace_nanosecond(0).unwrap_or(now),
        attempt,
        wish: wish.cloned(),
    };
    let pending = Arc::new(Pending { asked, request_pem: made.request_pem, key: made.key });
    plan.due = Some(now + GRACE);
    plan.open = Some((pending.clone(), Stored::New(pending)));
    Ok(plan)
}

/// Whether that is the end of a request: what waits may still be answered.
fn has_failed(reason: Reason) -> bool {
    matches!(reason, Reason::RequestDenied | Reason::RequestFailed | Reason::AuthorityRefused)
}

fn back_off(attempt: u32) -> Duration {
    (BACK_OFF * 2_i32.pow(attempt.saturating_sub(1).min(10))).min(LONGEST_BACK_OFF)
}

/// The newest thing that annotations ask for, where it is not done.
fn wish<'a>(accepted: &'a Accepted, ground: &Ground) -> Option<&'a String> {
    let Ground::After(roots) = ground else { return None };
    let policy = &accepted.rotation;
    let asked = [policy.emergency.as_ref(), policy.rotate.as_ref()];
    asked.into_iter().flatten().find(|what| !roots.course.done.contains(what))
}

/// Why another authority is wanted, in words for the log; None where none is.
fn why(accepted: &Accepted, asking: &Asking, ground: &Ground, now: OffsetDateTime) -> Option<String> {
    let Ground::After(roots) = ground else { return Some("there is none yet".to_owned()) };
    let policy = &accepted.rotation;
    // One step at a time.
    if roots.course.phase != RotationPhase::Stable {
        return None;
    }
    if roots.signing.facts.not_after <= now {
        return Some("the one before has ended".to_owned());
    }
    if let Some(what) = wish(accepted, ground) {
        return Some(what.clone());
    }
    if !rotation::may_begin(roots, now) {
        return None;
    }
    if roots.issued_by().is_none_or(|by| by.issuer != asking.issuer) {
        return Some("the one before is not of this issuer".to_owned());
    }
    if rotation::is_of_another_kind(roots, policy) {
        return Some(format!("its key is to be of kind {}", policy.key.as_str()));
    }
    (age_due(accepted, roots) <= now)
        .then(|| "the one before has two thirds of its life behind it".to_owned())
}

/// When its age is reason enough to ask for another one.
pub fn age_due(accepted: &Accepted, roots: &Roots) -> OffsetDateTime {
    rotation::age_due(roots, &accepted.rotation).max(roots.signing.facts.not_before + SHORTEST)
}

/// What is to be warned of: why there is no other authority, where one is wanted.
pub fn warning(
    candidate: &Candidate,
    roots: &Roots,
    request: &Request,
    now: OffsetDateTime,
) -> Option<(Reason, String)> {
    let why = candidate.as_ref().err()?;
    let is_new = request.open.as_ref().is_some_and(|(open, _)| now < open.asked.since + GRACE);
    let is_quiet = !request.is_due || (why.reason == Reason::RequestPending && is_new);
    let subject = &roots.signing.facts.subject;
    (!is_quiet)
        .then(|| (why.reason, format!("{}. The authority before it ({subject}) signs on", why.message)))
}

impl Request {
    /// The Secret that it is kept in, and the object that asks.
    pub fn wanted(&self, maker: &Maker<'_>) -> Result<(Option<Wanted>, Option<Wanted>), Error> {
        let Some((pending, stored)) = &self.open else { return Ok((None, None)) };
        let data = match stored {
            Stored::New(pending) => pending.data()?,
            Stored::Kept | Stored::Amended(_) => Vec::new(),
        };
        let name = names::request_secret(maker.name());
        let secret = stored.wanted(maker, name, "portcullis.dev/request", |_| {
            data.iter().map(|(key, text)| (key.clone(), text.as_str())).collect()
        })?;
        let object = self.possible.then(|| object(maker, pending)).transpose()?;
        Ok((Some(secret), object.map(|object| Wanted::Object(Kind::CertificateRequest, object))))
    }

    /// Whether a CertificateRequest stays that nobody asks for any more.
    pub fn keeps(&self, name: &str) -> bool {
        let is_open = self.open.as_ref().is_some_and(|(open, _)| open.asked.name == name);
        self.keeps_all || is_open || self.answered.contains(name)
    }
}

fn object(maker: &Maker<'_>, pending: &Pending) -> Result<Value, Error> {
    let Asked { name, issuer, seconds, .. } = &pending.asked;
    let duration = if seconds % 3600 == 0 { format!("{}h", seconds / 3600) } else { format!("{seconds}s") };
    Ok(json!({
        "metadata": maker.finish(&maker.metadata(name.clone()))?,
        "spec": {
            "request": maker.finish(&ByteString(pending.request_pem.clone().into_bytes()))?,
            "isCA": true,
            "usages": ["cert sign", "crl sign"],
            "duration": duration,
            "issuerRef": maker.finish(issuer)?,
        },
    }))
}

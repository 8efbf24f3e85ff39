//! Who still goes by the authority that is to go: each client that held a certificate of it and was not seen with one of the
//! other yet, and when somebody came with one of the old last. Noted in the authority's Secret, where neither an operator
//! that goes nor a replica that goes takes it along. Pure.

use std::collections::BTreeMap;

use portcullis_api::{ClientStatus, GatewayStatus, RotationPhase};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::whole;
use crate::control::seen::Sights;
use crate::gateway::observe::Observed;
use crate::gateway::plan::revocations::client_of;
use crate::gateway::validate::{Accepted, Rotation};
use crate::tunnel::plan::certificate::LIFETIME as CONNECTOR_LIFETIME;
use crate::world::{Content, Holders, Key, Roots};

/// Whoever comes with an old certificate is written down once in such a part of the time that nobody is to come: each time
/// counts for as much longer.
const GRAIN: i32 = 8;

/// A connector, as replicas name it beside clients.
fn connector(tunnel: &Key) -> String {
    format!("tunnel/{}/{}", tunnel.namespace, tunnel.name)
}

/// Who holds certificates that the generation has signed which signs now, and when the last of each ends.
pub(super) fn holders(
    observed: &Observed,
    status: Option<&GatewayStatus>,
    now: OffsetDateTime,
) -> BTreeMap<String, OffsetDateTime> {
    let revoked = |serial: &str| {
        status.is_some_and(|status| status.revocations.iter().any(|revoked| revoked.serial == *serial))
    };
    let known = status.into_iter().flat_map(|status| &status.clients).flat_map(|client| {
        let valid = ClientStatus::certificates(client).filter(|it| !revoked(&it.serial));
        valid.filter_map(|it| {
            Some((client.name.clone(), OffsetDateTime::parse(&it.not_after, &Rfc3339).ok()?))
        })
    });
    let bundles = observed.children.values().filter_map(|child| match &child.content {
        Content::Bundle(bundle) => {
            let leaf = bundle.leaf.as_ref().ok()?;
            Some((client_of(&leaf.uris)?.to_owned(), leaf.not_after))
        }
        _ => None,
    });
    // A connector's may be issued at this very moment.
    let connectors = observed.connectors.iter().flat_map(|(tunnel, bundle)| {
        let ends = match &bundle.content {
            Content::Bundle(bundle) => bundle.leaf.as_ref().ok().map(|leaf| leaf.not_after),
            _ => None,
        };
        [Some(now + CONNECTOR_LIFETIME), ends].into_iter().flatten().map(|end| (connector(tunnel), end))
    });
    let mut holders = BTreeMap::new();
    for (who, ends) in known.chain(bundles).chain(connectors) {
        let last = holders.entry(who).or_insert(ends);
        *last = whole(ends).max(*last);
    }
    holders
}

/// Begins to watch for them: what signed until now is to go.
pub(super) fn begin(holders: BTreeMap<String, OffsetDateTime>, now: OffsetDateTime) -> Holders {
    Holders { since: whole(now), awaited: holders.into_iter().map(Into::into).collect(), used: None }
}

/// Whether replicas may have seen what is to be noted, where it counts.
pub fn is_news(roots: &Roots, sights: &Sights) -> bool {
    // Whether a replica's clock is ahead is looked at later.
    let end_of_time = time::PrimitiveDateTime::MAX.assume_utc();
    noted_sights(roots, Duration::ZERO, sights, end_of_time).is_some()
}

/// What is to be noted, and of whom, in words for the log. None: nothing new.
pub(super) fn noted(
    accepted: &Accepted,
    observed: &Observed,
    roots: &Roots,
    now: OffsetDateTime,
) -> Option<(Roots, String)> {
    let quiet = accepted.rotation.retire_unused_after?;
    let (mut next, mut said) =
        noted_sights(roots, quiet, &observed.seen, now).unwrap_or_else(|| (roots.clone(), Vec::new()));
    let holders = next.course.holders.as_mut()?;
    // Whoever is gone from the spec has been let in by nothing since.
    let stays = |who: &str| {
        let client = accepted.clients.iter().any(|caller| caller.client.name == *who);
        client || observed.connectors.keys().any(|tunnel| connector(tunnel) == *who)
    };
    holders.awaited.retain(|holder| {
        let stays = stays(&holder.name);
        if !stays {
            said.push(format!("{} is no client any more", holder.name));
        }
        stays
    });
    (!said.is_empty()).then(|| (next, format!("of the authority that is to go: {}", said.join("; "))))
}

fn noted_sights(
    roots: &Roots,
    quiet: Duration,
    sights: &Sights,
    now: OffsetDateTime,
) -> Option<(Roots, Vec<String>)> {
    let retires = match roots.course.phase {
        RotationPhase::Stable | RotationPhase::Publishing => return None,
        RotationPhase::Issuing => false,
        RotationPhase::Retiring => true,
    };
    let mut next = roots.clone();
    let signs = &roots.signing.facts.key_id;
    let holders = next.course.holders.as_mut()?;
    let mut said = Vec::new();
    holders.awaited.retain(|holder| {
        let sight = sights.get(&holder.name).and_then(|by_signer| by_signer.get(signs));
        let came = sight.is_some_and(|sight| sight.at >= holders.since.unix_timestamp());
        if came {
            said.push(format!("{} was seen with a certificate of the new one", holder.name));
        }
        !came
    });
    if retires {
        // What is signed by nobody knows whom, a replica of an earlier version tells of.
        let others = sights.iter().flat_map(|(who, by_signer)| {
            by_signer.iter().filter(|(signer, _)| *signer != signs).map(move |(_, sight)| (sight.at, who))
        });
        let last =
            others.max().and_then(|(at, who)| Some((OffsetDateTime::from_unix_timestamp(at).ok()?, who)));
        // A replica whose clock is ahead has seen nobody tomorrow.
        let last = last.map(|(at, who)| (at.min(whole(now)), who));
        let noted = holders.used.into_iter().chain(roots.course.since).max();
        if let Some((at, who)) = last.filter(|(at, _)| noted.is_none_or(|noted| *at > noted)) {
            holders.used = Some(whole(at + quiet / GRAIN));
            said.push(format!("{who} came with a certificate of it"));
        }
    }
    (!said.is_empty()).then_some((next, said))
}

/// When nobody goes by it any more, if nobody comes with it until then. None: nobody watches, or nobody knows.
pub(super) fn end(roots: &Roots, policy: &Rotation) -> Option<OffsetDateTime> {
    let (quiet, holders) = (policy.retire_unused_after?, roots.course.holders.as_ref()?);
    let used = holders.used.into_iter().chain(roots.course.since).max()?;
    // Whoever was not seen goes by it until the last of its certificates has ended.
    let awaited = holders.awaited.iter().map(|holder| holder.until);
    awaited.chain([used + quiet]).max()
}

/// Who was not seen with another yet, where that counts.
pub fn unseen<'a>(roots: &'a Roots, policy: &Rotation) -> impl Iterator<Item = &'a str> {
    let counts = policy.retire_unused_after.is_some();
    let holders = roots.course.holders.as_ref().filter(|_| counts);
    holders.into_iter().flat_map(|holders| &holders.awaited).map(|holder| holder.name.as_str())
}

//! What replicas depend on besides us: keys of issuers, and drivers.

use portcullis_api::condition::{ConditionType, Reason};

use super::Verdict;
use super::replicas::Replicas;
use crate::gateway::validate::Accepted;

const NONE_READY: &str = "No replica is ready yet";

/// Whether every ready replica has the keys of every issuer; None where no tokens are taken. `held`: it had them when
/// this operator took over, and the replicas have had no time yet to say that they still do.
pub(super) fn discovered(accepted: &Accepted, replicas: &Replicas<'_>, held: bool) -> Option<Verdict> {
    const KIND: ConditionType = ConditionType::OidcDiscovered;
    let names: Vec<_> = accepted.access.issuers().map(|(_, _, issuer)| issuer.issuer.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    if replicas.ready() == 0 {
        return Some(Verdict::unknown(KIND, NONE_READY));
    }
    let all = format!("Every ready replica has the keys of {}", names.join(" and "));
    let (mut waits, mut kept) = (None, None);
    for (pod, session) in replicas.each() {
        let said = session.and_then(|session| session.surroundings.as_ref());
        for (kind, field, issuer) in accepted.access.issuers() {
            let issuer = &issuer.issuer;
            match said.and_then(|said| said.issuers.get(kind)) {
                Some(keys) if keys.there && keys.trouble.is_empty() => {}
                Some(keys) if keys.there => {
                    let trouble = &keys.trouble;
                    kept.get_or_insert_with(|| {
                        format!("{all}, but replica {pod} could not ask {issuer} again, which {field} names: {trouble}. The last good keys go on; a token that needs a newer one is refused")
                    });
                }
                Some(keys) if !keys.trouble.is_empty() => {
                    let trouble = &keys.trouble;
                    let message = format!(
                        "Replica {pod} has no keys of {issuer}, which {field} names, and believes none of its tokens: {trouble}"
                    );
                    return Some(Verdict::no(KIND, Reason::KeysMissing, message));
                }
                Some(_) => {
                    waits.get_or_insert_with(|| format!("Replica {pod} is fetching the keys of {issuer}"));
                }
                None => {
                    waits.get_or_insert_with(|| {
                        format!("Replica {pod} has not said yet whether it has the keys of {issuer}")
                    });
                }
            }
        }
    }
    Some(match (waits, kept) {
        (Some(waits), _) if !held => Verdict::unknown(KIND, waits),
        (_, Some(kept)) => Verdict::yes(KIND, Reason::LastGoodKeys, kept),
        _ => Verdict::yes(KIND, Reason::Discovered, all),
    })
}

/// Whether a ready replica does without a driver; None where there are no drivers. `held`: none did when this operator
/// took over.
pub(super) fn degraded(accepted: &Accepted, replicas: &Replicas<'_>, held: bool) -> Option<Verdict> {
    const KIND: ConditionType = ConditionType::Degraded;
    if accepted.drivers.is_empty() {
        return None;
    }
    if replicas.ready() == 0 {
        return Some(Verdict::unknown(KIND, NONE_READY));
    }
    let mut waits = None;
    for (pod, session) in replicas.each() {
        let said = session.and_then(|session| session.surroundings.as_ref());
        for driver in &accepted.drivers {
            let kind = driver.kind.as_str();
            match said.and_then(|said| said.drivers.get(kind)) {
                Some(trouble) if trouble.is_empty() => {}
                Some(trouble) => {
                    let message = format!(
                        "Replica {pod} cannot reach the {kind} driver, and answers UNAVAILABLE to what needs it: {trouble}"
                    );
                    return Some(Verdict::yes(KIND, Reason::DriverUnavailable, message));
                }
                None => {
                    waits.get_or_insert_with(|| {
                        format!("Replica {pod} has not said yet whether it reaches the {kind} driver")
                    });
                }
            }
        }
    }
    Some(match waits {
        Some(waits) if !held => Verdict::unknown(KIND, waits),
        _ => Verdict::no(KIND, Reason::DriversConnected, "Every ready replica reaches its drivers"),
    })
}

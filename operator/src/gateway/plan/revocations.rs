//! Which certificates count no more: those whose serial the spec names, and those of clients that are gone from it. Each is
//! kept until it would have ended anyway. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{CertificateStatus, ClientStatus, GatewayStatus, RevocationStatus};
use time::OffsetDateTime;

use crate::gateway::observe::Observed;
use crate::gateway::validate::Accepted;
use crate::moment;
use crate::world::Content;

/// How much longer than its certificate a revocation is kept, in seconds: clocks of replicas may be behind.
const SKEW: i64 = 300;

/// Every revocation that is in force, by serial.
pub fn revocations(
    accepted: &Accepted,
    observed: &Observed,
    status: Option<&GatewayStatus>,
    now: OffsetDateTime,
) -> Vec<RevocationStatus> {
    let mut found: BTreeMap<String, RevocationStatus> = BTreeMap::new();
    let at = moment::timestamp(now).unwrap_or_default();
    let before = status.map(|status| status.revocations.as_slice()).unwrap_or_default();
    for kept in before.iter().filter(|it| is_still_valid(&it.not_after, at)) {
        found.insert(kept.serial.clone(), kept.clone());
    }
    let mut revoke = |client: &str, serial: &str, not_after: String| {
        found.entry(serial.to_owned()).or_insert_with(|| RevocationStatus {
            serial: serial.to_owned(),
            client: client.to_owned(),
            not_after,
            revoked_at: moment::text(now),
            enforced_at: None,
        });
    };
    for caller in &accepted.clients {
        let client = &caller.client.name;
        for serial in &caller.revoke {
            let known = issued(status, client).find(|it| it.serial == *serial);
            // One that nobody knows ends at the latest when one issued now would.
            let not_after = known.map(|it| it.not_after.clone());
            revoke(client, serial, not_after.unwrap_or_else(|| moment::text(now + caller.lifetime)));
        }
    }
    let is_gone = |client: &str| accepted.clients.iter().all(|caller| caller.client.name != client);
    let known = status.map(|status| status.clients.as_slice()).unwrap_or_default();
    for client in known.iter().map(|client| client.name.as_str()).filter(|client| is_gone(client)) {
        for certificate in issued(status, client).filter(|it| is_still_valid(&it.not_after, at)) {
            revoke(client, &certificate.serial, certificate.not_after.clone());
        }
    }
    // A status that was lost, or never written, does not keep one in that was issued.
    for bundle in observed.children.values().filter_map(|child| match &child.content {
        Content::Bundle(bundle) => bundle.leaf.as_ref().ok(),
        _ => None,
    }) {
        let not_after = moment::text(bundle.not_after);
        if let Some(client) = client_of(&bundle.uris).filter(|client| is_gone(client))
            && is_still_valid(&not_after, at)
        {
            revoke(client, &bundle.serial, not_after);
        }
    }
    found.into_values().collect()
}

/// The serials of revocations.
pub fn serials(revocations: &[RevocationStatus]) -> BTreeSet<String> {
    revocations.iter().map(|it| it.serial.clone()).collect()
}

/// Certificates of a client that a status knows of: the one in its bundle, those before it, and those that it renewed.
fn issued<'a>(
    status: Option<&'a GatewayStatus>,
    client: &str,
) -> impl Iterator<Item = &'a CertificateStatus> + use<'a> {
    let found = status.and_then(|status| status.clients.iter().find(|it| it.name == *client));
    found.into_iter().flat_map(ClientStatus::certificates)
}

/// Whether a certificate that ends then may still be believed somewhere. A time that cannot be read is one.
pub fn is_still_valid(not_after: &str, now: Timestamp) -> bool {
    not_after.parse::<Timestamp>().map_or(true, |ends| ends.as_second() + SKEW >= now.as_second())
}

/// The client that URIs name.
pub fn client_of(uris: &[String]) -> Option<&str> {
    uris.iter().find_map(|uri| uri.rsplit_once("/client/").map(|(_, client)| client))
}

#[cfg(test)]
mod tests;

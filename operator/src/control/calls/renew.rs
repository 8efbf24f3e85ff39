//! A client's own certificate, and whom it is to believe. A replica says which certificate a handshake has proved; whether
//! another is issued in its place is decided by the Gateway's next plan, and told once its status names it.

use portcullis_contract::control::Caller as Said;
use portcullis_contract::gateway::{GetTrustResponse, RenewCertificateRequest, RenewCertificateResponse};
use portcullis_contract::identity::{Holder, Identity};
use portcullis_pki::{read_certificate, read_request};
use tokio::time::Instant;
use tonic::Code;

use super::refused::{Refused, refused};
use super::rights::Rights;
use super::{Desk, PATIENCE};
use crate::control::renewals::Asked;
use crate::gateway::plan::renewals::{Refusal, Why};
use crate::queue::Urgency;
use crate::world::Key;

/// Characters of an address that is told.
const ADDRESS: usize = 64;

/// A certificate that a handshake has proved.
struct Shown {
    client: String,
    serial: String,
    fingerprint: String,
    key_digest: String,
}

/// Every root that the server's certificate may come from.
pub(super) fn trust(desk: &Desk, gateway: &Key) -> Result<GetTrustResponse, Refused> {
    match desk.ctx.world.stored_authority(gateway) {
        Some(roots) => Ok(GetTrustResponse { ca_certificates: roots.trust() }),
        None => refused(
            Code::Unavailable,
            "the Gateway has no authority at the moment: its condition CertificatesReady says why",
        ),
    }
}

/// Issues a certificate.
pub(super) async fn renew(
    rights: &Rights<'_>,
    said: &Said,
    request: &RenewCertificateRequest,
) -> Result<RenewCertificateResponse, Refused> {
    let (ctx, gateway) = (&rights.desk.ctx, rights.gateway);
    let shown = shown(gateway, &ctx.settings.trust_domain, &said.certificate)?;
    let resource = ctx.world.gateway(gateway);
    if !resource.is_some_and(|it| it.spec.clients.iter().any(|client| client.name == shown.client)) {
        return refused(Code::PermissionDenied, format!("{} is not among spec.clients", shown.client));
    }
    // Before anything costs more than a look: a signature that does not verify counts too.
    if let Err(wait) = ctx.renewals.spend(gateway, &shown.client, Instant::now()) {
        return refused(
            Code::ResourceExhausted,
            format!(
                "{} has renewed its certificate often in the last minutes: try again in {} s",
                shown.client,
                wait.as_secs() + 1
            ),
        );
    }
    let request = read_request(&request.certificate_request).map_err(|bad| Refused {
        code: Code::InvalidArgument,
        message: format!("certificate_request: {bad}"),
    })?;
    let Shown { client, serial, fingerprint, key_digest } = shown;
    let address = said.address.chars().take(ADDRESS).collect();
    let user = rights.caller.user.clone();
    let mut place = ctx.renewals.wait(gateway, |id| Asked {
        id,
        client,
        serial,
        fingerprint,
        key_digest,
        request,
        user,
        address,
    });
    ctx.queue.add(gateway.clone(), Urgency::Changed);
    match tokio::time::timeout(PATIENCE, &mut place.answer).await {
        Ok(Ok(Ok(issued))) => {
            let facts = issued.certificate.facts;
            Ok(RenewCertificateResponse {
                certificate_chain: issued.certificate.pem,
                ca_certificates: issued.ca,
                serial: facts.serial,
                fingerprint: facts.fingerprint,
                not_after_ms: facts.not_after.unix_timestamp() * 1000,
            })
        }
        Ok(Ok(Err(refusal))) => Err(refusal.into()),
        // Its Gateway is gone.
        Ok(Err(_)) => refused(Code::Unavailable, format!("there is no Gateway {gateway} any more")),
        Err(_) => refused(
            Code::DeadlineExceeded,
            "the operator has not come to it: try again in a minute; what you have stays valid",
        ),
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.why {
            Why::Invalid => Code::InvalidArgument,
            Why::Denied => Code::PermissionDenied,
            Why::NotNow => Code::FailedPrecondition,
            Why::TooMany => Code::ResourceExhausted,
        };
        Self { code, message: refusal.message }
    }
}

/// Whose certificate it is: a client's of this very Gateway, or nobody's.
fn shown(gateway: &Key, trust_domain: &str, der: &[u8]) -> Result<Shown, Refused> {
    let (facts, key_digest) = match read_certificate(der) {
        Ok(read) => read,
        Err(unusable) => {
            return refused(Code::PermissionDenied, format!("the certificate that was shown: {unusable}"));
        }
    };
    let identity = match facts.uris.as_slice() {
        [uri] => uri.parse::<Identity>().ok(),
        _ => None,
    };
    match identity {
        Some(Identity { trust_domain: domain, namespace, gateway: name, holder: Holder::Client(client) })
            if domain == trust_domain && namespace == gateway.namespace && name == gateway.name =>
        {
            Ok(Shown { client, serial: facts.serial, fingerprint: facts.fingerprint, key_digest })
        }
        _ => refused(Code::PermissionDenied, "the certificate that was shown is no client's of this gateway"),
    }
}

#[cfg(test)]
mod tests;

//! What a spec lets happen that its author may not have meant, and what has become of those who hold bundles.

use k8s_openapi::jiff::Timestamp;
use portcullis_api::RotationPhase;
use portcullis_api::condition::{ConditionType, Reason};
use portcullis_contract::snapshot::Mode;

use super::Verdict;
use crate::gateway::apply::Applied;
use crate::gateway::validate::{Accepted, Tunnels};
use crate::moment;
use crate::world::Roots;

/// The warnings, as one; None where there is nothing to warn of.
pub(super) fn warning(accepted: &Accepted, applied: &Applied, now: Timestamp) -> Option<Verdict> {
    let certificates = &applied.plan.certificates;
    let is_replaced = |roots: &&Roots| roots.course.phase == RotationPhase::Issuing && roots.other.is_none();
    let replaced = certificates.roots.as_deref().filter(is_replaced).map(|roots| {
        let message = format!(
            "The authority was replaced at once, by generation {}: every certificate from before is refused and what it had opened is cut, and whoever has the old ca.crt does not believe this Gateway. Hand every client its bundle anew: the Secrets {}-client-* have it",
            roots.signing.generation, accepted.key.name
        );
        (Reason::AuthorityReplaced, message)
    });
    let open =
        accepted.access.issuers().filter(|(_, _, it)| it.admin_role.is_none() && it.user_role.is_none());
    let open = open.map(|(_, field, issuer)| {
        let message = format!(
            "{field} has neither adminRole nor userRole: every token that {} signs for {} makes its bearer a user, and none makes an admin. Write rolesClaim and userRole to choose who comes in",
            issuer.issuer, issuer.audience
        );
        (Reason::AuthenticationOnly, message)
    });
    let nobody = (accepted.access.mode == Mode::Plaintext && accepted.access.oidc.is_none()).then(|| {
        let message = "Nothing says who is asking in mode Plaintext without spec.oidc: only backends with auth None or Optional answer. Write spec.oidc to know callers by their tokens";
        (Reason::NobodyKnown, message.to_owned())
    });
    let unasked = super::failure(applied, &[Reason::RequestFailed]);
    let own = certificates.warnings.iter().cloned().chain(unasked);
    let public = accepted.tunnels.as_ref().and_then(|tunnels| public(tunnels, now));
    let warnings: Vec<_> = replaced.into_iter().chain(own).chain(public).chain(open).chain(nobody).collect();
    let messages: Vec<_> = warnings.iter().map(|(_, message)| message.as_str()).collect();
    Some(Verdict::yes(ConditionType::Warning, warnings.first()?.0, messages.join("; ")))
}

/// What visitors of public names are shown is not what the spec names, or has ended.
fn public(tunnels: &Tunnels, now: Timestamp) -> Option<(Reason, String)> {
    let secret = format!("Secret {} of spec.tunnels.certificateRef", tunnels.certificate.as_ref()?);
    let message = match tunnels.public.as_ref()? {
        Err(why) => format!(
            "{secret} {why}: visitors are shown what replicas have read of it before, or else the Gateway's own certificate. Write a certificate for *.{} and its key into tls.crt and tls.key",
            tunnels.snapshot.domain
        ),
        Ok(facts) if moment::timestamp(facts.not_after).is_some_and(|end| end < now) => {
            format!("The certificate in {secret} ended at {}: renew it", moment::text(facts.not_after))
        }
        Ok(_) => return None,
    };
    Some((Reason::PublicCertificateUnusable, message))
}

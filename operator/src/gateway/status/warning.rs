//! What a spec lets happen that its author may not have meant.

use portcullis_api::condition::{ConditionType, Reason};
use portcullis_contract::snapshot::Mode;

use super::Verdict;
use crate::gateway::validate::Accepted;

/// The warnings, as one; None where there is nothing to warn of.
pub(super) fn warning(accepted: &Accepted) -> Option<Verdict> {
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
    let warnings: Vec<_> = open.chain(nobody).collect();
    let messages: Vec<_> = warnings.iter().map(|(_, message)| message.as_str()).collect();
    Some(Verdict::yes(ConditionType::Warning, warnings.first()?.0, messages.join("; ")))
}

//! `Stalled`, by which kstatus tells what has failed from what is on its way: there, and true, where Ready is false for a
//! reason that does not pass by itself. Of Gateways and Tunnels alike. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use portcullis_api::condition::{ConditionType, Reason};

use super::{Verdict, condition};

/// Reasons for which somebody must do something. What may come by itself is not among them: whoever applies a Tunnel before
/// its Gateway, or a Gateway before its Services, only has to wait.
const STUCK: [Reason; 22] = [
    Reason::Invalid,
    Reason::InvalidPodTemplate,
    Reason::InvalidSidecar,
    Reason::InvalidConnector,
    Reason::NameConflict,
    Reason::Forbidden,
    Reason::AuthorityMissing,
    Reason::AuthorityUnusable,
    Reason::AuthorityRefused,
    Reason::RequestDenied,
    Reason::RequestFailed,
    Reason::WriteFailed,
    Reason::IssuingFailed,
    Reason::ClockBehind,
    Reason::KeysMissing,
    Reason::Rejected,
    Reason::PodFailing,
    Reason::NotAllowed,
    Reason::HostnameConflict,
    Reason::PortConflict,
    Reason::QuotaExceeded,
    Reason::ProbeFailed,
];

/// The condition, if it is to be there beside these.
pub fn stalled(
    conditions: &[Condition],
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Option<Condition> {
    let named = |kind: ConditionType| move |it: &&Condition| it.type_ == kind.as_str();
    let ready = conditions.iter().find(named(ConditionType::Ready))?;
    let reason = Reason::named(&ready.reason).filter(|reason| STUCK.contains(reason))?;
    if ready.status != "False" || ready.observed_generation != generation {
        return None;
    }
    let verdict = Verdict::yes(ConditionType::Stalled, reason, ready.message.clone());
    let before = previous.iter().find(named(ConditionType::Stalled));
    Some(condition(ConditionType::Stalled, Some(&verdict), before, generation, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_somebody_is_stalled_and_what_may_come_by_itself_is_not() {
        let now = Timestamp::UNIX_EPOCH;
        let of = |ready: &Verdict, generation| {
            let conditions = [condition(ConditionType::Ready, Some(ready), None, Some(generation), now)];
            stalled(&conditions, &[], Some(2), now).map(|it| (it.status, it.reason, it.message))
        };
        let no = |reason| Verdict::no(ConditionType::Ready, reason, "in words");
        let wanted = ("True".to_owned(), "PodFailing".to_owned(), "in words".to_owned());
        assert_eq!(of(&no(Reason::PodFailing), 2), Some(wanted));
        assert_eq!(of(&no(Reason::PodFailing), 1), None, "of an earlier spec");
        for passes in
            [Reason::Pending, Reason::ReplicasNotReady, Reason::GatewayNotFound, Reason::NoConnector]
        {
            assert_eq!(of(&no(passes), 2), None, "{passes:?}");
        }
        assert_eq!(of(&Verdict::yes(ConditionType::Ready, Reason::Ready, ""), 2), None);
    }
}

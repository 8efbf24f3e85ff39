//! Which changes of a status are told as Events: transitions that an admin would want to know of, each once, with the
//! reason that the condition carries.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_api::condition::{ConditionType, Reason};
use portcullis_api::{AuthorityStatus, RotationPhase};

use super::status::Outcome;
use crate::moment;
use crate::writer::News;

/// On the way to Ready; no news.
const WAITING: [Reason; 6] = [
    Reason::Pending,
    Reason::ReplicasNotReady,
    Reason::WaitingForReplicas,
    Reason::NoReplicas,
    Reason::GatewayNotProgrammed,
    Reason::NoConnector,
];

/// What is to be told.
pub fn transitions(before: &[Condition], after: &[Condition]) -> Vec<News> {
    let mut told: Vec<News> = Vec::new();
    for condition in after {
        let known = before.iter().find(|it| it.type_ == condition.type_);
        if let Some(news) =
            news(known, condition).filter(|news| !told.iter().any(|it| it.reason == news.reason))
        {
            told.push(news);
        }
    }
    told
}

/// What is to be told of an authority that is on its way from one generation to the next.
pub fn rotation(before: Option<&AuthorityStatus>, after: Option<&AuthorityStatus>) -> Option<News> {
    let (before, after) = (before?, after?);
    if (before.phase, before.generation) == (after.phase, after.generation) {
        return None;
    }
    let (signing, other) = (after.generation, after.other.as_ref().map(|other| other.generation));
    let (reason, message) = match (after.phase, other) {
        (RotationPhase::Publishing, Some(next)) => (
            "RotationPublishing",
            format!(
                "Generation {next} of the authority is made known; generation {signing} signs until it is"
            ),
        ),
        (RotationPhase::Issuing, Some(other)) => (
            "RotationIssuing",
            format!(
                "Generation {signing} of the authority signs everything anew; generation {other} is trusted on"
            ),
        ),
        (RotationPhase::Retiring, Some(other)) => (
            "RotationRetiring",
            format!(
                "Everything is signed by generation {signing}; generation {other} is trusted until {}",
                after.phase_until.as_deref().unwrap_or("its certificates end")
            ),
        ),
        (RotationPhase::Stable, _) => (
            "RotationEnded",
            format!("Generation {signing} of the authority is the only one that is trusted"),
        ),
        // Of one that is replaced at once, the condition Warning tells.
        _ => return None,
    };
    Some(News { warning: false, reason: reason.to_owned(), message })
}

/// What is to be told of certificates that clients have renewed: who has another one, and who asked for it from where.
pub fn renewals(outcome: &Outcome) -> Vec<News> {
    let Outcome::Applied(_, applied) = outcome else { return Vec::new() };
    let issued = applied.plan.renewals.iter().filter_map(|it| Some((&it.asked, it.outcome.as_ref().ok()?)));
    let news = issued.map(|(asked, issued)| News {
        warning: false,
        reason: "CertificateRenewed".to_owned(),
        message: format!(
            "Client {} has another certificate, {}, until {}: asked for by {} from {} with the certificate {}",
            asked.client,
            issued.certificate.facts.serial,
            moment::text(issued.certificate.facts.not_after),
            asked.user.chars().take(200).collect::<String>(),
            asked.address,
            asked.serial,
        ),
    });
    news.collect()
}

fn news(before: Option<&Condition>, after: &Condition) -> Option<News> {
    let moved = before.is_none_or(|before| before.status != after.status || before.reason != after.reason);
    let is_ready = after.type_ == ConditionType::Ready.as_str();
    let is_alarm = ConditionType::ALL.iter().any(|it| it.is_bad_when_true() && it.as_str() == after.type_);
    let lost = before.is_some_and(|before| before.status == "True");
    let waiting = WAITING.iter().any(|reason| reason.as_str() == after.reason);
    let matters = match after.status.as_str() {
        "True" => is_ready || is_alarm,
        "False" if is_alarm => lost,
        "False" => !waiting || (is_ready && lost),
        _ => false,
    };
    (moved && matters).then(|| News {
        warning: (after.status == "False") != is_alarm,
        reason: after.reason.clone(),
        message: after.message.clone(),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn status(conditions: &[(ConditionType, &str, Reason)]) -> Vec<Condition> {
        let condition = |(kind, status, reason): &(ConditionType, &str, Reason)| Condition {
            type_: kind.as_str().to_owned(),
            status: (*status).to_owned(),
            reason: reason.as_str().to_owned(),
            message: "in words".to_owned(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::default()),
        };
        conditions.iter().map(condition).collect()
    }

    fn told(before: &[Condition], after: &[Condition]) -> Vec<(bool, String)> {
        transitions(before, after).into_iter().map(|news| (news.warning, news.reason)).collect()
    }

    #[test]
    fn a_driver_that_is_lost_is_a_warning_and_one_that_comes_back_is_good_news() {
        let at_first = status(&[(ConditionType::Degraded, "Unknown", Reason::Pending)]);
        let well = status(&[(ConditionType::Degraded, "False", Reason::DriversConnected)]);
        let lost = status(&[(ConditionType::Degraded, "True", Reason::DriverUnavailable)]);
        assert_eq!(told(&at_first, &well), []);
        assert_eq!(told(&well, &lost), [(true, "DriverUnavailable".to_owned())]);
        assert_eq!(told(&lost, &lost), []);
        assert_eq!(told(&lost, &well), [(false, "DriversConnected".to_owned())]);
    }

    #[test]
    fn keys_that_are_missing_are_told_once_though_two_conditions_say_so() {
        let before = status(&[]);
        let after = status(&[
            (ConditionType::OidcDiscovered, "False", Reason::KeysMissing),
            (ConditionType::Ready, "False", Reason::KeysMissing),
        ]);
        assert_eq!(told(&before, &after), [(true, "KeysMissing".to_owned())]);
    }
}

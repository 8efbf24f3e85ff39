//! Which changes of a status are told as Events: transitions that an admin would want to know of, each once, with the
//! reason that the condition carries.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_api::GatewayStatus;
use portcullis_api::condition::{ConditionType, Reason};

use crate::writer::News;

/// On the way to Ready; no news.
const WAITING: [Reason; 4] =
    [Reason::Pending, Reason::ReplicasNotReady, Reason::WaitingForReplicas, Reason::NoReplicas];

/// What is to be told.
pub fn transitions(before: Option<&GatewayStatus>, after: &GatewayStatus) -> Vec<News> {
    let mut told: Vec<News> = Vec::new();
    for condition in &after.conditions {
        let known =
            before.into_iter().flat_map(|status| &status.conditions).find(|it| it.type_ == condition.type_);
        if let Some(news) =
            news(known, condition).filter(|news| !told.iter().any(|it| it.reason == news.reason))
        {
            told.push(news);
        }
    }
    told
}

fn news(before: Option<&Condition>, after: &Condition) -> Option<News> {
    let moved = before.is_none_or(|before| before.status != after.status || before.reason != after.reason);
    let is_ready = after.type_ == ConditionType::Ready.as_str();
    let lost = before.is_some_and(|before| before.status == "True");
    let waiting = WAITING.iter().any(|reason| reason.as_str() == after.reason);
    let matters = match after.status.as_str() {
        "True" => is_ready,
        "False" => !waiting || (is_ready && lost),
        _ => false,
    };
    (moved && matters).then(|| News {
        warning: after.status == "False",
        reason: after.reason.clone(),
        message: after.message.clone(),
    })
}

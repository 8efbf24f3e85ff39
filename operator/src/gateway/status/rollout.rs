//! Pods that do not come up while others serve: Ready says nothing of them.

use portcullis_api::condition::{ConditionType, Reason};

use super::Verdict;
use super::replicas::Replicas;
use crate::gateway::observe::Observed;
use crate::gateway::validate::Accepted;
use crate::moment;

/// That a pod does not come up while others serve, which one and why; None where none serves, or all do. What is said of
/// drivers goes with it where that is bad news, too.
pub(super) fn stuck(
    accepted: &Accepted,
    observed: &Observed,
    replicas: &Replicas<'_>,
    drivers: Option<&Verdict>,
) -> Option<Verdict> {
    if replicas.ready() == 0 {
        return None;
    }
    let (namespace, name) = (&accepted.key.namespace, &accepted.key.name);
    let failing = observed.failing(name)?;
    let serve = match replicas.ready() {
        1 => "1 replica is ready and serves".to_owned(),
        ready => format!("{ready} replicas are ready and serve"),
    };
    let (since, look) = match &failing.pod {
        Some((pod, created)) => {
            let since = created.map(|at| format!(" (it is there since {})", moment::second(at)));
            (since.unwrap_or_default(), format!("pod {pod}"))
        }
        None => (String::new(), format!("deployment {name}")),
    };
    let words = failing.words.trim_end_matches('.');
    let mut message = format!(
        "{words}{since}. {serve} as before; what the spec changes of pods takes effect once it comes up. Correct that, or set it back; `kubectl -n {namespace} describe {look}` says more",
    );
    if let Some(also) = drivers.filter(|it| it.holds == Some(true)) {
        message = format!("{message}; {}", also.message);
    }
    Some(Verdict::yes(ConditionType::Degraded, Reason::PodFailing, message))
}

//! A gateway's pod, boiled down to what decides readiness and what an admin must read.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod as LivePod};

/// A gateway's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The kubelet calls it ready, and it is not on its way out.
    pub ready: bool,
    /// It is on its way out.
    pub leaving: bool,
    /// Some container of its runs: it may serve, whatever the kubelet says of its readiness.
    pub running: bool,
    /// Why it cannot start, in the kubelet's or the scheduler's own words.
    pub failure: Option<String>,
}

/// What a container waits for when all is well.
const HARMLESS: [&str; 2] = ["ContainerCreating", "PodInitializing"];

impl Pod {
    /// Boils a pod down.
    pub fn read(pod: &LivePod) -> Self {
        let leaving = pod.metadata.deletion_timestamp.is_some();
        let holds = |kind: &str, status: &str| {
            let conditions = pod.status.iter().flat_map(|it| it.conditions.iter().flatten());
            conditions.into_iter().any(|it| it.type_ == kind && it.status == status)
        };
        let containers = pod.status.iter().flat_map(|it| it.container_statuses.iter().flatten());
        let running =
            containers.into_iter().any(|it| it.state.as_ref().is_some_and(|it| it.running.is_some()));
        Self { ready: !leaving && holds("Ready", "True"), leaving, running, failure: failure(pod) }
    }
}

fn failure(pod: &LivePod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.into_iter().find_map(container_failure).or_else(|| {
        let conditions = status.conditions.iter().flatten();
        let unscheduled =
            conditions.into_iter().find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
        Some(format!("not scheduled: {}", unscheduled.message.clone().unwrap_or_default()))
    })
}

fn container_failure(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !HARMLESS.contains(reason))?;
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = last.map(|ended| {
        let words = ended.message.as_deref().map(|words| format!(": {}", words.trim())).unwrap_or_default();
        format!("; it ended with exit code {}{words}", ended.exit_code)
    });
    let message = waiting.message.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
    Some(format!("container {}: {reason}{message}{}", container.name, ended.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: &serde_json::Value) -> Pod {
        Pod::read(
            &serde_json::from_value(json!({ "metadata": { "name": "door-1" }, "status": status })).unwrap(),
        )
    }

    #[test]
    fn a_pod_that_cannot_pull_its_image_says_so_in_the_kubelets_words() {
        let seen = pod(
            &json!({ "containerStatuses": [{ "name": "gateway", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": { "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } } }] }),
        );
        assert_eq!(
            seen.failure.as_deref(),
            Some("container gateway: ImagePullBackOff: Back-off pulling image")
        );
        assert!(!seen.ready);
    }

    #[test]
    fn a_pod_that_crashes_shows_its_last_words() {
        let seen = pod(
            &json!({ "containerStatuses": [{ "name": "gateway", "image": "", "imageID": "", "ready": false,
            "restartCount": 3, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 1, "message": "no key\n" } } }] }),
        );
        assert_eq!(
            seen.failure.as_deref(),
            Some("container gateway: CrashLoopBackOff; it ended with exit code 1: no key")
        );
    }

    #[test]
    fn a_pod_that_is_being_made_has_not_failed() {
        let seen = pod(
            &json!({ "containerStatuses": [{ "name": "gateway", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": { "waiting": { "reason": "ContainerCreating" } } }] }),
        );
        assert_eq!(seen, Pod::default());
    }
}

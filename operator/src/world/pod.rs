//! A gateway's pod, boiled down to what decides readiness and what an admin must read.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod as LivePod};
use k8s_openapi::jiff::Timestamp;

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
    /// Since when it is there.
    pub created: Option<Timestamp>,
}

/// What the Deployment controller says of how it gets on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Why it can make no pod: a quota, an admission policy.
    pub unmade: Option<String>,
    /// That a pod which it made has been there for too long without getting ready.
    pub stuck: Option<String>,
}

/// What a container waits for when all is well.
const HARMLESS: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// What it waits for when it ends again and again.
const CRASHES: &str = "CrashLoopBackOff";
/// A container that was begun anew so often ends again and again.
const RESTARTS: i32 = 2;
/// Characters of what others say.
const WORDS: usize = 500;

/// What keeps pods from coming up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// In the words of the Deployment, the scheduler or the kubelet, beginning with the pod where it is one.
    pub words: String,
    /// The pod, and since when it is there; None where there is not even one.
    pub pod: Option<(String, Option<Timestamp>)>,
}

/// What keeps pods from coming up: of a Deployment and the pods that there are.
pub fn failing(rollout: Option<&Rollout>, pods: &BTreeMap<String, Arc<Pod>>) -> Option<Failing> {
    let whole = |words: &String| Failing { words: words.clone(), pod: None };
    let unmade = rollout.and_then(|rollout| rollout.unmade.as_ref());
    let of_pod = || {
        let mut pods = pods.iter().filter(|(_, pod)| !pod.leaving);
        pods.find_map(|(name, pod)| {
            let words = format!("pod {name}: {}", pod.failure.as_ref()?);
            Some(Failing { words, pod: Some((name.clone(), pod.created)) })
        })
    };
    let stuck = || rollout.and_then(|rollout| rollout.stuck.as_ref()).map(whole);
    unmade.map(whole).or_else(of_pod).or_else(stuck)
}

impl Rollout {
    /// Boils a Deployment down.
    pub fn read(deployment: &Deployment) -> Self {
        let conditions = || deployment.status.iter().flat_map(|it| it.conditions.iter().flatten());
        let said = |kind: &str, status: &str| {
            conditions()
                .find(|it| it.type_ == kind && it.status == status)
                .and_then(|it| it.message.as_deref())
        };
        Self {
            unmade: said("ReplicaFailure", "True").map(bounded),
            stuck: said("Progressing", "False").map(bounded),
        }
    }
}

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
        Self {
            ready: !leaving && holds("Ready", "True"),
            leaving,
            running,
            failure: failure(pod),
            created: pod.metadata.creation_timestamp.as_ref().map(|at| at.0),
        }
    }
}

fn failure(pod: &LivePod) -> Option<String> {
    let status = pod.status.as_ref()?;
    // One that was evicted, say: another takes its place.
    if status.phase.as_deref().is_some_and(|phase| phase == "Failed" || phase == "Succeeded") {
        return None;
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.into_iter().find_map(container_failure).or_else(|| {
        let conditions = status.conditions.iter().flatten();
        let unscheduled =
            conditions.into_iter().find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
        Some(format!("not scheduled: {}", bounded(unscheduled.message.as_deref().unwrap_or_default())))
    })
}

fn container_failure(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = state.terminated.as_ref().or(last);
    let ended = ended.map(|ended| {
        let words = ended.message.as_deref().map(|words| format!(": {}", bounded(words))).unwrap_or_default();
        format!("; it ended with exit code {}{words}", ended.exit_code)
    });
    let ended = ended.unwrap_or_default();
    let name = &container.name;
    let waiting = state.waiting.as_ref();
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    // Between two attempts it runs for a moment, and has come no further. The kubelet's words for it change each time.
    let runs_again = waiting.is_none() && !container.ready && container.restart_count >= RESTARTS;
    if runs_again || reason == Some(CRASHES) {
        return Some(format!("container {name}: {CRASHES}{ended}"));
    }
    let reason = reason.filter(|reason| !HARMLESS.contains(reason))?;
    let words = waiting.and_then(|waiting| waiting.message.as_deref());
    let words = words.map(|words| format!(": {}", bounded(words))).unwrap_or_default();
    Some(format!("container {name}: {reason}{words}{ended}"))
}

/// Words of others, as long as somebody reads them.
fn bounded(words: &str) -> String {
    words.trim().chars().take(WORDS).collect()
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
    fn a_pod_that_crashes_has_failed_between_its_attempts_too_and_in_the_same_words() {
        let crashing = |state: serde_json::Value, restarts: i32, last: serde_json::Value| {
            let status = json!({ "containerStatuses": [{ "name": "gateway", "image": "", "imageID": "", "ready": false,
                "restartCount": restarts, "state": state, "lastState": last }] });
            pod(&status).failure
        };
        let ended = json!({ "terminated": { "exitCode": 1, "message": "no key\n" } });
        let waiting = |words: &str| json!({ "waiting": { "reason": "CrashLoopBackOff", "message": words } });
        let said = crashing(waiting("back-off 10s restarting failed container"), 1, ended.clone());
        assert_eq!(
            said.as_deref(),
            Some("container gateway: CrashLoopBackOff; it ended with exit code 1: no key")
        );
        assert_eq!(crashing(waiting("back-off 2m40s restarting failed container"), 5, ended.clone()), said);
        assert_eq!(crashing(json!({ "running": {} }), 2, ended.clone()), said);
        assert_eq!(crashing(ended.clone(), 2, ended.clone()), said);
        assert_eq!(crashing(json!({ "running": {} }), 1, ended.clone()), None, "once may happen");
        let coming_back = json!({ "waiting": { "reason": "PodInitializing" } });
        assert_eq!(crashing(coming_back, 2, ended), None);
    }

    #[test]
    fn a_pod_that_was_evicted_has_not_failed_to_come_up() {
        let ended = json!({ "terminated": { "exitCode": 137 } });
        let gone = pod(
            &json!({ "phase": "Failed", "reason": "Evicted", "containerStatuses": [{ "name": "gateway", "image": "",
            "imageID": "", "ready": false, "restartCount": 3, "state": ended }] }),
        );
        assert_eq!(gone.failure, None);
    }

    #[test]
    fn of_a_pod_that_no_node_takes_the_schedulers_words_are_told_as_far_as_somebody_reads_them() {
        let words = "0/3 nodes are available: 3 Insufficient memory. ";
        let seen = pod(
            &json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": words.repeat(40) }] }),
        );
        let said = seen.failure.unwrap();
        assert!(said.starts_with("not scheduled: 0/3 nodes are available: 3 Insufficient memory."), "{said}");
        assert!(said.chars().count() < 520, "{said}");
    }

    #[test]
    fn what_the_deployment_says_comes_first_where_it_can_make_no_pod_and_last_where_one_does_not_get_ready() {
        let deployment = |kind: &str, status: &str, words: &str| {
            let conditions = json!([{ "type": "Available", "status": "True" },
                { "type": kind, "status": status, "message": words }]);
            let read = json!({ "status": { "conditions": conditions } });
            Rollout::read(&serde_json::from_value(read).unwrap())
        };
        let fails = Pod { failure: Some("container gateway: ErrImagePull".to_owned()), ..Pod::default() };
        let leaves = Pod { leaving: true, ..fails.clone() };
        let pods = |pod: &Pod| BTreeMap::from([("door-1".to_owned(), Arc::new(pod.clone()))]);
        let said = |rollout: &Rollout, pod: &Pod| failing(Some(rollout), &pods(pod)).map(|it| it.words);
        let quota = deployment("ReplicaFailure", "True", "exceeded quota");
        assert_eq!(said(&quota, &fails).as_deref(), Some("exceeded quota"));
        let late = deployment("Progressing", "False", "ReplicaSet door-5 has timed out progressing.");
        assert_eq!(said(&late, &fails).as_deref(), Some("pod door-1: container gateway: ErrImagePull"));
        assert_eq!(said(&late, &leaves).as_deref(), Some("ReplicaSet door-5 has timed out progressing."));
        let well = deployment("Progressing", "True", "ReplicaSet door-5 is progressing.");
        assert_eq!(said(&well, &Pod::default()), None);
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

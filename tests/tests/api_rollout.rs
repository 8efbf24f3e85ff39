//! Pods that do not come up while others serve, against a real API server: the Gateway stays Ready, and says which and why.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use portcullis_api::Gateway;
use portcullis_tests::replica::{attached_door, ready_pod, set_ready};
use portcullis_tests::settled::settled;
use portcullis_tests::{client, is, message, namespace, until};
use serde_json::{Value, json};

const SPEC: &str = "{clients: [{name: alice}], replicas: 2}";

async fn says<K>(client: &Client, namespace: &str, name: &str, status: Value)
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let patch = json!({ "status": status });
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

fn waiting(reason: &str, words: &str) -> Value {
    json!({ "containerStatuses": [{ "name": "gateway", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": reason, "message": words } } }] })
}

fn degraded(gateway: &Gateway) -> bool {
    gateway.status.iter().flat_map(|it| &it.conditions).any(|it| it.type_ == "Degraded")
}

#[tokio::test]
async fn a_new_pod_that_cannot_come_up_is_told_with_its_cause_while_the_old_one_serves_and_no_longer() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, replica) = attached_door(&client, &namespace, SPEC).await;
    let well = until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    assert!(!degraded(&well), "{well:#?}");

    ready_pod(&client, &namespace, "door", "door-2").await;
    set_ready(&client, &namespace, "door-2", false).await;
    says::<Pod>(&client, &namespace, "door-2", waiting("ErrImagePull", "no such image")).await;
    let gateway = until(&client, &namespace, "door", is("Degraded", "True", "PodFailing")).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let since = pods.get("door-2").await.unwrap().creation_timestamp().unwrap().0;
    let said = format!(
        "pod door-2: container gateway: ErrImagePull: no such image (it is there since {since}). 1 replica is ready and serves as before; what the spec changes of pods takes effect once it comes up. Correct that, or set it back; `kubectl -n {namespace} describe pod door-2` says more"
    );
    assert_eq!(message(&gateway, "Degraded"), said);
    assert!(is("Ready", "True", "Ready")(&gateway), "{gateway:#?}");
    operator.until_line("/metrics", "portcullis_operator_stuck_rollouts 1").await;

    // It crashes now, and is begun again and again: told once.
    let crash = json!({ "containerStatuses": [{ "name": "gateway", "image": "", "imageID": "", "ready": false,
        "restartCount": 2, "state": { "running": {} }, "lastState": { "terminated": { "exitCode": 3 } } }] });
    says::<Pod>(&client, &namespace, "door-2", crash).await;
    let crashes = |it: &Gateway| {
        message(it, "Degraded")
            .starts_with("pod door-2: container gateway: CrashLoopBackOff; it ended with exit code 3")
    };
    let gateway = until(&client, &namespace, "door", crashes).await;
    assert!(is("Ready", "True", "Ready")(&gateway), "{gateway:#?}");

    pods.delete("door-2", &DeleteParams::default().grace_period(0)).await.unwrap();
    let gateway = until(&client, &namespace, "door", |it| !degraded(it)).await;
    assert!(is("Ready", "True", "Ready")(&gateway), "{gateway:#?}");
    operator.until_line("/metrics", "portcullis_operator_stuck_rollouts 0").await;

    let conditions = json!({ "conditions": [{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "ReplicaSet \"door-5\" has timed out progressing." }] });
    says::<Deployment>(&client, &namespace, "door", conditions).await;
    let gateway = until(&client, &namespace, "door", is("Degraded", "True", "PodFailing")).await;
    let said = message(&gateway, "Degraded");
    assert!(
        said.starts_with("ReplicaSet \"door-5\" has timed out progressing. 1 replica is ready"),
        "{said}"
    );
    assert!(
        said.ends_with(&format!("`kubectl -n {namespace} describe deployment door` says more")),
        "{said}"
    );

    // With nobody left who serves, Ready says it.
    set_ready(&client, &namespace, "door-1", false).await;
    let gateway = until(&client, &namespace, "door", is("Ready", "False", "PodFailing")).await;
    assert!(!degraded(&gateway), "{gateway:#?}");
    drop(replica);
    operator.stop().await;
    settled(&client, &namespace, "door").await;
}

//! The operator goes and comes back while Gateways serve. One test: all of it is about the one operator of the cluster.

use std::time::Duration;

use portcullis_tests::door::{Door, kubectl};
use portcullis_tests::lag::Lag;
use portcullis_tests::leader::{self, SYSTEM};
use portcullis_tests::{is, until};
use tokio::time::Instant;

const SPEC: &str = "
clients: [{name: alice}]
backends: [{name: httpbin, match: {pathPrefix: /}, service: {name: httpbin, port: 80}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn gateways_serve_without_the_operator_and_follow_the_one_that_takes_over() {
    let door = Door::ready(SPEC).await;
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/get", "200").await;

    // The leader is killed: the other one takes over, and what is changed meanwhile is served soon.
    let leader = leader::kill(&door.client).await;
    let (killed, lag) = (Instant::now(), Lag::begin());
    door.apply(&format!("{SPEC}\nlogLevel: Debug")).await;
    // What is killed lives for a moment, and may have served the change still.
    leader::until_led(&door.client, |holder| holder != leader).await;
    door.until_ready().await;
    let (took, lag) = (killed.elapsed(), lag.so_far());
    assert!(
        took < Duration::from_secs(30) + lag,
        "the change was served after {took:?}, with a lag of {lag:?}"
    );

    // There is none: what runs goes on, and a pod that is new starts from the ConfigMap.
    kubectl(SYSTEM, &["scale", "deployment/portcullis-operator", "--replicas=0"], None).await;
    kubectl(
        SYSTEM,
        &[
            "wait",
            "--for=delete",
            "pod",
            "-l",
            "app.kubernetes.io/name=portcullis-operator",
            "--timeout=180s",
        ],
        None,
    )
    .await;
    assert_eq!(door.code(&alice, "/get").await, "200");
    for pod in door.pods().await {
        door.kubectl(&["delete", "pod", &pod, "--wait"], None).await;
    }
    door.kubectl(&["rollout", "status", "deployment/door", "--timeout=180s"], None).await;
    door.until_code(&alice, "/get", "200").await;

    // It comes back: the new pods find it, and the status speaks of them again.
    kubectl(SYSTEM, &["scale", "deployment/portcullis-operator", "--replicas=2"], None).await;
    door.apply(&format!("{SPEC}\nlogLevel: Warn")).await;
    let gateway = until(&door.client, &door.namespace, "door", |gateway| {
        is("Programmed", "True", "Programmed")(gateway)
            && gateway.status.as_ref().is_some_and(|it| it.programmed_replicas == 2)
    })
    .await;
    assert_eq!(gateway.status.unwrap().ready_replicas, 2);
    kubectl(SYSTEM, &["rollout", "status", "deployment/portcullis-operator", "--timeout=180s"], None).await;
}

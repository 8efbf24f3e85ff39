//! The operator goes and comes back while Gateways serve. One test: all of it is about the one operator of the cluster.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use portcullis_tests::door::{Door, kubectl};
use portcullis_tests::lag::Lag;
use portcullis_tests::{PATIENCE, is, until};
use tokio::time::{Instant, timeout};

const SYSTEM: &str = "portcullis-system";
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
    let leader = until_led(&door.client, |_| true).await;
    kubectl(SYSTEM, &["delete", "pod", &leader, "--grace-period=0", "--force"], None).await;
    let (killed, lag) = (Instant::now(), Lag::begin());
    door.apply(&format!("{SPEC}\nlogLevel: Debug")).await;
    // What is killed lives for a moment, and may have served the change still.
    until_led(&door.client, |holder| holder != leader).await;
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

/// Waits until an operator leads that is as wished, and says which.
async fn until_led(client: &Client, wish: impl Fn(&str) -> bool) -> String {
    let holder = |lease: &Lease| lease.spec.as_ref()?.holder_identity.clone().filter(|it| !it.is_empty());
    let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM);
    let led = await_condition(leases, "portcullis-operator", |lease: Option<&Lease>| {
        lease.and_then(holder).is_some_and(|it| wish(&it))
    });
    let lease = timeout(PATIENCE, led).await.expect("in time").expect("the watch goes on");
    lease.as_ref().and_then(holder).expect("it has a holder")
}

//! The operator of the cluster that leads: which pod it is, and its end. End-to-end tests only.

use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::PATIENCE;
use crate::door::kubectl;

/// Where the operator lives.
pub const SYSTEM: &str = "portcullis-system";

/// Waits until an operator leads that is as wished, and says which pod it is.
pub async fn until_led(client: &Client, wish: impl Fn(&str) -> bool) -> String {
    let holder = |lease: &Lease| lease.spec.as_ref()?.holder_identity.clone().filter(|it| !it.is_empty());
    let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM);
    let led = await_condition(leases, "portcullis-operator", |lease: Option<&Lease>| {
        lease.and_then(holder).is_some_and(|it| wish(&it))
    });
    let lease = timeout(PATIENCE, led).await.expect("in time").expect("the watch goes on");
    lease.as_ref().and_then(holder).expect("it has a holder")
}

/// Kills the one that leads, from one moment to the next; says which it was.
pub async fn kill(client: &Client) -> String {
    let leader = until_led(client, |_| true).await;
    kubectl(SYSTEM, &["delete", "pod", &leader, "--grace-period=0", "--force", "--ignore-not-found"], None)
        .await;
    leader
}

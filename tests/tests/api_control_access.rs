//! Who is let onto the control channel, who is sent elsewhere, and what an operator's restart does to those who were on
//! it.

use std::sync::Arc;

use kube::Client;
use portcullis_contract::control::instruction::Instruction as Told;
use portcullis_operator::clock::SystemClock;
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{Credentials, Replica, ready_pod};
use portcullis_tests::{apply, client, is, namespace, until};
use tonic::{Code, Status};

async fn door() -> (Client, String, Operator, Credentials) {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", "clients: [{name: alice}]").await.unwrap();
    ready_pod(&client, &namespace, "door", "door-1").await;
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let shows = Credentials::of(&client, &namespace, "door").await;
    (client, namespace, operator, shows)
}

/// Why a replica is not let in.
async fn refusal(operator: &Operator, shows: &Credentials, pod: &str) -> Status {
    match Replica::attach(operator.control, shows, pod).await {
        // TLS 1.3 tells a client that its certificate was refused only when it reads.
        Ok(mut replica) => {
            assert_eq!(replica.told().await, None, "it was let in");
            Status::unknown("let go")
        }
        Err(status) => status,
    }
}

#[tokio::test]
async fn a_pod_that_is_not_the_gateways_is_refused() {
    let (client, namespace, operator, shows) = door().await;
    ready_pod(&client, &namespace, "other", "other-1").await;
    let (unknown, anothers) =
        tokio::join!(refusal(&operator, &shows, "door-9"), refusal(&operator, &shows, "other-1"));
    for (pod, status) in [("door-9", unknown), ("other-1", anothers)] {
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        assert_eq!(status.message(), format!("\"{pod}\" is no pod of Gateway {namespace}/door"));
    }
}

#[tokio::test]
async fn the_certificate_of_another_gateway_does_not_open_this_one() {
    let (client, namespace, operator, _) = door().await;
    apply(&client, &namespace, "other", "clients: []").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    let shows = Credentials::of(&client, &namespace, "other").await;
    let status = refusal(&operator, &shows, "door-1").await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert_eq!(status.message(), format!("\"door-1\" is no pod of Gateway {namespace}/other"));
}

#[tokio::test]
async fn no_certificate_and_none_of_the_gateways_own_authority_open_the_control_channel() {
    let (client, namespace, operator, shows) = door().await;
    let none = Credentials { own: None, ..shows.clone() };
    let bundle = shows.clone().with_bundle(&client, &namespace, "door-client-alice").await;
    let server = shows.clone().with_bundle(&client, &namespace, "door-server").await;
    for wrong in [none, bundle, server] {
        let status = refusal(&operator, &wrong, "door-1").await;
        // The connection ends before any call: how that shows depends on who notices first.
        let ends = [Code::Unknown, Code::Cancelled, Code::Unavailable];
        assert!(ends.contains(&status.code()), "{status:?}");
    }
    // The port is none the worse for it.
    let mut replica = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    replica.serve_next().await;
    until(&client, &namespace, "door", is("Programmed", "True", "Programmed")).await;
}

#[tokio::test]
async fn a_standby_leads_replicas_to_the_operator_that_leads() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let start = |identity: &'static str| {
        let namespace = namespace.clone();
        async move {
            let change = move |options: &mut portcullis_operator::options::Options| {
                options.identity = identity.to_owned();
                options.control_address = Some(options.control_listen.to_string());
            };
            Operator::start_with(&namespace, change, Arc::default(), Arc::new(SystemClock)).await
        }
    };
    let leader = start("first").await;
    apply(&client, &namespace, "door", "clients: []").await.unwrap();
    ready_pod(&client, &namespace, "door", "door-1").await;
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let standby = start("second").await;
    let shows = Credentials::of(&client, &namespace, "door").await;
    let mut replica = Replica::attach_soon(standby.control, &shows, "door-1").await;
    let Some(Told::Redirect(redirect)) = replica.told().await else { panic!("expected a redirect") };
    assert_eq!(redirect.address, leader.control.to_string());
    assert_eq!(replica.told().await, None, "nothing more is to come");
    let mut replica = Replica::attach(redirect.address.parse().unwrap(), &shows, "door-1").await.unwrap();
    replica.serve_next().await;
    until(&client, &namespace, "door", is("Programmed", "True", "Programmed")).await;
}

#[tokio::test]
async fn an_operator_that_comes_back_to_its_replicas_writes_nothing() {
    let (client, namespace, operator, shows) = door().await;
    let mut replica = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    replica.serve_next().await;
    let before = until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    operator.stop().await;
    assert_eq!(replica.told().await, None, "a polite stop lets replicas go");

    let operator = Operator::start(&namespace).await;
    let mut replica = Replica::attach_soon(operator.control, &shows, "door-1").await;
    replica.serve_next().await;
    apply(&client, &namespace, "other", "clients: []").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    let after = until(&client, &namespace, "door", |_| true).await;
    assert_eq!(after.status, before.status);
    let script = operator.script.clone();
    operator.stop().await;
    let writes: Vec<_> = script.writes().into_iter().filter(|it| it.contains("/door")).collect();
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
}

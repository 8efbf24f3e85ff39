//! The control channel, spoken by hand: what replicas are told, and how what they say becomes status. Pods are written
//! to the API server by the test.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams};
use portcullis_contract::control::{Driver, Issuer, Surroundings};
use portcullis_operator::gateway::observe::SETTLING;
use portcullis_operator::world::Kind;
use portcullis_tests::faults::{Dam, Script};
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{Credentials, Replica, ready_pod};
use portcullis_tests::{apply, children, client, is, message, namespace, until};
use tokio::time::timeout;

const SPEC: &str = "clients: [{name: alice}]";
const CHANGED: &str = "clients: [{name: alice}, {name: bob}]";

const GUARDED: &str = "
access: {mode: Plaintext, trustedProxies: [10.0.0.0/8]}
oidc: {issuer: 'https://login.example.com', audience: door}
drivers: {compute: {socketPath: /run/compute.sock}}
";

/// A Gateway named door with certificates and ready pods, and an operator.
async fn door(pods: &[&str]) -> (Client, String, Operator, Credentials) {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    for pod in pods {
        ready_pod(&client, &namespace, "door", pod).await;
    }
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let shows = Credentials::of(&client, &namespace, "door").await;
    (client, namespace, operator, shows)
}

#[tokio::test]
async fn a_replica_is_told_the_snapshot_of_the_config_map_at_once_and_every_change_as_it_happens() {
    let (client, namespace, operator, shows) = door(&["door-1"]).await;
    let mut replica = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    let (told, read) = replica.snapshot().await;
    let config = children(&client, &namespace, Kind::ConfigMap).get("door-config").await.unwrap();
    assert_eq!(String::from_utf8(told.json).unwrap(), config.data["data"]["snapshot.json"].as_str().unwrap());
    assert_eq!(read.clients.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["alice"]);
    assert_eq!(read.log_level, "info");

    apply(&client, &namespace, "door", "{clients: [{name: alice}], logLevel: Debug}").await.unwrap();
    let (changed, read) = replica.snapshot().await;
    assert_ne!(changed.version, told.version);
    assert_eq!(read.log_level, "debug");
}

#[tokio::test]
async fn a_gateway_is_programmed_and_ready_once_every_ready_pod_has_acknowledged() {
    let (client, namespace, operator, shows) = door(&["door-1", "door-2"]).await;
    let said = "0 of 2 ready replicas are programmed; replica door-1 is not on the control channel";
    let gateway = until(&client, &namespace, "door", |it| message(it, "Programmed") == said).await;
    assert!(is("Programmed", "False", "WaitingForReplicas")(&gateway), "{gateway:#?}");
    let mut one = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    one.serve_next().await;
    let said = "1 of 2 ready replicas are programmed; replica door-2 is not on the control channel";
    until(&client, &namespace, "door", |it| message(it, "Programmed") == said).await;

    let mut two = Replica::attach(operator.control, &shows, "door-2").await.unwrap();
    let (told, read) = two.snapshot().await;
    two.acknowledge("0000000000000000", &read.server_fingerprint).await;
    let said = "1 of 2 ready replicas are programmed; replica door-2 has not acknowledged the current configuration yet";
    until(&client, &namespace, "door", |it| message(it, "Programmed") == said).await;
    two.acknowledge(&told.version, &"0".repeat(64)).await;
    let said =
        "1 of 2 ready replicas are programmed; replica door-2 does not serve the current certificate yet";
    let gateway = until(&client, &namespace, "door", |it| message(it, "Programmed") == said).await;
    assert!(is("Programmed", "False", "WaitingForReplicas")(&gateway));
    assert!(is("Ready", "False", "WaitingForReplicas")(&gateway), "{gateway:#?}");

    two.acknowledge(&told.version, &read.server_fingerprint).await;
    let gateway = until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    assert!(is("Programmed", "True", "Programmed")(&gateway));
    let status = gateway.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas, status.programmed_replicas), (2, 2, 2));
}

#[tokio::test]
async fn a_refused_configuration_is_told_in_the_replicas_own_words_until_a_better_one_comes() {
    let (client, namespace, operator, shows) = door(&["door-1"]).await;
    let mut replica = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    replica.serve_next().await;
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    apply(&client, &namespace, "door", CHANGED).await.unwrap();
    let (told, _) = replica.snapshot().await;
    replica.reject(&told.version, "backend api: no such protocol").await;
    let gateway = until(&client, &namespace, "door", is("Programmed", "False", "Rejected")).await;
    let said =
        format!("replica door-1 refused configuration {}: backend api: no such protocol", told.version);
    assert_eq!(message(&gateway, "Programmed"), said);
    assert!(is("Ready", "False", "Rejected")(&gateway), "{gateway:#?}");
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    replica.serve_next().await;
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
}

#[tokio::test]
async fn an_older_session_of_a_pod_never_clears_or_speaks_for_a_newer_one() {
    let (client, namespace, operator, shows) = door(&["door-1"]).await;
    let mut old = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    old.serve_next().await;
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    let mut new = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    new.serve_next().await;
    apply(&client, &namespace, "door", CHANGED).await.unwrap();
    let (told, read) = new.snapshot().await;
    old.reject(&told.version, "the old session says so").await;
    // The operator ends the call, so that what was said before it has been heard.
    drop(old);
    new.acknowledge(&told.version, &read.server_fingerprint).await;
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    // The newer one is still heard, and still told.
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    new.serve_next().await;
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    operator.until_line("/metrics", "portcullis_operator_attached_replicas 1").await;
}

#[tokio::test]
async fn a_replica_that_stays_away_and_a_pod_that_goes_are_seen() {
    let (client, namespace, operator, shows) = door(&["door-1", "door-2"]).await;
    let mut one = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    let mut two = Replica::attach(operator.control, &shows, "door-2").await.unwrap();
    one.serve_next().await;
    two.serve_next().await;
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    drop(two);
    let said = "1 of 2 ready replicas are programmed; replica door-2 is not on the control channel";
    until(&client, &namespace, "door", |it| message(it, "Programmed") == said).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    pods.delete("door-2", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&client, &namespace, "door", is("Programmed", "True", "Programmed")).await;
    pods.delete("door-1", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&client, &namespace, "door", is("Ready", "False", "ReplicasNotReady")).await;
}

/// How a replica gets on with the provider and the driver of [`GUARDED`].
fn surroundings(keys: bool, issuer: &str, driver: &str) -> Surroundings {
    Surroundings {
        issuers: vec![Issuer { kind: "oidc".into(), keys, trouble: issuer.into() }],
        drivers: vec![Driver { kind: "compute".into(), trouble: driver.into() }],
    }
}

#[tokio::test]
async fn what_replicas_say_of_issuers_and_drivers_becomes_conditions_that_go_with_the_fields() {
    let (client, namespace, operator, shows) = door(&["door-1"]).await;
    let mut replica = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    replica.serve_next().await;
    let plain = until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    for kind in ["OIDCDiscovered", "Degraded", "Warning"] {
        assert_eq!(message(&plain, kind), "", "{kind} applies to nothing here");
    }

    apply(&client, &namespace, "door", GUARDED).await.unwrap();
    replica.serve_next().await;
    let gateway = until(&client, &namespace, "door", is("Programmed", "True", "Programmed")).await;
    assert!(is("OIDCDiscovered", "Unknown", "Pending")(&gateway), "{gateway:#?}");
    assert!(is("Degraded", "Unknown", "Pending")(&gateway), "{gateway:#?}");
    assert!(is("Ready", "False", "Pending")(&gateway), "{gateway:#?}");
    assert!(is("Warning", "True", "AuthenticationOnly")(&gateway), "{gateway:#?}");

    replica.surroundings(surroundings(false, "its certificate does not hold", "no such socket.")).await;
    let gateway = until(&client, &namespace, "door", is("OIDCDiscovered", "False", "KeysMissing")).await;
    let said = "Replica door-1 has no keys of https://login.example.com, which spec.oidc names, and believes none of its tokens: its certificate does not hold";
    assert_eq!(message(&gateway, "OIDCDiscovered"), said);
    assert!(is("Ready", "False", "KeysMissing")(&gateway), "{gateway:#?}");
    assert!(is("Degraded", "True", "DriverUnavailable")(&gateway), "{gateway:#?}");
    let said = "Replica door-1 cannot reach the compute driver, and answers UNAVAILABLE to what needs it: no such socket";
    assert_eq!(message(&gateway, "Degraded"), said);

    replica.surroundings(surroundings(true, "", "no such socket.")).await;
    let gateway = until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    assert!(is("OIDCDiscovered", "True", "Discovered")(&gateway), "{gateway:#?}");
    assert!(is("Degraded", "True", "DriverUnavailable")(&gateway), "a driver is no reason to be unready");

    replica.surroundings(surroundings(true, "it is away", "")).await;
    let gateway = until(&client, &namespace, "door", is("OIDCDiscovered", "True", "LastGoodKeys")).await;
    assert!(is("Degraded", "False", "DriversConnected")(&gateway), "{gateway:#?}");
    assert!(is("Ready", "True", "Ready")(&gateway), "{gateway:#?}");

    apply(&client, &namespace, "door", SPEC).await.unwrap();
    replica.serve_next().await;
    let gateway = until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    for kind in ["OIDCDiscovered", "Degraded", "Warning"] {
        assert_eq!(message(&gateway, kind), "", "{kind} went with its field");
    }
}

/// A change that comes between a visit and the write of what it found comes back with that write, and the watch that tells
/// of it is too late to be news.
#[tokio::test]
async fn a_change_that_comes_while_a_status_is_written_is_not_lost() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let dam = Dam::of("gateways");
    let operator = Operator::start_scripted(&namespace, Script::dammed(dam.clone())).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;

    dam.close();
    apply(&client, &namespace, "door", CHANGED).await.unwrap();
    // The operator knows nothing of it, and has something else to tell.
    ready_pod(&client, &namespace, "door", "door-1").await;
    until(&client, &namespace, "door", |gateway| gateway.status.as_ref().unwrap().ready_replicas == 1).await;
    dam.open();
    // Before the visit that a new leader pays to everybody once it has led for long enough.
    let visited = until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued"));
    let changed = timeout(SETTLING * 2 / 3, visited).await.expect("it was visited for the change");
    assert_eq!(changed.status.unwrap().clients.len(), 2);
    operator.stop().await;
}

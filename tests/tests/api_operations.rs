//! What an admin sees of the operator at work: Events, metrics, and the end of a Gateway.

use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use portcullis_api::Gateway;
use portcullis_operator::world::Kind;
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{Credentials, Replica, ready_pod};
use portcullis_tests::{apply, client, delete, is, managed, namespace, until};
use serde_json::json;

const SPEC: &str = "
clients: [{name: alice}]
backends: [{name: api, match: {pathPrefix: /}, service: {name: api, port: 80}}]
";

/// What was told of a Gateway, in order: type and reason.
async fn told(client: &Client, namespace: &str) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let mut events = events.list(&ListParams::default()).await.unwrap().items;
    events.retain(|it| it.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some("door")));
    events.sort_by_key(|it| it.event_time.clone().map(|it| it.0));
    let tell = |it: Event| format!("{} {}", it.type_.unwrap_or_default(), it.reason.unwrap_or_default());
    events.into_iter().map(tell).collect()
}

#[tokio::test]
async fn a_life_is_told_in_one_event_a_transition_and_a_restart_tells_nothing() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    until(&client, &namespace, "door", is("ResolvedRefs", "False", "BackendNotFound")).await;
    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let service = json!({ "metadata": { "name": "api" }, "spec": { "ports": [{ "port": 80 }] } });
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    until(&client, &namespace, "door", is("ResolvedRefs", "True", "ResolvedRefs")).await;
    ready_pod(&client, &namespace, "door", "door-1").await;
    let shows = Credentials::of(&client, &namespace, "door").await;
    let mut replica = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    replica.serve_next().await;
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    // What changes nothing in the status is told to nobody.
    apply(&client, &namespace, "door", &format!("{SPEC}\nservice: {{annotations: {{example.com/a: b}}}}"))
        .await
        .unwrap();
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    pods.delete("door-1", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&client, &namespace, "door", is("Ready", "False", "ReplicasNotReady")).await;
    operator.stop().await;
    let life = ["Warning BackendNotFound", "Normal Ready", "Warning ReplicasNotReady"];
    assert_eq!(told(&client, &namespace).await, life);

    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "other", "clients: []").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    operator.stop().await;
    assert_eq!(told(&client, &namespace).await, life);
}

#[tokio::test]
async fn a_deleted_gateway_is_forgotten_its_replicas_let_go_and_nothing_more_is_written() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", "clients: [{name: alice}]").await.unwrap();
    ready_pod(&client, &namespace, "door", "door-1").await;
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let shows = Credentials::of(&client, &namespace, "door").await;
    let mut replica = Replica::attach(operator.control, &shows, "door-1").await.unwrap();
    replica.serve_next().await;
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    for (slot, object) in managed(&client, &namespace).await {
        let owner = &object["metadata"]["ownerReferences"][0];
        assert!(owner["kind"] == "Gateway" && owner["controller"] == true, "{slot:?} would be left behind");
    }

    let gateways: Api<Gateway> = Api::namespaced(client.clone(), &namespace);
    let gone = gateways.delete("door", &DeleteParams::default()).await.unwrap();
    assert!(gone.is_right(), "no finalizer holds it");
    assert_eq!(replica.told().await, None, "its replicas are let go");
    // What was being written of it when it went is done, too.
    apply(&client, &namespace, "another", "clients: []").await.unwrap();
    until(&client, &namespace, "another", is("CertificatesReady", "True", "Issued")).await;
    let before = operator.script.writes().len();
    // As the garbage collector would: nothing is put back.
    for (kind, name) in
        [(Kind::Deployment, "door"), (Kind::Secret, "door-ca"), (Kind::ConfigMap, "door-config")]
    {
        delete(&client, &namespace, kind, name).await;
    }
    apply(&client, &namespace, "other", "clients: []").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    operator.until_line("/metrics", "portcullis_operator_gateways 2").await;
    operator.until_line("/metrics", "portcullis_operator_attached_replicas 0").await;
    let later = operator.script.writes().split_off(before);
    assert!(later.iter().all(|it| it.contains("other") || it.contains("/events")), "{later:#?}");
    operator.stop().await;
}

#[tokio::test]
async fn metrics_hold_every_family_with_labels_from_enums_only() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let theirs = json!({ "metadata": { "name": "bad-server" } });
    secrets.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    apply(&client, &namespace, "bad", "clients: []").await.unwrap();
    until(&client, &namespace, "bad", is("Accepted", "False", "NameConflict")).await;
    apply(&client, &namespace, "door", "clients: [{name: alice}]").await.unwrap();
    let gateway = until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let (code, text) = operator.page("/metrics").await;
    assert_eq!(code, 200);
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(
        families,
        [
            "portcullis_operator_reconcile_seconds histogram",
            "portcullis_operator_reconcile_errors counter",
            "portcullis_operator_writes counter",
            "portcullis_operator_queue_depth gauge",
            "portcullis_operator_gateways gauge",
            "portcullis_operator_tunnels gauge",
            "portcullis_operator_gateway_states gauge",
            "portcullis_operator_stuck_rollouts gauge",
            "portcullis_operator_authorities gauge",
            "portcullis_operator_rotation_waiting_seconds gauge",
            "portcullis_operator_leading gauge",
            "portcullis_operator_attached_replicas gauge",
            "portcullis_operator_certificate_earliest_expiry_timestamp_seconds gauge",
            "portcullis_operator_certificate_next_renewal_timestamp_seconds gauge",
            "portcullis_operator_calls counter",
            "portcullis_operator_call_duration_seconds histogram",
            "portcullis_operator_build info",
        ]
    );
    assert!(text.ends_with("# EOF\n"), "it is OpenMetrics");
    let line = |start: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(start));
        found.unwrap_or_else(|| panic!("{start} is missing in {text}")).trim().to_owned()
    };
    assert_eq!(line("portcullis_operator_writes_total{verb=\"apply\",kind=\"Deployment\"}"), "2");
    // Three of door, the authorities of bad and of the control channel.
    assert_eq!(line("portcullis_operator_writes_total{verb=\"apply\",kind=\"Secret\"}"), "5");
    assert_ne!(line("portcullis_operator_reconcile_errors_total{reason=\"NameConflict\"}"), "0");
    assert_eq!(line("portcullis_operator_gateways "), "2");
    let refused = "portcullis_operator_gateway_states{ready=\"False\",reason=\"NameConflict\"}";
    assert_eq!(line(refused), "1");
    assert_eq!(line("portcullis_operator_leading "), "1");
    assert_ne!(line("portcullis_operator_reconcile_seconds_count "), "0");
    let expiry = gateway.status.unwrap().server_certificate.unwrap().not_after;
    let expiry = time::OffsetDateTime::parse(&expiry, &time::format_description::well_known::Rfc3339);
    let earliest = line("portcullis_operator_certificate_earliest_expiry_timestamp_seconds{} ");
    assert_eq!(earliest, expiry.unwrap().unix_timestamp().to_string());
    for name in ["door", "alice", &namespace] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    operator.stop().await;
}

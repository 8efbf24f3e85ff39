//! Tunnels and the operator, against a real API server; what replicas say is said by hand.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use portcullis_api::Tunnel;
use portcullis_contract::control::{Connection, Probe, TunnelReport};
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{Credentials, Replica, attached_door};
use portcullis_tests::tunnel::{apply as apply_tunnel, condition, until};
use portcullis_tests::{apply, client, namespace};
use serde_json::json;

const SPEC: &str = "{clients: [{name: alice}], tunnels: {domain: t.example.com}}";

fn open(more: &str) -> String {
    format!("{{gatewayRef: {{name: door}}, endpoint: 'localhost:8080', access: {{auth: None}}{more}}}")
}

fn report(tunnel: &Tunnel, namespace: &str, hop: &str) -> TunnelReport {
    let connection = Connection {
        connector: "c1".into(),
        identity: "spiffe://cluster.local/ns/shop/gateway/door/client/alice".into(),
        remote_address: "192.0.2.7".into(),
        transport: "tls".into(),
        since_ms: 1_700_000_000_000,
        round_trip_us: 1840,
        version: "test".into(),
        ..Connection::default()
    };
    let created = tunnel.metadata.creation_timestamp.as_ref().unwrap().0.as_millisecond();
    let probe = Probe {
        at_ms: created + 700,
        passed: hop.is_empty(),
        hop: hop.into(),
        message: if hop.is_empty() { String::new() } else { "the endpoint is down".into() },
        latency_us: 3000,
    };
    TunnelReport {
        namespace: namespace.to_owned(),
        name: tunnel.metadata.name.clone().unwrap(),
        uid: tunnel.metadata.uid.clone().unwrap(),
        connections: vec![connection],
        probe: Some(probe),
        carried: true,
    }
}

/// A Gateway named door with one ready pod that is attached, and serves what it is told.
async fn door() -> (Client, String, Operator, Replica) {
    let client = client().await;
    let namespace = namespace(&client).await;
    let (operator, replica) = attached_door(&client, &namespace, SPEC).await;
    (client, namespace, operator, replica)
}

#[tokio::test]
async fn a_tunnel_is_programmed_connected_reachable_and_ready_by_what_replicas_say_and_nothing_less() {
    let (client, namespace, operator, mut replica) = door().await;
    let web = apply_tunnel(&client, &namespace, "web", &open(", label: web")).await;
    let begun = web.status.as_ref().unwrap();
    assert!(
        begun.conditions.len() == 5 && begun.conditions.iter().all(|it| it.status == "Unknown"),
        "{begun:?}"
    );
    until(&client, &namespace, "web", ["Programmed", "False", "GatewayNotProgrammed"]).await;
    let (told, read) = replica.snapshot().await;
    let served = &read.tunnels.unwrap().tunnels[0];
    assert_eq!(
        (served.hostnames.as_slice(), served.endpoint.as_str()),
        (&["web.t.example.com".to_owned()][..], "http://localhost:8080")
    );
    replica.acknowledge(&told.version, &read.server_fingerprint).await;
    let alone = until(&client, &namespace, "web", ["Ready", "False", "NoConnector"]).await;
    assert_eq!(condition(&alone, "Programmed").unwrap().status, "True");
    assert_eq!(alone.status.unwrap().url.as_deref(), Some("https://web.t.example.com"));

    replica.tunnel(report(&web, &namespace, "endpoint")).await;
    let broken = until(&client, &namespace, "web", ["Ready", "False", "ProbeFailed"]).await;
    assert_eq!(condition(&broken, "Ready").unwrap().message, "at the endpoint: the endpoint is down");
    replica.tunnel(report(&web, &namespace, "")).await;
    let ready = until(&client, &namespace, "web", ["Ready", "True", "Ready"]).await.status.unwrap();
    assert_eq!((ready.connected, ready.time_to_first_byte.as_deref()), (1, Some("0.7s")));
    assert_eq!(ready.connections[0].replica, "door-1");
    assert_eq!(ready.connections[0].round_trip.as_deref(), Some("1.8ms"));
    assert_eq!(ready.last_probe.unwrap().latency.as_deref(), Some("3.0ms"));
    portcullis_tests::until(&client, &namespace, "door", |gateway| {
        let tunnels = gateway.status.as_ref().and_then(|status| status.tunnels);
        tunnels.is_some_and(|it| (it.total, it.connected) == (1, 1))
    })
    .await;

    // Another operator takes over, with nothing in memory: what was proved stays until replicas had time to say it.
    operator.stop().await;
    let operator = Operator::start(&namespace).await;
    let shows = Credentials::of(&client, &namespace, "door").await;
    let mut replica = Replica::attach_soon(operator.control, &shows, "door-1").await;
    replica.serve_next().await;
    replica.tunnel(report(&web, &namespace, "")).await;
    let script = operator.script.clone();
    let other = apply_tunnel(&client, &namespace, "other", &open("")).await;
    until(&client, &namespace, "other", ["Accepted", "True", "Accepted"]).await;
    let writes = script.writes();
    assert!(!writes.iter().any(|write| write.contains("/tunnels/web")), "{writes:#?}");
    assert!(other.metadata.uid.is_some());

    // The replica is lost: what it said counts no more.
    drop(replica);
    until(&client, &namespace, "web", ["Connected", "False", "NoConnector"]).await;
}

#[tokio::test]
async fn a_name_goes_to_the_oldest_and_is_free_when_that_is_gone() {
    let (client, namespace, _operator, _replica) = door().await;
    let first = apply_tunnel(&client, &namespace, "first", &open(", label: web")).await;
    until(&client, &namespace, "first", ["Accepted", "True", "Accepted"]).await;
    apply_tunnel(&client, &namespace, "second", &open(", hostnames: [WEB.t.example.com.]")).await;
    let refused = until(&client, &namespace, "second", ["Accepted", "False", "HostnameConflict"]).await;
    let message = &condition(&refused, "Accepted").unwrap().message;
    assert!(message.contains(&format!("Tunnel {namespace}/first")), "{message}");
    let api: Api<Tunnel> = Api::namespaced(client.clone(), &namespace);
    api.delete(first.metadata.name.as_ref().unwrap(), &DeleteParams::default()).await.unwrap();
    until(&client, &namespace, "second", ["Accepted", "True", "Accepted"]).await;
}

#[tokio::test]
async fn a_gateway_that_is_missing_or_takes_no_tunnels_is_named_and_waited_for() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let _operator = Operator::start(&namespace).await;
    apply_tunnel(&client, &namespace, "web", &open("")).await;
    let refused = until(&client, &namespace, "web", ["Ready", "False", "GatewayNotFound"]).await;
    assert!(condition(&refused, "Ready").unwrap().message.contains("spec.gatewayRef"));
    apply(&client, &namespace, "door", "{clients: [{name: alice}]}").await.unwrap();
    until(&client, &namespace, "web", ["Ready", "False", "NotAllowed"]).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    let accepted = until(&client, &namespace, "web", ["Accepted", "True", "Accepted"]).await;
    let hostnames = accepted.status.unwrap().hostnames;
    assert!(hostnames.len() == 1 && hostnames[0].ends_with(".t.example.com"), "{hostnames:?}");
    // A generated name is words, and stays.
    assert_eq!(hostnames[0].split(['-', '.']).count(), 6, "{hostnames:?}");
}

#[tokio::test]
async fn a_port_that_a_tunnel_holds_is_a_port_of_the_service_until_it_is_released() {
    let (client, namespace, operator, mut replica) = door().await;
    let tcp = |port: u16| {
        format!(
            "{{gatewayRef: {{name: door}}, protocol: TCP, port: {port}, endpoint: 'localhost:22', access: {{auth: None}}}}"
        )
    };
    apply_tunnel(&client, &namespace, "ssh", &tcp(20_022)).await;
    let refused = until(&client, &namespace, "ssh", ["Accepted", "False", "NotAllowed"]).await;
    let message = &condition(&refused, "Accepted").unwrap().message;
    assert!(message.contains("give it spec.tunnels.ports"), "{message}");
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let before = deployments.get("door").await.unwrap().metadata.generation;

    let ports = "{clients: [{name: alice}], tunnels: {domain: t.example.com, ports: ['20000-20100']}}";
    apply(&client, &namespace, "door", ports).await.unwrap();
    let accepted = until(&client, &namespace, "ssh", ["Accepted", "True", "Accepted"]).await;
    assert_eq!(accepted.status.unwrap().url.as_deref(), Some("tcp://t.example.com:20022"));
    let served = loop {
        let (told, read) = replica.snapshot().await;
        replica.acknowledge(&told.version, &read.server_fingerprint).await;
        let tunnels = read.tunnels.unwrap().tunnels;
        if !tunnels.is_empty() {
            break tunnels;
        }
    };
    assert_eq!((served[0].port, served[0].endpoint.as_str()), (Some(20_022), "tcp://localhost:22"));
    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let port_of = |service: &Service| {
        let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
        let found = ports.iter().find(|port| port.name.as_deref() == Some("tcp-20022"));
        found.map(|port| (port.port, port.target_port.clone()))
    };
    until_service(&services, |it| port_of(it) == Some((20_022, Some(IntOrString::Int(20_022))))).await;
    assert_eq!(deployments.get("door").await.unwrap().metadata.generation, before, "no pod is replaced");

    apply_tunnel(&client, &namespace, "tardy", &tcp(20_022)).await;
    let refused = until(&client, &namespace, "tardy", ["Accepted", "False", "PortConflict"]).await;
    let message = &condition(&refused, "Accepted").unwrap().message;
    assert!(message.contains(&format!("Tunnel {namespace}/ssh")), "{message}");
    // What is as it should be is not written again.
    let script = operator.script.clone();
    apply_tunnel(&client, &namespace, "other", &open("")).await;
    until(&client, &namespace, "other", ["Accepted", "True", "Accepted"]).await;
    let writes = script.writes();
    assert!(writes.iter().filter(|write| write.ends_with("/services/door")).count() <= 2, "{writes:#?}");

    let api: Api<Tunnel> = Api::namespaced(client.clone(), &namespace);
    for name in ["tardy", "ssh"] {
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
    until_service(&services, |it| port_of(it).is_none()).await;
}

#[tokio::test]
async fn labels_of_a_namespace_let_its_tunnels_in_and_out_at_once() {
    let (client, namespace, _operator, _replica) = door().await;
    let selecting = "{clients: [{name: alice}], tunnels: {domain: t.example.com, allowedNamespaces: {from: Selector, selector: {matchLabels: {tunnels: allowed}}}}}";
    apply(&client, &namespace, "door", selecting).await.unwrap();
    apply_tunnel(&client, &namespace, "web", &open(", label: web")).await;
    // At first the labels are not known.
    let tunnels: Api<Tunnel> = Api::namespaced(client.clone(), &namespace);
    let told = kube::runtime::wait::await_condition(tunnels, "web", |it: Option<&Tunnel>| {
        it.and_then(|it| Some((condition(it, "Accepted")?, it.metadata.generation))).is_some_and(
            |(accepted, generation)| {
                (accepted.status.as_str(), accepted.reason.as_str()) == ("False", "NotAllowed")
                    && accepted.message.contains("tunnels=allowed")
                    && accepted.observed_generation == generation
            },
        )
    });
    tokio::time::timeout(portcullis_tests::PATIENCE, told).await.expect("in time").unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for (label, expected) in [
        (json!("allowed"), ["Accepted", "True", "Accepted"]),
        (json!("no-more"), ["Accepted", "False", "NotAllowed"]),
        (json!("allowed"), ["Accepted", "True", "Accepted"]),
        (json!(null), ["Accepted", "False", "NotAllowed"]),
    ] {
        let label = json!({ "metadata": { "labels": { "tunnels": label } } });
        namespaces.patch(&namespace, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
        until(&client, &namespace, "web", expected).await;
    }
}

/// Waits until the Gateway's Service is like this.
async fn until_service(services: &Api<Service>, is_it: impl Fn(&Service) -> bool) {
    let found = kube::runtime::wait::await_condition(services.clone(), "door", |it: Option<&Service>| {
        it.is_some_and(&is_it)
    });
    tokio::time::timeout(portcullis_tests::PATIENCE, found).await.expect("in time").unwrap();
}

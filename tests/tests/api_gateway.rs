//! A Gateway's life against the real API server, without a node: what is written, what is put back, what is left alone.

use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt as _};
use portcullis_api::Gateway;
use portcullis_operator::world::Kind;
use portcullis_tests::operator::Operator;
use portcullis_tests::settled::settled;
use portcullis_tests::{
    apply, children, client, condition, delete, is, managed, meddle, message, namespace, until, until_child,
};
use serde_json::json;

const SPEC: &str = "
clients: [{name: alice, roles: [admin]}]
backends: [{name: httpbin, match: {pathPrefix: /}, service: {name: httpbin, port: 80}}]
";

const CHILDREN: [&str; 7] = [
    "Secret door-ca",
    "Secret door-client-alice",
    "Secret door-server",
    "ConfigMap door-config",
    "Service door",
    "PodDisruptionBudget door",
    "Deployment door",
];

/// A namespace with a running operator and a Gateway named door whose certificates are there.
async fn door(spec: &str) -> (kube::Client, String, Operator) {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", spec).await.unwrap();
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    (client, namespace, operator)
}

fn names(objects: &std::collections::BTreeMap<(Kind, String), serde_json::Value>) -> Vec<String> {
    objects.keys().map(|(kind, name)| format!("{} {name}", kind.as_str())).collect()
}

#[tokio::test]
async fn a_new_gateway_begins_as_unknown_and_gets_its_children_in_at_most_eleven_writes() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let fresh = apply(&client, &namespace, "door", SPEC).await.unwrap();
    let conditions = fresh.status.unwrap().conditions;
    assert_eq!(conditions.len(), 5);
    assert!(conditions.iter().all(|it| it.status == "Unknown" && it.reason == "Pending"), "{conditions:#?}");

    let operator = Operator::start(&namespace).await;
    let gateway = until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    assert_eq!(names(&managed(&client, &namespace).await), CHILDREN);
    assert_eq!(condition(&gateway, "Accepted"), Some(("True".into(), "Accepted".into())));
    assert_eq!(condition(&gateway, "Ready"), Some(("False".into(), "ReplicasNotReady".into())));
    let status = gateway.status.unwrap();
    assert_eq!(status.endpoint.unwrap(), format!("https://door.{namespace}.svc:443"));
    assert_eq!(status.clients[0].secret_name, "door-client-alice");
    settled(&client, &namespace, "door").await;
    let script = operator.script.clone();
    operator.stop().await;
    let writes: Vec<_> =
        script.writes().into_iter().filter(|write| !write.contains("portcullis-control-ca")).collect();
    assert!(writes.len() <= 11, "{} writes: {writes:#?}", writes.len());
}

#[tokio::test]
async fn a_settled_gateway_is_never_written_again_not_even_after_a_restart() {
    let (client, namespace, operator) = door(SPEC).await;
    // Whoever comes after it is done: so is all that was due.
    apply(&client, &namespace, "other-before", "clients: []").await.unwrap();
    until(&client, &namespace, "other-before", is("CertificatesReady", "True", "Issued")).await;
    operator.stop().await;
    let before = managed(&client, &namespace).await;
    let operator = Operator::start(&namespace).await;
    // A second Gateway, applied after the restart: once it is done, the first was visited too.
    apply(&client, &namespace, "other", "clients: []").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    let script = operator.script.clone();
    operator.stop().await;
    let writes = script.writes();
    assert!(!writes.is_empty() && writes.iter().all(|write| write.contains("other")), "{writes:#?}");
    let after = managed(&client, &namespace).await;
    for (slot, object) in before {
        assert_eq!(
            after[&slot]["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"],
            "{slot:?}"
        );
    }
}

#[tokio::test]
async fn what_somebody_changes_or_deletes_is_put_back() {
    let (client, namespace, _operator) = door(SPEC).await;
    meddle(&client, &namespace, Kind::Service, "door", json!({ "spec": { "selector": { "app": "mine" } } }))
        .await;
    until_child(&client, &namespace, Kind::Service, "door", |it| {
        it.is_some_and(|it| it.data["spec"]["selector"]["portcullis.dev/gateway"] == "door")
    })
    .await;
    meddle(&client, &namespace, Kind::ConfigMap, "door-config", json!({ "data": { "snapshot.json": "{}" } }))
        .await;
    until_child(&client, &namespace, Kind::ConfigMap, "door-config", |it| {
        it.is_some_and(|it| it.data["data"]["snapshot.json"] != "{}")
    })
    .await;
    let off = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } });
    for (kind, name) in [(Kind::Deployment, "door"), (Kind::Secret, "door-client-alice")] {
        meddle(&client, &namespace, kind, name, off.clone()).await;
        until_child(&client, &namespace, kind, name, |it| {
            it.is_some_and(|it| {
                it.labels().get("app.kubernetes.io/managed-by").is_some_and(|it| it == "portcullis")
            })
        })
        .await;
    }
    let uid = children(&client, &namespace, Kind::PodDisruptionBudget).get("door").await.unwrap().uid();
    delete(&client, &namespace, Kind::PodDisruptionBudget, "door").await;
    until_child(&client, &namespace, Kind::PodDisruptionBudget, "door", |it| {
        it.is_some_and(|it| it.uid() != uid)
    })
    .await;
    settled(&client, &namespace, "door").await;
}

#[tokio::test]
async fn what_others_add_to_our_objects_is_left_alone() {
    let (client, namespace, operator) = door(SPEC).await;
    let theirs = json!({ "metadata": { "annotations": { "example.com/theirs": "yes" } } });
    meddle(&client, &namespace, Kind::Service, "door", theirs).await;
    apply(
        &client,
        &namespace,
        "door",
        &format!("{SPEC}\nservice: {{annotations: {{example.com/ours: \"1\"}}}}"),
    )
    .await
    .unwrap();
    until_child(&client, &namespace, Kind::Service, "door", |it| {
        it.is_some_and(|it| it.annotations().contains_key("example.com/ours"))
    })
    .await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    until_child(&client, &namespace, Kind::Service, "door", |it| {
        it.is_some_and(|it| {
            !it.annotations().contains_key("example.com/ours")
                && it.annotations()["example.com/theirs"] == "yes"
        })
    })
    .await;
    operator.stop().await;
}

#[tokio::test]
async fn a_client_that_is_removed_loses_its_bundle_and_a_new_one_gets_one() {
    let (client, namespace, _operator) = door(SPEC).await;
    let authority = children(&client, &namespace, Kind::Secret).get("door-ca").await.unwrap();
    apply(&client, &namespace, "door", "clients: [{name: bob}]").await.unwrap();
    until_child(&client, &namespace, Kind::Secret, "door-client-alice", |it| it.is_none()).await;
    until(&client, &namespace, "door", |it| it.status.as_ref().is_some_and(|it| it.clients[0].name == "bob"))
        .await;
    settled(&client, &namespace, "door").await;
    let after = children(&client, &namespace, Kind::Secret).get("door-ca").await.unwrap();
    assert_eq!(after.resource_version(), authority.resource_version(), "the authority is not touched");
}

#[tokio::test]
async fn a_server_certificate_is_issued_anew_when_its_names_change() {
    let (client, namespace, _operator) = door(SPEC).await;
    let fingerprint = |it: &Gateway| it.status.clone().unwrap().server_certificate.unwrap().fingerprint;
    let before = fingerprint(&until(&client, &namespace, "door", |_| true).await);
    apply(&client, &namespace, "door", "pki: {server: {dnsNames: [door.example.com]}}").await.unwrap();
    until(&client, &namespace, "door", |it| fingerprint(it) != before).await;
    settled(&client, &namespace, "door").await;
}

#[tokio::test]
async fn a_foreign_object_of_a_childs_name_is_left_as_it_is_and_named() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(
        json!({ "metadata": { "name": "door-client-alice" }, "stringData": { "theirs": "yes" } }),
    )
    .unwrap();
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), &namespace);
    let before = secrets.create(&PostParams::default(), &secret).await.unwrap();
    let _operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    let gateway = until(&client, &namespace, "door", is("Accepted", "False", "NameConflict")).await;
    assert_eq!(
        message(&gateway, "Accepted"),
        "Secret door-client-alice already exists and was not made by Portcullis; it is left as it is. Rename or remove it, or give the Gateway another name"
    );
    assert_eq!(secrets.get("door-client-alice").await.unwrap().resource_version(), before.resource_version());
    secrets.delete("door-client-alice", &DeleteParams::default()).await.unwrap();
    until(&client, &namespace, "door", is("Accepted", "True", "Accepted")).await;
    settled(&client, &namespace, "door").await;
}

#[tokio::test]
async fn a_missing_backend_service_is_named_until_it_is_there() {
    let (client, namespace, _operator) = door(SPEC).await;
    let gateway = until(&client, &namespace, "door", is("ResolvedRefs", "False", "BackendNotFound")).await;
    assert_eq!(
        message(&gateway, "ResolvedRefs"),
        format!(
            "backend httpbin: Service \"httpbin\" does not exist in namespace \"{namespace}\"; requests for it get 503, the other backends are served"
        )
    );
    let services: Api<k8s_openapi::api::core::v1::Service> = Api::namespaced(client.clone(), &namespace);
    let service = |port: i32| {
        serde_json::from_value(
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "httpbin" },
        "spec": { "ports": [{ "port": port, "protocol": "TCP" }] } }),
        )
        .unwrap()
    };
    services.create(&PostParams::default(), &service(8080)).await.unwrap();
    let names_the_port = |it: &Gateway| message(it, "ResolvedRefs").contains("has no port 80, only 8080");
    until(&client, &namespace, "door", names_the_port).await;
    services.delete("httpbin", &DeleteParams::default()).await.unwrap();
    services.create(&PostParams::default(), &service(80)).await.unwrap();
    until(&client, &namespace, "door", is("ResolvedRefs", "True", "ResolvedRefs")).await;
}

#[tokio::test]
async fn a_suspended_gateway_is_left_as_it_stands() {
    let (client, namespace, _operator) = door(SPEC).await;
    let before = managed(&client, &namespace).await;
    apply(&client, &namespace, "door", "{suspend: true, clients: [{name: bob}], replicas: 5}").await.unwrap();
    until(&client, &namespace, "door", is("Accepted", "True", "Suspended")).await;
    assert_eq!(managed(&client, &namespace).await, before);
    apply(&client, &namespace, "door", "{clients: [{name: bob}], replicas: 5}").await.unwrap();
    until(&client, &namespace, "door", is("Accepted", "True", "Accepted")).await;
    until_child(&client, &namespace, Kind::Deployment, "door", |it| {
        it.is_some_and(|it| it.data["spec"]["replicas"] == 5)
    })
    .await;
}

#[tokio::test]
async fn a_malformed_gateway_stops_only_itself() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let _operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "bad", "podTemplate: {spec: {containers: [{name: gateway, resuorces: {}}]}}")
        .await
        .unwrap();
    let bad = until(&client, &namespace, "bad", is("Accepted", "False", "InvalidPodTemplate")).await;
    assert!(message(&bad, "Accepted").contains("spec.podTemplate.spec.containers[0].resuorces"));
    apply(&client, &namespace, "good", SPEC).await.unwrap();
    until(&client, &namespace, "good", is("CertificatesReady", "True", "Issued")).await;
}

#[tokio::test]
async fn an_overlay_reaches_the_pods_and_cannot_take_them_from_the_deployment() {
    let overlay = "
podTemplate:
  metadata: {labels: {team: shop, portcullis.dev/gateway: other}}
  spec:
    nodeSelector: {disk: fast}
    containers:
      - {name: gateway, resources: {requests: {cpu: 1000m}}}
      - {name: helper, image: example.com/helper:1}
";
    let (client, namespace, operator) = door(overlay).await;
    let deployment = children(&client, &namespace, Kind::Deployment).get("door").await.unwrap();
    let template = &deployment.data["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "shop");
    assert_eq!(template["metadata"]["labels"]["portcullis.dev/gateway"], "door");
    assert_eq!(template["spec"]["nodeSelector"]["disk"], "fast");
    let containers = template["spec"]["containers"].as_array().unwrap();
    assert_eq!(
        containers.iter().map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["gateway", "helper"]
    );
    assert_eq!(containers[0]["image"], "localhost/portcullis-gateway:dev");
    // The API server writes 1000m as 1: that is no drift.
    let script = operator.script.clone();
    apply(&client, &namespace, "other", "clients: []").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    operator.stop().await;
    let deployments = script.writes().iter().filter(|write| write.ends_with("/deployments/door")).count();
    assert_eq!(deployments, 1);
}

#[tokio::test]
async fn a_service_has_addresses_of_the_ip_families_that_the_spec_asks_for_and_is_settled_with_them() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    let cases = [
        ("plain", "{}", "SingleStack", vec!["IPv4"]),
        ("six", "service: {ipFamilies: [IPv6]}", "SingleStack", vec!["IPv6"]),
        ("both", "service: {ipFamilyPolicy: PreferDualStack}", "PreferDualStack", vec!["IPv4", "IPv6"]),
        (
            "turned",
            "service: {ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]}",
            "RequireDualStack",
            vec!["IPv6", "IPv4"],
        ),
    ];
    let services = children(&client, &namespace, Kind::Service);
    let mut versions = Vec::new();
    for (name, spec, policy, families) in &cases {
        apply(&client, &namespace, name, spec).await.unwrap();
        until(&client, &namespace, name, is("CertificatesReady", "True", "Issued")).await;
        let service = services.get(name).await.unwrap();
        let spec = &service.data["spec"];
        assert_eq!((spec["ipFamilyPolicy"].as_str(), &spec["ipFamilies"]), (Some(*policy), &json!(families)));
        let addresses = spec["clusterIPs"].as_array().unwrap();
        let told: Vec<_> = addresses.iter().map(|it| it.as_str().unwrap().contains(':')).collect();
        assert_eq!(
            told,
            families.iter().map(|it| *it == "IPv6").collect::<Vec<_>>(),
            "{name}: {addresses:?}"
        );
        versions.push(service.resource_version());
    }
    operator.stop().await;
    // Another one has nothing to put right: it comes to the last one last.
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "zz", "{}").await.unwrap();
    until(&client, &namespace, "zz", is("CertificatesReady", "True", "Issued")).await;
    let mut now = Vec::new();
    for (name, ..) in &cases {
        now.push(services.get(name).await.unwrap().resource_version());
    }
    operator.stop().await;
    assert_eq!(versions, now);
}

//! Connectors that the operator runs in this cluster, against a real API server: what is written, put back, left alone,
//! and said of them.

use std::ops::Range;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use portcullis_api::{Gateway, Tunnel};
use portcullis_operator::clock::{Clock as _, SetClock, SystemClock};
use portcullis_operator::names;
use portcullis_operator::world::Kind;
use portcullis_pki::{LeafFacts, Usage, read_leaf};
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::secret;
use portcullis_tests::tunnel::{apply as apply_tunnel, condition, until};
use portcullis_tests::{apply, children, client, delete, is, meddle, namespace, until_child};
use serde_json::{Value, json};

const DOOR: &str = "tunnels: {domain: t.example.com}";
const WEB: &str = "
gatewayRef: {name: door}
label: web
endpoint: http://web:8080
access: {auth: None}
connector: {replicas: 3, resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}}
";
const NAME: &str = "web-connector";

/// A Gateway named door, and a Tunnel named web whose connector is there.
async fn connected() -> (Client, String, Operator) {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", DOOR).await.unwrap();
    apply_tunnel(&client, &namespace, "web", WEB).await;
    until_child(&client, &namespace, Kind::Deployment, NAME, |it| it.is_some()).await;
    until(&client, &namespace, "web", ["Accepted", "True", "Accepted"]).await;
    (client, namespace, operator)
}

/// What the connector's certificate says; panics where its key is another one's.
async fn leaf(client: &Client, namespace: &str) -> LeafFacts {
    let data = secret(client, namespace, NAME).await;
    read_leaf(&data["tls.crt"], &data["tls.key"]).unwrap()
}

/// The same, with nothing left to write: others have come and gone in the queues since.
async fn settled() -> (Client, String, Operator) {
    let (client, namespace, operator) = connected().await;
    others_are_done(&client, &namespace, 90..92).await;
    (client, namespace, operator)
}

/// Waits until all that is due by now was done: whoever comes later in the queues is done.
async fn others_are_done(client: &Client, namespace: &str, numbers: Range<u32>) {
    for number in numbers {
        let (door, tunnel) = (format!("other-{number}"), format!("later-{number}"));
        apply(client, namespace, &door, DOOR).await.unwrap();
        portcullis_tests::until(client, namespace, &door, is("CertificatesReady", "True", "Issued")).await;
        let spec = format!("{{gatewayRef: {{name: {door}}}, endpoint: 'a:1', access: {{auth: None}}}}");
        apply_tunnel(client, namespace, &tunnel, &spec).await;
        until(client, namespace, &tunnel, ["Accepted", "True", "Accepted"]).await;
    }
}

fn about_web(writes: Vec<String>) -> Vec<String> {
    writes.into_iter().filter(|write| write.contains("/web")).collect()
}

#[tokio::test]
async fn a_connector_gets_pods_and_a_certificate_for_its_tunnel_alone_in_few_writes() {
    let (client, namespace, operator) = connected().await;
    let (data, authority) =
        (secret(&client, &namespace, NAME).await, secret(&client, &namespace, "door-ca").await);
    assert_eq!(data["ca.crt"], authority["ca-1.crt"]);
    let leaf = leaf(&client, &namespace).await;
    assert_eq!(leaf.usage, Some(Usage::Client));
    assert_eq!(
        leaf.uris,
        [format!("spiffe://cluster.local/ns/{namespace}/gateway/door/tunnel/{namespace}/web")]
    );
    assert_eq!((leaf.not_after - leaf.not_before).whole_days(), 7);

    let deployment = children(&client, &namespace, Kind::Deployment).get(NAME).await.unwrap();
    let owner = &deployment.owner_references()[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.controller), ("Tunnel", "web", Some(true)));
    let pods = &deployment.data["spec"]["template"]["spec"];
    let container = &pods["containers"][0];
    assert_eq!(
        container["args"],
        json!([
            "connector",
            format!("{namespace}/web"),
            format!("--gateway=https://door.{namespace}.svc:443"),
            "--credentials=/etc/portcullis/connector-tls",
            "--endpoint=http://web:8080",
            "--health-listen=[::]:8081",
            "--metrics-listen=[::]:9090",
            "--log-format=json",
        ])
    );
    assert_eq!(container["image"], "localhost/portcullis:dev");
    assert_eq!(container["resources"]["limits"]["memory"], "64Mi");
    assert_eq!(pods["automountServiceAccountToken"], false);
    assert_eq!(deployment.data["spec"]["replicas"], 3);

    let script = operator.script.clone();
    operator.stop().await;
    let writes = about_web(script.writes());
    assert!(writes.len() <= 7, "{writes:#?}");
}

#[tokio::test]
async fn what_somebody_changes_or_deletes_of_a_connector_is_put_back_and_what_others_add_stays() {
    let (client, namespace, _operator) = connected().await;
    let kinds = [Kind::Deployment, Kind::PodDisruptionBudget, Kind::Secret];
    let theirs = json!({ "metadata": { "annotations": { "example.com/theirs": "yes" } } });
    for kind in kinds {
        meddle(&client, &namespace, kind, NAME, theirs.clone()).await;
    }
    meddle(&client, &namespace, Kind::Deployment, NAME, json!({ "spec": { "replicas": 0 } })).await;
    until_child(&client, &namespace, Kind::Deployment, NAME, |it| {
        it.is_some_and(|it| it.data["spec"]["replicas"] == 3)
    })
    .await;
    let off = json!({ "metadata": { "labels": { "portcullis.dev/tunnel": null } } });
    let key = secret(&client, &namespace, NAME).await["tls.key"].clone();
    for kind in kinds {
        meddle(&client, &namespace, kind, NAME, off.clone()).await;
        until_child(&client, &namespace, kind, NAME, |it| {
            it.is_some_and(|it| it.labels().get("portcullis.dev/tunnel").is_some_and(|it| it == "web"))
        })
        .await;
        let object = children(&client, &namespace, kind).get(NAME).await.unwrap();
        assert_eq!(object.annotations()["example.com/theirs"], "yes");
    }
    assert_eq!(secret(&client, &namespace, NAME).await["tls.key"], key, "its data is left as it is");
    for kind in kinds {
        let uid = children(&client, &namespace, kind).get(NAME).await.unwrap().uid();
        delete(&client, &namespace, kind, NAME).await;
        until_child(&client, &namespace, kind, NAME, |it| it.is_some_and(|it| it.uid() != uid)).await;
    }
    assert_ne!(secret(&client, &namespace, NAME).await["tls.key"], key, "a new key");
}

#[tokio::test]
async fn a_settled_connector_is_never_written_again_not_even_after_a_restart() {
    let (client, namespace, operator) = settled().await;
    operator.stop().await;
    let before = portcullis_tests::managed(&client, &namespace).await;
    let operator = Operator::start(&namespace).await;
    others_are_done(&client, &namespace, 0..2).await;
    let script = operator.script.clone();
    operator.stop().await;
    assert_eq!(about_web(script.writes()), Vec::<String>::new());
    let after = portcullis_tests::managed(&client, &namespace).await;
    for (slot, object) in before {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        assert_eq!(version(&after[&slot]), version(&object), "{slot:?}");
    }
}

#[tokio::test]
async fn a_foreign_object_of_a_connectors_name_is_left_as_it_is_and_named() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let foreign: Secret =
        serde_json::from_value(json!({ "metadata": { "name": NAME }, "stringData": { "theirs": "yes" } }))
            .unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let before = secrets.create(&PostParams::default(), &foreign).await.unwrap();
    let _operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", DOOR).await.unwrap();
    apply_tunnel(&client, &namespace, "web", WEB).await;
    let refused = until(&client, &namespace, "web", ["Accepted", "False", "NameConflict"]).await;
    assert_eq!(
        condition(&refused, "Accepted").unwrap().message,
        "Secret web-connector already exists and was not made by Portcullis; it is left as it is. Rename or remove it, or give the Tunnel another name"
    );
    assert_eq!(condition(&refused, "Ready").unwrap().reason, "NameConflict");
    assert_eq!(secrets.get(NAME).await.unwrap().resource_version(), before.resource_version());
    let deployments = children(&client, &namespace, Kind::Deployment);
    assert!(deployments.get_opt(NAME).await.unwrap().is_none(), "no pod is to find what is in it");
    secrets.delete(NAME, &DeleteParams::default()).await.unwrap();
    until_child(&client, &namespace, Kind::Deployment, NAME, |it| it.is_some()).await;
    until(&client, &namespace, "web", ["Accepted", "True", "Accepted"]).await;
    leaf(&client, &namespace).await;
}

#[tokio::test]
async fn a_connector_that_is_wanted_no_more_goes_and_one_that_makes_no_sense_stays_as_it_was() {
    let (client, namespace, _operator) = connected().await;
    let version = |it: &kube::api::DynamicObject| it.resource_version();
    let deployments = children(&client, &namespace, Kind::Deployment);
    let before = version(&deployments.get(NAME).await.unwrap());
    apply_tunnel(&client, &namespace, "web", &WEB.replace("http://web:8080", "http://127.0.0.1:8080")).await;
    let refused = until(&client, &namespace, "web", ["Accepted", "False", "InvalidConnector"]).await;
    let message = &condition(&refused, "Accepted").unwrap().message;
    assert!(message.starts_with("spec.endpoint is http://localhost:8080, which"), "{message}");
    assert_eq!(version(&deployments.get(NAME).await.unwrap()), before);

    let (without, _) = WEB.split_once("connector:").unwrap();
    apply_tunnel(&client, &namespace, "web", without).await;
    for kind in [Kind::Deployment, Kind::PodDisruptionBudget, Kind::Secret] {
        until_child(&client, &namespace, kind, NAME, |it| it.is_none()).await;
    }
    let alone = until(&client, &namespace, "web", ["Connected", "False", "NoConnector"]).await;
    let message = &condition(&alone, "Connected").unwrap().message;
    assert!(message.contains(&format!("portcullis connector {namespace}/web")), "{message}");
}

#[tokio::test]
async fn a_deleted_tunnel_is_forgotten_and_nothing_of_it_is_put_back() {
    let (client, namespace, operator) = settled().await;
    for kind in [Kind::Deployment, Kind::PodDisruptionBudget, Kind::Secret] {
        let object = children(&client, &namespace, kind).get(NAME).await.unwrap();
        let owner = &object.owner_references()[0];
        assert!(
            owner.kind == "Tunnel" && owner.controller == Some(true),
            "it would be left behind: {owner:?}"
        );
    }
    let api: Api<Tunnel> = Api::namespaced(client.clone(), &namespace);
    let gone = api.delete("web", &DeleteParams::default()).await.unwrap();
    assert!(gone.is_right(), "no finalizer holds it");
    // Known, by whoever comes after it.
    others_are_done(&client, &namespace, 92..93).await;
    let before = operator.script.writes().len();
    // As the garbage collector would.
    for kind in [Kind::Deployment, Kind::PodDisruptionBudget, Kind::Secret] {
        delete(&client, &namespace, kind, NAME).await;
    }
    others_are_done(&client, &namespace, 0..2).await;
    assert_eq!(about_web(operator.script.writes().split_off(before)), Vec::<String>::new());
    let (_, metrics) = operator.page("/metrics").await;
    assert!(metrics.contains("\nportcullis_operator_tunnels 5\n"), "{metrics}");
    assert!(metrics.contains("kind=\"TunnelStatus\""), "{metrics}");
    operator.stop().await;
}

#[tokio::test]
async fn a_pod_of_a_connector_that_does_not_come_up_is_told_in_the_kubelets_words() {
    let (client, namespace, _operator) = connected().await;
    let waiting = until(&client, &namespace, "web", ["Connected", "False", "NoConnector"]).await;
    let said = format!(
        "No pod of Deployment {namespace}/{NAME} is connected yet: where that lasts, its log says why"
    );
    assert_eq!(condition(&waiting, "Connected").unwrap().message, said);
    let account = serde_json::from_value(json!({ "metadata": { "name": "default" } })).unwrap();
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(client.clone(), &namespace);
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let pod = json!({
        "metadata": { "name": "web-connector-1", "labels": names::connector_labels("web") },
        "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "connector", "image": "a" }] },
    });
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let waiting = json!({ "reason": "ImagePullBackOff", "message": "Back-off pulling image \"a\"" });
    let status = json!({ "status": { "containerStatuses": [{
        "name": "connector", "image": "a", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": waiting },
    }] } });
    pods.patch_status("web-connector-1", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let failing = until(&client, &namespace, "web", ["Connected", "False", "PodFailing"]).await;
    assert_eq!(
        condition(&failing, "Connected").unwrap().message,
        format!(
            "Deployment {namespace}/{NAME}: pod web-connector-1: container connector: ImagePullBackOff: Back-off pulling image \"a\""
        )
    );
    pods.delete("web-connector-1", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&client, &namespace, "web", ["Connected", "False", "NoConnector"]).await;
}

#[tokio::test]
async fn a_connectors_certificate_is_renewed_at_two_thirds_of_its_life_and_not_before() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let clock = Arc::new(SetClock::new(SystemClock.now()));
    let operator = Operator::start_with(&namespace, |_| {}, Arc::default(), clock.clone()).await;
    apply(&client, &namespace, "door", DOOR).await.unwrap();
    apply_tunnel(&client, &namespace, "web", WEB).await;
    until_child(&client, &namespace, Kind::Deployment, NAME, |it| it.is_some()).await;
    let first = leaf(&client, &namespace).await;
    let api: Api<Tunnel> = Api::namespaced(client.clone(), &namespace);
    for (days, is_due, later) in [(4, false, 0), (1, true, 2)] {
        clock.advance(time::Duration::days(days));
        let touch = json!({ "metadata": { "annotations": { "example.com/at": clock.now().to_string() } } });
        api.patch("web", &PatchParams::default(), &Patch::Merge(&touch)).await.unwrap();
        others_are_done(&client, &namespace, later..later + 2).await;
        let now = leaf(&client, &namespace).await;
        assert_eq!(now.fingerprint != first.fingerprint, is_due, "after {days} more days");
    }
    operator.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_made_anew_gives_connectors_certificates_of_its_new_authority() {
    let (client, namespace, _operator) = connected().await;
    let before = secret(&client, &namespace, NAME).await["ca.crt"].clone();
    let api: Api<Gateway> = Api::namespaced(client.clone(), &namespace);
    api.delete("door", &DeleteParams::default()).await.unwrap();
    until(&client, &namespace, "web", ["Accepted", "False", "GatewayNotFound"]).await;
    assert_eq!(secret(&client, &namespace, NAME).await["ca.crt"], before, "what there is stays");
    // No garbage collector runs here.
    for kind in Kind::ALL {
        let params = kube::api::ListParams::default().labels("portcullis.dev/gateway=door");
        children(&client, &namespace, kind)
            .delete_collection(&DeleteParams::default(), &params)
            .await
            .unwrap();
    }
    apply(&client, &namespace, "door", DOOR).await.unwrap();
    portcullis_tests::until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let authority = secret(&client, &namespace, "door-ca").await["ca-1.crt"].clone();
    assert_ne!(authority, before);
    until_child(&client, &namespace, Kind::Secret, NAME, |it| {
        it.is_some_and(|it| {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(&authority);
            it.data["data"]["ca.crt"] == encoded.as_str()
        })
    })
    .await;
    leaf(&client, &namespace).await;
}

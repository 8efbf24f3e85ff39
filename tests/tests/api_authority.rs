//! The authority's Secret is lost, spoilt, or fought over: nothing is reissued under clients' feet.

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use portcullis_operator::world::Kind;
use portcullis_tests::operator::Operator;
use portcullis_tests::settled::settled;
use portcullis_tests::{
    apply, children, client, delete, is, managed, meddle, message, namespace, until, until_child,
};
use serde_json::{Value, json};

const SPEC: &str = "clients: [{name: alice}]";

async fn door() -> (kube::Client, String, Operator) {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    (client, namespace, operator)
}

async fn data(client: &kube::Client, namespace: &str, name: &str) -> Value {
    children(client, namespace, Kind::Secret).get(name).await.unwrap().data["data"].clone()
}

#[tokio::test]
async fn a_deleted_authority_is_restored_by_the_operator_that_remembers_it() {
    let (client, namespace, _operator) = door().await;
    let before = data(&client, &namespace, "door-ca").await;
    let leaves = data(&client, &namespace, "door-client-alice").await;
    delete(&client, &namespace, Kind::Secret, "door-ca").await;
    until_child(&client, &namespace, Kind::Secret, "door-ca", |it| it.is_some()).await;
    assert_eq!(data(&client, &namespace, "door-ca").await, before);
    assert_eq!(data(&client, &namespace, "door-client-alice").await, leaves);
}

#[tokio::test]
async fn a_deleted_authority_that_nobody_remembers_is_reported_and_nothing_is_issued() {
    let (client, namespace, operator) = door().await;
    operator.stop().await;
    let authority = children(&client, &namespace, Kind::Secret).get("door-ca").await.unwrap();
    delete(&client, &namespace, Kind::Secret, "door-ca").await;
    let before = managed(&client, &namespace).await;
    let operator = Operator::start(&namespace).await;
    let gateway =
        until(&client, &namespace, "door", is("CertificatesReady", "False", "AuthorityMissing")).await;
    assert!(
        message(&gateway, "CertificatesReady").contains("restore Secret door-ca from a backup"),
        "{gateway:#?}"
    );
    assert_eq!(managed(&client, &namespace).await, before, "everything that there is stays");

    let mut backup = authority.clone();
    backup.metadata = kube::api::ObjectMeta {
        name: Some("door-ca".into()),
        labels: authority.metadata.labels,
        ..Default::default()
    };
    children(&client, &namespace, Kind::Secret).create(&PostParams::default(), &backup).await.unwrap();
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    settled(&client, &namespace, "door").await;
    operator.stop().await;
}

#[tokio::test]
async fn a_spoilt_authority_is_reported_in_words_after_a_restart_and_never_replaced() {
    let other = {
        let (client, namespace, _operator) = door().await;
        data(&client, &namespace, "door-ca").await
    };
    let truncated = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUI=";
    for (patch, words) in [
        (json!({ "ca-1.crt": truncated }), "the certificate is truncated"),
        (json!({ "ca-1.key": other["ca-1.key"] }), "the private key does not match the certificate"),
        (other.clone(), "holds another authority"),
    ] {
        let (client, namespace, operator) = door().await;
        operator.stop().await;
        let leaves = data(&client, &namespace, "door-client-alice").await;
        meddle(&client, &namespace, Kind::Secret, "door-ca", json!({ "data": patch })).await;
        let spoilt = data(&client, &namespace, "door-ca").await;
        let operator = Operator::start(&namespace).await;
        let gateway =
            until(&client, &namespace, "door", is("CertificatesReady", "False", "AuthorityUnusable")).await;
        assert!(message(&gateway, "CertificatesReady").contains(words), "{gateway:#?}");
        assert_eq!(data(&client, &namespace, "door-ca").await, spoilt);
        assert_eq!(data(&client, &namespace, "door-client-alice").await, leaves);
        operator.stop().await;
    }
}

#[tokio::test]
async fn a_spoilt_bundle_is_issued_anew_from_the_same_authority() {
    let (client, namespace, _operator) = door().await;
    let authority = data(&client, &namespace, "door-ca").await;
    meddle(
        &client,
        &namespace,
        Kind::Secret,
        "door-client-alice",
        json!({ "data": { "tls.crt": "bm9uZQ==" } }),
    )
    .await;
    until_child(&client, &namespace, Kind::Secret, "door-client-alice", |it| {
        it.is_some_and(|it| it.data["data"]["tls.crt"] != "bm9uZQ==")
    })
    .await;
    settled(&client, &namespace, "door").await;
    assert_eq!(data(&client, &namespace, "door-ca").await, authority);
}

#[tokio::test]
async fn a_gateway_that_is_applied_again_does_not_inherit_the_authority_of_the_one_before() {
    let (client, namespace, _operator) = door().await;
    let before = data(&client, &namespace, "door-ca").await;
    let gateways: kube::Api<portcullis_api::Gateway> = kube::Api::namespaced(client.clone(), &namespace);
    gateways.delete("door", &kube::api::DeleteParams::default()).await.unwrap();
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    let gateway = until(&client, &namespace, "door", is("Accepted", "False", "NameConflict")).await;
    assert!(
        message(&gateway, "Accepted").contains("belongs to Gateway door"),
        "{}",
        message(&gateway, "Accepted")
    );
    // There is no garbage collector without a controller manager: this is what it does.
    for ((kind, name), _) in managed(&client, &namespace).await {
        delete(&client, &namespace, kind, &name).await;
    }
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    settled(&client, &namespace, "door").await;
    assert_ne!(data(&client, &namespace, "door-ca").await, before);
}

#[tokio::test]
async fn where_the_authoritys_name_is_taken_nothing_is_signed_until_it_is_free() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let theirs: Secret = serde_json::from_value(
        json!({ "metadata": { "name": "door-ca" }, "stringData": { "theirs": "yes" } }),
    )
    .unwrap();
    let secrets: kube::Api<Secret> = kube::Api::namespaced(client.clone(), &namespace);
    secrets.create(&PostParams::default(), &theirs).await.unwrap();
    let _operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    until(&client, &namespace, "door", is("Accepted", "False", "NameConflict")).await;
    let made = managed(&client, &namespace).await;
    let signed = made.keys().filter(|(kind, _)| matches!(kind, Kind::Secret | Kind::ConfigMap));
    assert_eq!(
        signed.collect::<Vec<_>>(),
        Vec::<&(Kind, String)>::new(),
        "signed by an authority that is nowhere"
    );
    delete(&client, &namespace, Kind::Secret, "door-ca").await;
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    settled(&client, &namespace, "door").await;
}

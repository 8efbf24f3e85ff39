//! Authorities that the real cert-manager issues when asked: taken, rotated, waited for, denied, refused, and done without
//! where cert-manager is not installed.

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt as _};
use portcullis_api::{BroughtStatus, Gateway, RotationPhase};
use portcullis_operator::world::Kind;
use portcullis_tests::cert_manager::{self, CertManager, decide, put_issuer, requests};
use portcullis_tests::company::{Company, Keys};
use portcullis_tests::operator::Operator;
use portcullis_tests::page::{Page, Reader, holds};
use portcullis_tests::replica::{obedient, ready_pod, secret};
use portcullis_tests::settled::settled;
use portcullis_tests::{PATIENCE, apply, children, client, is, message, namespace, until, until_child};
use serde_json::json;
use tokio::sync::{OnceCell, RwLock};

const SPEC: &str =
    "{clients: [{name: alice}], pki: {ca: {issuerRef: {name: corp}, publishFor: 0s, retireAfter: 1s}}}";
/// Who takes the definitions away is alone.
static INSTALLED: RwLock<()> = RwLock::const_new(());
static INSTALL: OnceCell<()> = OnceCell::const_new();

/// A namespace in a cluster with cert-manager's definitions.
async fn begin() -> (Client, String) {
    let client = client().await;
    INSTALL.get_or_init(|| cert_manager::install(&client)).await;
    let namespace = namespace(&client).await;
    (client, namespace)
}

fn brought(gateway: &Gateway) -> Option<BroughtStatus> {
    gateway.status.as_ref()?.ca.as_ref()?.brought.clone()
}

fn is_stable_at(generation: i64) -> impl Fn(&Gateway) -> bool {
    move |gateway| {
        let ca = gateway.status.as_ref().and_then(|status| status.ca.as_ref());
        ca.is_some_and(|ca| (ca.phase, ca.generation) == (RotationPhase::Stable, generation))
    }
}

async fn annotate(client: &Client, namespace: &str, id: &str) {
    let api: Api<Gateway> = Api::namespaced(client.clone(), namespace);
    let patch = json!({ "metadata": { "annotations": { "portcullis.dev/rotate": id } } });
    api.patch("door", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// What openssl says of both leaves, as far as the issuer's root.
async fn leads_to(client: &Client, namespace: &str, company: &Company) {
    for (name, side) in [("door-server", "sslserver"), ("door-client-alice", "sslclient")] {
        let data = secret(client, namespace, name).await;
        assert_eq!(company.verify(&data["tls.crt"], side), Ok(()), "{name}");
        assert_eq!(data["ca.crt"].trim(), company.root().trim(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_lead_to_the_issuers_root_for_openssl_and_each_rotation_asks_for_another_intermediate() {
    let _installed = INSTALLED.read().await;
    for keys in [Keys::Ec, Keys::Rsa] {
        let (client, namespace) = begin().await;
        let company = Company::new("Example", keys);
        let _cert_manager = CertManager::start(Some(&namespace), true);
        put_issuer(&client, &namespace, "corp", &company).await;
        let operator = Operator::start(&namespace).await;
        apply(&client, &namespace, "door", SPEC).await.unwrap();
        ready_pod(&client, &namespace, "door", "door-1").await;
        until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
        let serves = obedient(client.clone(), namespace.clone(), &operator);
        let gateway = until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
        let first = brought(&gateway).unwrap();
        assert_eq!(first.subject, format!("CN=portcullis {namespace}/door G1"));
        assert_eq!(first.issuer_ref.unwrap().to_string(), "Issuer corp");
        leads_to(&client, &namespace, &company).await;
        until_child(&client, &namespace, Kind::Secret, "door-request", |it| it.is_none()).await;

        annotate(&client, &namespace, "one").await;
        let gateway = until(&client, &namespace, "door", is_stable_at(2)).await;
        let second = brought(&gateway).unwrap();
        assert_eq!(second.root_fingerprint, first.root_fingerprint);
        assert_eq!(second.subject, format!("CN=portcullis {namespace}/door G2"));
        leads_to(&client, &namespace, &company).await;
        // The request of what is gone goes too.
        let gone = first.request.unwrap();
        until_child(&client, &namespace, Kind::CertificateRequest, &gone, |it| it.is_none()).await;
        assert_eq!(requests(&client, &namespace).await, [second.request.unwrap()]);
        serves.abort();
        operator.stop().await;
        settled(&client, &namespace, "door").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_not_there_yet_is_said_and_waited_for() {
    let _installed = INSTALLED.read().await;
    let (client, namespace) = begin().await;
    let company = Company::new("Example", Keys::Ec);
    let _cert_manager = CertManager::start(Some(&namespace), true);
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    let is_said = |gateway: &Gateway| {
        is("CertificatesReady", "False", "RequestPending")(gateway)
            && message(gateway, "CertificatesReady")
                .contains("is not answered yet: Referenced \"Issuer\" not found")
    };
    let waits = until(&client, &namespace, "door", is_said).await;
    let [request] = &requests(&client, &namespace).await[..] else { panic!("not one request") };
    let said = message(&waits, "CertificatesReady");
    assert!(
        said.ends_with(&format!("kubectl -n {namespace} describe certificaterequest {request}")),
        "{said}"
    );

    put_issuer(&client, &namespace, "corp", &company).await;
    let gateway = until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    assert_eq!(brought(&gateway).unwrap().request.as_ref(), Some(request), "the same request is answered");
    leads_to(&client, &namespace, &company).await;
    operator.stop().await;
    settled(&client, &namespace, "door").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_issuer_is_asked_as_an_issuer_is() {
    let _installed = INSTALLED.read().await;
    let (client, namespace) = begin().await;
    let company = Company::new("Example", Keys::Ec);
    // It looks after every namespace, and approves nothing there.
    let _cert_manager = CertManager::start(None, false);
    cert_manager::put_cluster_issuer(&client, &namespace, &company).await;
    let operator = Operator::start(&namespace).await;
    let spec = SPEC.replace("name: corp", &format!("name: {namespace}, kind: ClusterIssuer"));
    apply(&client, &namespace, "door", &spec).await.unwrap();
    let request = another(&client, &namespace, "").await;
    decide(&client, &namespace, &request, "Approved", "it may").await;
    let gateway = until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let told = brought(&gateway).unwrap().issuer_ref.unwrap();
    assert_eq!(told.to_string(), format!("ClusterIssuer {namespace}"));
    leads_to(&client, &namespace, &company).await;
    operator.stop().await;
    settled(&client, &namespace, "door").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_said_and_asked_for_again_later() {
    let _installed = INSTALLED.read().await;
    let (client, namespace) = begin().await;
    let company = Company::new("Example", Keys::Ec);
    // Nobody approves but this test.
    let _cert_manager = CertManager::start(Some(&namespace), false);
    put_issuer(&client, &namespace, "corp", &company).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    until(&client, &namespace, "door", is("CertificatesReady", "False", "RequestPending")).await;
    let first = another(&client, &namespace, "").await;
    decide(&client, &namespace, &first, "Denied", "no authorities\nin this house").await;
    let denied = until(&client, &namespace, "door", is("CertificatesReady", "False", "RequestDenied")).await;
    let said = message(&denied, "CertificatesReady");
    let wanted =
        format!("CertificateRequest {first} to Issuer corp was denied: no authorities in this house. Let");
    assert!(said.starts_with(&wanted), "{said}");

    let second = another(&client, &namespace, &first).await;
    decide(&client, &namespace, &second, "Approved", "now they are").await;
    let gateway = until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    assert_eq!(brought(&gateway).unwrap().request, Some(second.clone()));
    leads_to(&client, &namespace, &company).await;
    until_child(&client, &namespace, Kind::CertificateRequest, &first, |it| it.is_none()).await;
    operator.stop().await;
    settled(&client, &namespace, "door").await;
}

/// The name of a request that is not this one, as soon as there is one.
async fn another(client: &Client, namespace: &str, than: &str) -> String {
    let began = tokio::time::Instant::now();
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(100));
    loop {
        if let Some(name) = requests(client, namespace).await.into_iter().find(|name| name != than) {
            return name;
        }
        assert!(began.elapsed() < PATIENCE, "nobody asks");
        pace.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_cannot_carry_it_out_stops_nothing_but_the_next_rotation() {
    let _installed = INSTALLED.read().await;
    let (client, namespace) = begin().await;
    let _cert_manager = CertManager::start(Some(&namespace), true);
    // It wants an annotation that names the key, which stays where it is.
    cert_manager::put(&client, &namespace, "corp", &json!({ "selfSigned": {} })).await;
    let operator = Operator::start(&namespace).await;
    let own = SPEC.replace("issuerRef: {name: corp}, ", "");
    apply(&client, &namespace, "door", &own).await.unwrap();
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    let warned = until(&client, &namespace, "door", is("Warning", "True", "RequestFailed")).await;
    let said = message(&warned, "Warning");
    assert!(
        said.contains("failed: Annotation \"cert-manager.io/private-key-secret-name\" missing"),
        "{said}"
    );
    assert!(said.ends_with(&format!("(CN=portcullis {namespace}/door G1) signs on")), "{said}");
    apply(&client, &namespace, "door", &SPEC.replace("{name: alice}", "{name: alice}, {name: bob}"))
        .await
        .unwrap();
    until_child(&client, &namespace, Kind::Secret, "door-client-bob", |it| it.is_some()).await;

    // Back again: what was asked is taken back.
    apply(&client, &namespace, "door", &own).await.unwrap();
    let calm = |gateway: &Gateway| {
        gateway.status.iter().all(|it| it.conditions.iter().all(|it| it.type_ != "Warning"))
    };
    until(&client, &namespace, "door", calm).await;
    until_child(&client, &namespace, Kind::Secret, "door-request", |it| it.is_none()).await;
    assert_eq!(requests(&client, &namespace).await, Vec::<String>::new());
    operator.stop().await;
    settled(&client, &namespace, "door").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_cert_manager_is_not_installed_that_is_said_until_it_is_and_others_live_on() {
    let _alone = INSTALLED.write().await;
    let (client, namespace) = begin().await;
    let company = Company::new("Example", Keys::Ec);
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let definitions: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    for name in ["certificaterequests.cert-manager.io", "issuers.cert-manager.io"] {
        let uid = definitions.get(name).await.unwrap().uid().unwrap();
        definitions.delete(name, &DeleteParams::default()).await.unwrap();
        let gone = await_condition(definitions.clone(), name, kube::runtime::conditions::is_deleted(&uid));
        tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
    }
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    let missing =
        until(&client, &namespace, "door", is("CertificatesReady", "False", "CertManagerMissing")).await;
    let said = message(&missing, "CertificatesReady");
    assert!(
        said.contains("this cluster has no CertificateRequests (cert-manager.io/v1). Install cert-manager"),
        "{said}"
    );
    apply(&client, &namespace, "other", "{clients: [{name: alice}]}").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    // Whoever starts anew is ready without it, too.
    operator.stop().await;
    let operator = Operator::start(&namespace).await;
    let began = tokio::time::Instant::now();
    while operator.page("/readyz").await.0 != 200 {
        assert!(began.elapsed() < PATIENCE, "{:?}", operator.page("/readyz").await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    cert_manager::install(&client).await;
    put_issuer(&client, &namespace, "corp", &company).await;
    let _cert_manager = CertManager::start(Some(&namespace), true);
    let gateway = until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    assert_eq!(brought(&gateway).unwrap().issuer_ref.unwrap().name, "corp");
    leads_to(&client, &namespace, &company).await;
    let asked = children(&client, &namespace, Kind::CertificateRequest);
    let request = brought(&gateway).unwrap().request.unwrap();
    assert_eq!(asked.get(&request).await.unwrap().data["spec"]["isCA"], true);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_looks_at_requests_where_nobody_asks() {
    let _installed = INSTALLED.read().await;
    let (client, namespace) = begin().await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", "{clients: [{name: alice}]}").await.unwrap();
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let asked = |operator: &Operator| {
        operator.script.asked().into_iter().filter(|(_, what)| what.starts_with("cert-manager.io/")).count()
    };
    assert_eq!(asked(&operator), 0);
    apply(&client, &namespace, "door", "{pki: {ca: {issuerRef: {name: corp}}}}").await.unwrap();
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    another(&client, &namespace, "").await;
    assert!(asked(&operator) >= 3, "list, watch and patch");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_asked_for_as_the_page_says() {
    let _installed = INSTALLED.read().await;
    let (client, namespace) = begin().await;
    let company = Company::new("Example", Keys::Ec);
    let _cert_manager = CertManager::start(Some(&namespace), true);
    let operator = Operator::start(&namespace).await;
    let page = Page::read("docs/how-to/bring-your-own-ca.md", &["Ask"]).at(&[("demo", &namespace)]);
    let reader = Reader::new();
    std::fs::write(reader.folder.path().join("root.crt"), company.root()).unwrap();
    std::fs::write(reader.folder.path().join("root.key"), company.root_key()).unwrap();
    let printed = tokio::time::timeout(PATIENCE * 2, reader.types(&page)).await.unwrap();
    let [request] = &requests(&client, &namespace).await[..] else { panic!("not one request: {printed}") };
    holds(&printed, &[&format!("example-ca {request}"), "tls.crt: OK"]);
    operator.stop().await;
}

//! What the tests against a real API server share: a namespace per test, the operator in-process, and a client whose
//! writes can be counted and failed. Started by `cargo xtask test`, which brings the cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Config, ResourceExt as _};
use portcullis_api::Gateway;
use portcullis_operator::names;
use portcullis_operator::world::Kind;
use serde_json::Value;
use tokio::sync::OnceCell;

pub mod cert_manager;
pub mod chart;
pub mod cli;
pub mod command;
pub mod company;
pub mod door;
pub mod faults;
pub mod gitops;
pub mod lag;
pub mod leader;
pub mod mutual;
pub mod operator;
pub mod page;
pub mod ports;
pub mod process;
pub mod real;
pub mod replica;
pub mod rotation;
pub mod settled;
pub mod tunnel;
pub mod visitor;

/// Nothing here takes longer, on a machine that is busy with other things too; where it does, something is wrong.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The cluster's configuration.
pub async fn config() -> Config {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "these tests need a cluster: run them with `cargo xtask test`"
    );
    Config::infer().await.expect("KUBECONFIG names a cluster")
}

/// A client that nobody meddles with.
pub async fn client() -> Client {
    Client::try_from(config().await).expect("the configuration makes a client")
}

/// A namespace for one test, with the CRDs installed.
pub async fn namespace(client: &Client) -> String {
    static CRDS: OnceCell<()> = OnceCell::const_new();
    CRDS.get_or_init(|| install_crds(client)).await;
    let mut namespace = Namespace::default();
    namespace.metadata.generate_name = Some("test-".to_owned());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace can be made").name_any()
}

async fn install_crds(client: &Client) {
    for crd in portcullis_api::crd::all() {
        install_definition(client, &crd).await;
    }
}

/// Installs what others define, from files that `cargo xtask test` fetched (`xtask/src/definitions.rs`).
pub async fn install_definitions(client: &Client, files: &[&str]) {
    let folder = std::env::var("PORTCULLIS_TEST_BIN").expect("cargo xtask test says where things are");
    for file in files {
        let path = std::path::Path::new(&folder).join("definitions").join(file);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let definition = serde_norway::from_str(&text).expect("a definition is one");
        install_definition(client, &definition).await;
    }
}

async fn install_definition(client: &Client, definition: &CustomResourceDefinition) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("portcullis-tests").force();
    let name = definition.name_any();
    definitions.patch(&name, &params, &Patch::Apply(definition)).await.expect("the API server takes the CRD");
    let established = await_condition(definitions, &name, kube::runtime::conditions::is_crd_established());
    tokio::time::timeout(PATIENCE, established).await.expect("in time").expect("the CRD is established");
}

/// Applies a document in a namespace, strictly: what its definition does not know is refused. Returns what is there then.
pub async fn apply_strictly(
    client: &Client,
    namespace: &str,
    document: &Value,
) -> Result<DynamicObject, kube::Error> {
    let types: TypeMeta = serde_json::from_value(document.clone()).expect("it has a kind");
    let kind = GroupVersionKind::try_from(&types).expect("it has a version");
    let (resource, _): (ApiResource, _) = kube::discovery::pinned_kind(client, &kind).await?;
    let mut document = document.clone();
    document["metadata"]["namespace"] = namespace.into();
    let name = document["metadata"]["name"].as_str().expect("it has a name").to_owned();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let params =
        PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::apply("admin") };
    api.patch(&name, &params, &Patch::Apply(&document)).await
}

/// Applies a Gateway, given its spec as YAML, as an admin would.
pub async fn apply(client: &Client, namespace: &str, name: &str, spec: &str) -> Result<Gateway, kube::Error> {
    let spec: Value = serde_norway::from_str(spec).expect("the test's YAML is YAML");
    let object = serde_json::json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Gateway",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    });
    let params =
        PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::apply("admin") };
    Api::<Gateway>::namespaced(client.clone(), namespace)
        .patch(name, &params.force(), &Patch::Apply(&object))
        .await
}

/// Waits until a Gateway is as wished, and returns it; fails with its last state.
pub async fn until(
    client: &Client,
    namespace: &str,
    name: &str,
    wish: impl Fn(&Gateway) -> bool + Send,
) -> Gateway {
    let api: Api<Gateway> = Api::namespaced(client.clone(), namespace);
    let met = await_condition(api.clone(), name, |gateway: Option<&Gateway>| gateway.is_some_and(&wish));
    let Ok(met) = tokio::time::timeout(PATIENCE, met).await else {
        panic!("not as wished: {:#?}", api.get(name).await.map(|gateway| gateway.status))
    };
    met.expect("the watch goes on").expect("it is there")
}

/// Status and reason of a condition, of the current generation.
pub fn condition(gateway: &Gateway, kind: &str) -> Option<(String, String)> {
    let status = gateway.status.as_ref()?;
    let condition = status.conditions.iter().find(|it| it.type_ == kind)?;
    (condition.observed_generation == gateway.metadata.generation)
        .then(|| (condition.status.clone(), condition.reason.clone()))
}

/// The message of a condition.
pub fn message(gateway: &Gateway, kind: &str) -> String {
    let conditions = gateway.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().find(|it| it.type_ == kind).map(|it| it.message.clone()).unwrap_or_default()
}

/// Whether a condition is so, for this reason.
pub fn is(
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
) -> impl Fn(&Gateway) -> bool + Copy {
    move |gateway| condition(gateway, kind).is_some_and(|it| it.0 == status && it.1 == reason)
}

/// Access to a kind of children.
pub fn children(client: &Client, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind.resource())
}

/// Every object in a namespace that says it is ours, by kind and name.
pub async fn managed(client: &Client, namespace: &str) -> BTreeMap<(Kind, String), Value> {
    let params = kube::api::ListParams::default().labels(names::MANAGED_SELECTOR);
    let mut found = BTreeMap::new();
    for kind in Kind::ALL.into_iter().chain([Kind::CertificateRequest]) {
        let listed = match children(client, namespace, kind).list(&params).await {
            // cert-manager's definitions are there only in some tests.
            Err(kube::Error::Api(status)) if kind == Kind::CertificateRequest && status.code == 404 => {
                continue;
            }
            listed => listed.expect("listing works"),
        };
        for object in listed {
            if object.name_any() != names::CONTROL_AUTHORITY {
                found.insert((kind, object.name_any()), serde_json::to_value(&object).expect("it is JSON"));
            }
        }
    }
    found
}

/// Waits until a child is as wished (None: gone).
pub async fn until_child(
    client: &Client,
    namespace: &str,
    kind: Kind,
    name: &str,
    wish: impl Fn(Option<&DynamicObject>) -> bool + Send,
) {
    let api = children(client, namespace, kind);
    let met = await_condition(api.clone(), name, wish);
    let Ok(met) = tokio::time::timeout(PATIENCE, met).await else {
        panic!("{} {name} is not as wished: {:#?}", kind.as_str(), api.get_opt(name).await)
    };
    met.expect("the watch goes on");
}

/// Deletes a child, as somebody careless would.
pub async fn delete(client: &Client, namespace: &str, kind: Kind, name: &str) {
    children(client, namespace, kind).delete(name, &DeleteParams::default()).await.expect("it was there");
}

/// Changes a child, as somebody careless would.
pub async fn meddle(client: &Client, namespace: &str, kind: Kind, name: &str, patch: Value) {
    let params = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    children(client, namespace, kind)
        .patch(name, &params, &Patch::Merge(&patch))
        .await
        .expect("it can be changed");
}

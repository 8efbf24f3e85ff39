//! The real cert-manager: its definitions, its controllers of issuers that hold a key
//! (`xtask/cluster/go/certmanager`), and what an admin writes for them.

use std::process::{Child, Command, Stdio};

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use portcullis_operator::world::Kind;
use serde_json::{Value, json};

use crate::company::{Company, put_secret};
use crate::door::tool_path;
use crate::{apply_strictly, children, install_definitions};

const DEFINITIONS: [&str; 3] = [
    "cert-manager.io_certificaterequests.yaml",
    "cert-manager.io_issuers.yaml",
    "cert-manager.io_clusterissuers.yaml",
];

/// Where cert-manager looks for what ClusterIssuers name.
const CLUSTER: &str = "cert-manager";

/// cert-manager's controllers, until this is dropped.
#[derive(Debug)]
pub struct CertManager(Child);

impl CertManager {
    /// Starts them for one namespace, or for all; they approve every request, as cert-manager does by itself, or leave that
    /// to the test.
    pub fn start(namespace: Option<&str>, approve: bool) -> Self {
        let kubeconfig = std::env::var("KUBECONFIG").expect("`cargo xtask test` says where the cluster is");
        let mut command = Command::new(tool_path("certmanager"));
        command.args(["--kubeconfig", &kubeconfig]).arg(format!("--approve={approve}"));
        command.args(namespace.iter().flat_map(|namespace| ["--namespace", namespace]));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.expect("cert-manager's controllers are built"))
    }
}

impl Drop for CertManager {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Installs its definitions.
pub async fn install(client: &Client) {
    install_definitions(client, &DEFINITIONS).await;
}

/// Writes an Issuer that signs with a company's root.
pub async fn put_issuer(client: &Client, namespace: &str, name: &str, company: &Company) {
    let data = [("tls.crt", &*company.root()), ("tls.key", &company.root_key())];
    put_secret(client, namespace, "root", &data).await;
    put(client, namespace, name, &json!({ "ca": { "secretName": "root" } })).await;
}

/// Writes an Issuer.
pub async fn put(client: &Client, namespace: &str, name: &str, spec: &Value) {
    let issuer = json!({ "apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": { "name": name }, "spec": spec });
    apply_strictly(client, namespace, &issuer).await.expect("cert-manager's definitions take it");
}

/// Writes a ClusterIssuer that signs with a company's root, which lies where cert-manager looks for it.
pub async fn put_cluster_issuer(client: &Client, name: &str, company: &Company) {
    let params = PatchParams::apply("admin").force();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": CLUSTER } });
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.patch(CLUSTER, &params, &Patch::Apply(&namespace)).await.expect("a namespace can be made");
    let data = [("tls.crt", &*company.root()), ("tls.key", &company.root_key())];
    put_secret(client, CLUSTER, name, &data).await;
    let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "ClusterIssuer");
    let issuers: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let issuer = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": { "name": name },
        "spec": { "ca": { "secretName": name } },
    });
    issuers.patch(name, &params, &Patch::Apply(&issuer)).await.expect("cert-manager's definitions take it");
}

/// Says whether a request is approved, as `cmctl approve` and `cmctl deny` do.
pub async fn decide(client: &Client, namespace: &str, request: &str, verdict: &str, why: &str) {
    let api: Api<DynamicObject> = children(client, namespace, Kind::CertificateRequest);
    let patch = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest", "metadata": { "name": request },
        "status": { "conditions": [{ "type": verdict, "status": "True", "reason": "tests", "message": why }] },
    });
    let params = PatchParams::apply("approver").force();
    api.patch_status(request, &params, &Patch::Apply(&patch)).await.expect("it can be decided");
}

/// The names of all requests in a namespace.
pub async fn requests(client: &Client, namespace: &str) -> Vec<String> {
    let api: Api<DynamicObject> = children(client, namespace, Kind::CertificateRequest);
    let listed = api.list(&kube::api::ListParams::default()).await.expect("listing works");
    listed.into_iter().filter_map(|it| it.metadata.name).collect()
}

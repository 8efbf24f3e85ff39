//! What an admin does: definitions, namespaces, Gateways.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};
use portcullis_api::Gateway;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How many requests are on their way at a time when many Gateways are applied at once.
pub const AT_ONCE: usize = 32;
/// What every Gateway sends to.
const BACKEND: &str = "web";
const PATIENCE: Duration = Duration::from_mins(1);

/// Installs the definitions.
pub async fn install(client: &Client) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in portcullis_api::crd::all() {
        let name = crd.name_any();
        crds.patch(&name, &manager(), &Patch::Apply(&crd)).await.context("failed to install a definition")?;
        let established = await_condition(crds.clone(), &name, is_crd_established());
        timeout(PATIENCE, established).await.context("the definition is not established in time")??;
    }
    Ok(())
}

/// Makes a namespace with the Service that its Gateways send to, unless they are there.
pub async fn namespace(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let wanted = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    namespaces.patch(name, &manager(), &Patch::Apply(wanted)).await.context("failed to make a namespace")?;
    let services: Api<Service> = Api::namespaced(client.clone(), name);
    let wanted = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": BACKEND },
        "spec": { "selector": { "app": BACKEND }, "ports": [{ "port": 80 }] },
    });
    services.patch(BACKEND, &manager(), &Patch::Apply(wanted)).await.context("failed to make a Service")?;
    Ok(())
}

/// Applies one Gateway: one client, one backend, as most will look.
pub async fn apply(client: &Client, namespace: &str, name: &str) -> Result<Gateway> {
    let gateways: Api<Gateway> = Api::namespaced(client.clone(), namespace);
    let applied = gateways.patch(name, &manager(), &Patch::Apply(gateway(name))).await;
    applied.with_context(|| format!("failed to apply Gateway {namespace}/{name}"))
}

/// Applies so many at once; each is handed on as soon as it is there.
pub async fn apply_all<F: Future<Output = Result<()>>>(
    client: &Client,
    namespace: &str,
    names: impl IntoIterator<Item = String>,
    each: impl Fn(Gateway) -> F,
) -> Result<()> {
    let each = &each;
    let applied = names.into_iter().map(|name| async move {
        let gateway = apply(client, namespace, &name).await?;
        each(gateway).await
    });
    stream::iter(applied).buffer_unordered(AT_ONCE).try_collect().await
}

fn gateway(name: &str) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "Gateway",
        "metadata": { "name": name },
        "spec": {
            "clients": [{ "name": "alice", "user": "alice@example.com", "roles": ["admin"] }],
            "backends": [
                { "name": "web", "match": { "pathPrefix": "/" }, "service": { "name": BACKEND, "port": 80 } },
            ],
        },
    })
}

fn manager() -> PatchParams {
    PatchParams::apply("admin").force()
}

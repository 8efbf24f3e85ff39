//! The API server's own floor: the writes that the operator makes, made by a client that decides nothing, watches
//! nothing and has every object ready.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use portcullis_api::Gateway;
use portcullis_operator::names;
use portcullis_operator::world::Kind;
use portcullis_operator::world::owned::owned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::admin;
use super::sight::Sight;

/// What the operator has written for one Gateway.
#[derive(Debug)]
pub struct Sample {
    namespace: String,
    name: String,
    uid: String,
    /// In the order that they are written in, as JSON.
    children: Vec<(ApiResource, String)>,
    status: String,
}

impl Sample {
    /// Of a Gateway that has all.
    pub async fn of(client: &Client, namespace: &str, name: &str) -> Result<Self> {
        let gateway = Api::<Gateway>::namespaced(client.clone(), namespace).get(name).await?;
        let label = format!("{}={name}", names::GATEWAY);
        let mut children = Vec::new();
        for kind in Kind::ALL {
            let resource = kind.resource();
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            for child in api.list(&ListParams::default().labels(&label)).await? {
                children.push((resource.clone(), applied(&resource, &child)?.to_string()));
            }
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: gateway.uid().context("a Gateway without uid")?,
            children,
            status: serde_json::to_string(&gateway.status.context("the sample has no status")?)?,
        })
    }

    /// How many writes it takes.
    pub fn writes(&self) -> usize {
        self.children.len() + 1
    }

    async fn write(&self, client: &Client, gateway: &Gateway) -> Result<()> {
        let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
        let uid = gateway.uid().unwrap_or_default();
        let renamed = |text: &str| -> Result<Value> {
            let text = text.replace(&self.namespace, &namespace).replace(&self.name, &name);
            Ok(serde_json::from_str(&text.replace(&self.uid, &uid))?)
        };
        let params = PatchParams::apply(names::MANAGER).force();
        for (resource, child) in &self.children {
            let child = renamed(child)?;
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, resource);
            let child_name = child["metadata"]["name"].as_str().unwrap_or_default();
            let written = api.patch(child_name, &params, &Patch::Apply(&child)).await;
            written.with_context(|| format!("failed to write {} {child_name}", resource.kind))?;
        }
        let patch = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Gateway",
            "metadata": { "name": name, "uid": uid },
            "status": renamed(&self.status)?,
        });
        let api: Api<Gateway> = Api::namespaced(client.clone(), &namespace);
        api.patch_status(&name, &params, &Patch::Apply(&patch)).await.context("failed to write a status")?;
        Ok(())
    }
}

/// The request that made a child: what the operator owns of it, and that nothing of its name may exist.
fn applied(resource: &ApiResource, child: &DynamicObject) -> Result<Value> {
    let mut object = owned(&serde_json::to_value(child)?);
    object["apiVersion"] = json!(resource.api_version);
    object["kind"] = json!(resource.kind);
    object["metadata"]["name"] = json!(child.name_any());
    object["metadata"]["namespace"] = json!(child.namespace());
    object["metadata"]["resourceVersion"] = json!("1");
    Ok(object)
}

/// Applies so many Gateways and writes for each what the sample says; says how long that took.
pub async fn run(
    client: &Client,
    sample: Sample,
    workers: usize,
    namespace: &str,
    count: usize,
    limit: Duration,
) -> Result<Duration> {
    let mut sight = Sight::of(client, namespace).await?;
    let (hand, taken) = mpsc::channel::<Gateway>(count.max(1));
    let (sample, taken) = (Arc::new(sample), Arc::new(Mutex::new(taken)));
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (client, sample, taken) = (client.clone(), sample.clone(), taken.clone());
        tasks.spawn(async move {
            loop {
                let next = taken.lock().await.recv().await;
                let Some(gateway) = next else { return anyhow::Ok(()) };
                sample.write(&client, &gateway).await?;
            }
        });
    }
    let began = Instant::now();
    let gateways = (1..=count).map(|number| format!("door-{number:05}"));
    admin::apply_all(client, namespace, gateways, |gateway| async { Ok(hand.send(gateway).await?) }).await?;
    drop(hand);
    while let Some(ended) = tasks.join_next().await {
        ended.context("a worker was lost")??;
    }
    let last = sight.count(count, limit).await?;
    Ok(last.saturating_duration_since(began))
}

//! What is asked of the API server, each with a deadline, and what it said where it did not answer.

use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::timeout;

use crate::failure::chain;

/// A cluster, and how long it is waited for.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) patience: Duration,
}

/// A kind of objects.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    group: &'static str,
    version: &'static str,
    singular: &'static str,
    /// As it stands in URLs, and here in paths.
    pub(super) plural: &'static str,
}

impl Kind {
    pub(super) const fn new(
        group: &'static str,
        version: &'static str,
        singular: &'static str,
        plural: &'static str,
    ) -> Self {
        Self { group, version, singular, plural }
    }

    pub(super) fn resource(self) -> ApiResource {
        let api_version = if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        };
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version,
            kind: self.singular.to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}

impl Cluster {
    /// What comes of a question, in words where nothing does.
    pub(super) async fn ask<T>(
        &self,
        what: &str,
        question: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, String> {
        match timeout(self.patience, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(format!("{what}: {}", status.message)),
            Ok(Err(error)) => Err(format!("{what}: {}", chain(&error))),
            Err(_) => Err(format!("{what}: the API server did not answer in time")),
        }
    }

    /// Objects of a kind, of a namespace or of all, as they are.
    pub(super) async fn list(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<Value>, String> {
        let resource = kind.resource();
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let params = ListParams::default().labels(selector);
        let what = format!("{} of {}", kind.plural, namespace.unwrap_or("all namespaces"));
        let list = self.ask(&what, api.list(&params)).await?;
        list.items
            .into_iter()
            .map(|mut it| {
                it.types = Some(kube::core::TypeMeta {
                    api_version: resource.api_version.clone(),
                    kind: kind.singular.to_owned(),
                });
                serde_json::to_value(it).map_err(|error| format!("{what}: {error}"))
            })
            .collect()
    }
}

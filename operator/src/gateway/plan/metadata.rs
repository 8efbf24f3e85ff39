//! What every child of a Gateway has in common: its name, labels and owner.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Serialize;
use serde_json::Value;

use super::Error;
use crate::gateway::validate::Accepted;
use crate::names;

/// Makes children of one Gateway.
#[derive(Debug)]
pub struct Maker<'a> {
    accepted: &'a Accepted,
}

impl<'a> Maker<'a> {
    /// For this Gateway.
    pub fn new(accepted: &'a Accepted) -> Self {
        Self { accepted }
    }

    /// The Gateway's name.
    pub fn gateway(&self) -> &str {
        &self.accepted.key.name
    }

    /// Metadata of a child of this name.
    pub fn metadata(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.accepted.key.namespace.clone()),
            labels: Some(names::labels(self.gateway())),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    /// Metadata with annotations, where there are any.
    pub fn annotated(&self, name: String, annotations: &BTreeMap<String, String>) -> ObjectMeta {
        let annotations = Some(annotations.clone()).filter(|annotations| !annotations.is_empty());
        ObjectMeta { annotations, ..self.metadata(name) }
    }

    /// The object as it is applied.
    pub fn finish<K: Serialize>(&self, object: &K) -> Result<Value, Error> {
        Ok(serde_json::to_value(object)?)
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: "portcullis.dev/v1alpha1".to_owned(),
            kind: "Gateway".to_owned(),
            name: self.gateway().to_owned(),
            uid: self.accepted.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

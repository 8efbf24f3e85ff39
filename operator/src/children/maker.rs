//! What every child has in common: its name, labels and owner.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Serialize;
use serde_json::Value;

use super::Error;
use crate::names;
use crate::world::Owner;

/// Makes children of one Gateway or Tunnel.
#[derive(Debug)]
pub struct Maker<'a> {
    owner: &'a Owner,
    uid: &'a str,
}

impl<'a> Maker<'a> {
    /// For this one.
    pub fn new(owner: &'a Owner, uid: &'a str) -> Self {
        Self { owner, uid }
    }

    /// The owner's name.
    pub fn name(&self) -> &str {
        &self.owner.key().name
    }

    /// The owner's namespace.
    pub fn namespace(&self) -> &str {
        &self.owner.key().namespace
    }

    /// Labels of all that is the owner's.
    pub fn labels(&self) -> BTreeMap<String, String> {
        match self.owner {
            Owner::Gateway(key) => names::labels(&key.name),
            Owner::Tunnel(key) => names::connector_labels(&key.name),
        }
    }

    /// Metadata of a child of this name.
    pub fn metadata(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.owner.key().namespace.clone()),
            labels: Some(self.labels()),
            owner_references: Some(vec![self.reference()]),
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

    fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: "portcullis.dev/v1alpha1".to_owned(),
            kind: self.owner.kind().to_owned(),
            name: self.name().to_owned(),
            uid: self.uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

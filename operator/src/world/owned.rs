//! What of a live object is ours: the fields that the API server records under our field manager, and their digest. An
//! object whose digest equals that of what we would apply needs no write, also after a restart, and a field that
//! somebody else changed is no longer ours, so that the digests differ.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::names::MANAGER;

/// Digest of the owned part of an object.
pub type Digest = [u8; 16];

/// The part of `live` that our field manager applied.
pub fn owned(live: &Value) -> Value {
    let entries = live["metadata"]["managedFields"].as_array();
    let ours = entries.into_iter().flatten().find(|entry| {
        entry["manager"] == MANAGER && entry["operation"] == "Apply" && entry.get("subresource").is_none()
    });
    ours.map_or(Value::Null, |entry| extract(live, &entry["fieldsV1"]))
}

fn extract(live: &Value, fields: &Value) -> Value {
    let Some(fields) = fields.as_object().filter(|fields| fields.keys().any(|key| key != ".")) else {
        return live.clone();
    };
    if let Some(items) = live.as_array() {
        let kept = items.iter().filter_map(|item| member(item, fields));
        return Value::Array(kept.collect());
    }
    let mut kept = Map::new();
    for (key, below) in fields {
        let Some(name) = key.strip_prefix("f:") else { continue };
        if let Some(value) = live.get(name) {
            kept.insert(name.to_owned(), extract(value, below));
        }
    }
    Value::Object(kept)
}

/// The owned part of a list's item, if any of it is.
fn member(item: &Value, fields: &Map<String, Value>) -> Option<Value> {
    fields.iter().find_map(|(key, below)| {
        if let Some(keys) = key.strip_prefix("k:") {
            let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
            keys.iter().all(|(name, value)| item.get(name) == Some(value)).then(|| extract(item, below))
        } else {
            let value: Value = serde_json::from_str(key.strip_prefix("v:")?).ok()?;
            (value == *item).then_some(value)
        }
    })
}

/// Digest of what is applied, or of what [`owned`] found; names and preconditions don't count.
pub fn digest(object: &Value) -> Digest {
    let mut hasher = Sha256::new();
    feed(&mut hasher, &comparable(object));
    let mut digest = Digest::default();
    digest.copy_from_slice(&hasher.finalize()[..16]);
    digest
}

fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in ["name", "namespace", "resourceVersion", "uid", "managedFields", "creationTimestamp"] {
                metadata.remove(key);
            }
        }
    }
    object
}

/// Feeds a value in one fixed order of keys.
fn feed(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            hasher.update(b"{");
            for (key, value) in fields {
                hasher.update(key.as_bytes());
                hasher.update([0]);
                feed(hasher, value);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            for item in items {
                feed(hasher, item);
            }
            hasher.update(b"]");
        }
        scalar => {
            hasher.update(scalar.to_string().as_bytes());
            hasher.update([0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn applied() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "door", "namespace": "shop", "labels": { "a": "b" },
                "ownerReferences": [{ "uid": "1", "kind": "Gateway", "name": "door" }] },
            "spec": { "selector": { "x": "y" }, "ports": [{ "port": 443, "protocol": "TCP", "targetPort": 8443 }] },
        })
    }

    fn live() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "door", "namespace": "shop", "uid": "2", "labels": { "a": "b", "theirs": "c" },
                "ownerReferences": [{ "uid": "1", "kind": "Gateway", "name": "door" }],
                "managedFields": [
                    { "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:metadata": { "f:labels": { "f:theirs": {} } } } },
                    { "manager": "portcullis", "operation": "Apply", "fieldsV1": {
                        "f:metadata": { "f:labels": { "f:a": {} }, "f:ownerReferences": { "k:{\"uid\":\"1\"}": {} } },
                        "f:spec": { "f:selector": {}, "f:ports": { "k:{\"port\":443,\"protocol\":\"TCP\"}":
                            { ".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {} } } },
                    } },
                ] },
            "spec": { "clusterIP": "10.96.0.7", "selector": { "x": "y" },
                "ports": [{ "port": 443, "protocol": "TCP", "targetPort": 8443, "nodePort": 31000 }, { "port": 80, "protocol": "TCP" }] },
        })
    }

    #[test]
    fn what_we_applied_is_found_again_among_defaults_and_the_fields_of_others() {
        assert_eq!(digest(&owned(&live())), digest(&applied()));
    }

    #[test]
    fn a_field_that_somebody_took_from_us_changes_the_digest() {
        let mut taken = live();
        taken["metadata"]["managedFields"][1]["fieldsV1"]["f:spec"]
            .as_object_mut()
            .unwrap()
            .remove("f:selector");
        assert_ne!(digest(&owned(&taken)), digest(&applied()));
    }

    #[test]
    fn a_value_that_changed_under_our_name_changes_the_digest() {
        let mut changed = live();
        changed["spec"]["ports"][0]["targetPort"] = json!(9999);
        assert_ne!(digest(&owned(&changed)), digest(&applied()));
    }

    #[test]
    fn an_object_that_we_never_applied_is_not_ours() {
        let mut foreign = live();
        foreign["metadata"]["managedFields"].as_array_mut().unwrap().remove(1);
        assert_eq!(owned(&foreign), Value::Null);
    }
}

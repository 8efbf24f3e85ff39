//! What a Gateway's objects say, without what differs from run to run; and whether the certificates in them hold
//! together.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use portcullis_contract::snapshot::Snapshot;
use portcullis_operator::world::{Kind, Roots};
use portcullis_pki::read_leaf;
use serde_json::{Value, json};

/// Everything of ours in a namespace, comparable between runs. Panics where certificates do not hold together: a leaf
/// of another authority, a key of another certificate, a snapshot with another fingerprint.
pub async fn settled(client: &Client, namespace: &str, gateway: &str) -> BTreeMap<String, Value> {
    let mut objects = crate::managed(client, namespace).await;
    check(&objects, gateway);
    for ((kind, _), object) in &mut objects {
        let fields = object.as_object_mut().unwrap();
        fields.remove("status");
        let metadata = fields["metadata"].as_object_mut().unwrap();
        for name in
            ["uid", "resourceVersion", "creationTimestamp", "managedFields", "namespace", "generation"]
        {
            metadata.remove(name);
        }
        metadata["ownerReferences"][0]["uid"] = json!("…");
        match kind {
            Kind::Secret => {
                for value in fields["data"].as_object_mut().unwrap().values_mut() {
                    *value = json!("…");
                }
            }
            Kind::ConfigMap if fields["data"].get("snapshot.json").is_none() => {
                fields["data"] = json!("…");
            }
            Kind::ConfigMap => {
                let mut snapshot: Value =
                    serde_json::from_str(fields["data"]["snapshot.json"].as_str().unwrap()).unwrap();
                for name in ["trust", "serverFingerprint", "gateway", "backends", "revoked"] {
                    snapshot[name] = json!("…");
                }
                fields["data"] = snapshot;
            }
            // The API server picks these.
            Kind::Service => {
                for name in ["clusterIP", "clusterIPs"] {
                    fields["spec"].as_object_mut().unwrap().remove(name);
                }
            }
            Kind::CertificateRequest => fields["spec"]["request"] = json!("…"),
            Kind::PodDisruptionBudget | Kind::Deployment => {}
        }
    }
    let anywhere = |object: Value| serde_json::from_str(&object.to_string().replace(namespace, "…")).unwrap();
    objects
        .into_iter()
        .map(|((kind, name), mut object)| {
            // Its name ends with the digest of its key.
            let name = if kind == Kind::CertificateRequest {
                let name = name.rsplit_once('-').map_or(&*name, |(name, _)| name).to_owned();
                object["metadata"]["name"] = json!(name);
                name
            } else {
                name
            };
            (format!("{} {name}", kind.as_str()), anywhere(object))
        })
        .collect()
}

fn check(objects: &BTreeMap<(Kind, String), Value>, gateway: &str) {
    let secret = |name: &str| -> Secret {
        let object = objects.get(&(Kind::Secret, name.to_owned()));
        serde_json::from_value(object.unwrap_or_else(|| panic!("Secret {name} is missing")).clone()).unwrap()
    };
    let text =
        |secret: &Secret, key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
    let authority = Roots::read(&secret(&format!("{gateway}-ca"))).unwrap().signing;
    let mut fingerprint = String::new();
    for (_, name) in
        objects.keys().filter(|(kind, name)| *kind == Kind::Secret && *name != format!("{gateway}-ca"))
    {
        let secret = secret(name);
        let leaf = read_leaf(&text(&secret, "tls.crt"), &text(&secret, "tls.key")).unwrap();
        assert_eq!(leaf.issuer_key_id, authority.facts.key_id, "{name} was signed by another authority");
        assert_eq!(text(&secret, "ca.crt"), authority.root(), "{name} trusts another authority");
        if *name == format!("{gateway}-server") {
            fingerprint = leaf.fingerprint;
        }
    }
    let config = &objects[&(Kind::ConfigMap, format!("{gateway}-config"))];
    let snapshot = Snapshot::from_json(config["data"]["snapshot.json"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(snapshot.server_fingerprint, fingerprint, "the snapshot names another certificate");
    assert_eq!(snapshot.trust, [authority.certificate_pem.as_str()], "the snapshot trusts another authority");
}

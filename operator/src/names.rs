//! What everything that we create is called, and how it is labelled.

use std::collections::BTreeMap;

/// The field manager of every write.
pub const MANAGER: &str = "portcullis";
/// Label on all that the operator creates; its caches hold nothing else of those kinds.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label that names the Gateway which a child belongs to.
pub const GATEWAY: &str = "portcullis.dev/gateway";
/// Label that names the Tunnel which a child belongs to.
pub const TUNNEL: &str = "portcullis.dev/tunnel";
/// The field manager of what callers of a Gateway's API write.
pub const API_MANAGER: &str = "portcullis-api";
/// Annotation on a Tunnel that was created through a Gateway's API: by which user.
pub const CREATED_BY: &str = "portcullis.dev/created-by";
/// Annotation on such a Tunnel: for which connector of that user.
pub const CONNECTOR_ID: &str = "portcullis.dev/connector";
/// Annotation on a Gateway: a new authority is to take the old one's place, once for each value.
pub const ROTATE: &str = "portcullis.dev/rotate";
/// Annotation on a Gateway: the same at once, whoever is locked out by that.
pub const ROTATE_EMERGENCY: &str = "portcullis.dev/rotate-emergency";
/// Annotation on a Gateway: back from a rotation that is under way.
pub const ROTATE_ROLLBACK: &str = "portcullis.dev/rotate-rollback";
/// Selects all that the operator creates.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=portcullis";
/// Secret in the operator's namespace with the control channel's authority.
pub const CONTROL_AUTHORITY: &str = "portcullis-control-ca";
/// The Lease that the leading operator holds.
pub const LEASE: &str = "portcullis-operator";

/// Secret with the certificate authority; never mounted.
pub fn authority_secret(gateway: &str) -> String {
    format!("{gateway}-ca")
}

/// Secret with an authority that somebody is asked for: its key, until it signs; never mounted.
pub fn request_secret(gateway: &str) -> String {
    format!("{gateway}-request")
}

/// CertificateRequest for a generation; the digest of its key tells it from any other.
pub fn request(gateway: &str, generation: u32, key_digest: &str) -> String {
    format!("{gateway}-ca-{generation}-{}", key_digest.get(..8).unwrap_or_default())
}

/// Secret with the server certificate and the control channel's, mounted into the pods.
pub fn server_secret(gateway: &str) -> String {
    format!("{gateway}-server")
}

/// Secret with a client's bundle.
pub fn bundle_secret(gateway: &str, client: &str) -> String {
    format!("{gateway}-client-{client}")
}

/// ConfigMap with the bootstrap snapshot.
pub fn config_map(gateway: &str) -> String {
    format!("{gateway}-config")
}

/// ConfigMap with the roots that the Gateway is believed by.
pub fn trust_config_map(gateway: &str) -> String {
    format!("{gateway}-trust")
}

/// Service without an address, behind which the replicas find each other.
pub fn peer_service(gateway: &str) -> String {
    format!("{gateway}-peers")
}

/// Secret, Deployment and PodDisruptionBudget of the connector that runs in this cluster for a Tunnel.
pub fn connector(tunnel: &str) -> String {
    format!("{tunnel}-connector")
}

/// Labels that select a Tunnel's connectors.
pub fn connector_selector(tunnel: &str) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", "portcullis-connector"), (TUNNEL, tunnel)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Labels that select a Gateway's pods.
pub fn selector(gateway: &str) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", "portcullis-gateway"), (GATEWAY, gateway)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Labels of all that belongs to a Gateway.
pub fn labels(gateway: &str) -> BTreeMap<String, String> {
    managed(selector(gateway), gateway)
}

/// Labels of all that belongs to a Tunnel.
pub fn connector_labels(tunnel: &str) -> BTreeMap<String, String> {
    managed(connector_selector(tunnel), tunnel)
}

fn managed(mut labels: BTreeMap<String, String>, instance: &str) -> BTreeMap<String, String> {
    labels.insert("app.kubernetes.io/instance".to_owned(), instance.to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

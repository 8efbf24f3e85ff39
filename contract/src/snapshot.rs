//! The configuration that the operator writes and a gateway's replicas serve: one JSON document, the same in the
//! bootstrap ConfigMap and on the control channel. It holds no secrets.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// All that a replica needs to know, beside the keys in its mounted Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Which Gateway this is.
    pub gateway: GatewayName,
    /// Trust domain of the identities below it, such as `cluster.local`.
    pub trust_domain: String,
    /// What the replica logs: `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// Certificates of the authorities that sign clients, PEM, one each.
    pub trust: Vec<String>,
    /// SHA-256 of the server certificate that new connections should be shown: 64 lower-case hexadecimal digits.
    pub server_fingerprint: String,
    /// Who may come in. A certificate for a name that is not here opens nothing.
    pub clients: Vec<Client>,
    /// What stands behind the door. The most specific match wins: a gRPC service, then the longest path prefix.
    pub backends: Vec<Backend>,
}

/// Name and namespace of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayName {
    /// Namespace of the resource.
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
}

/// A client of the Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// The last segment of its identity.
    pub name: String,
    /// The user that it stands for.
    pub user: String,
    /// Roles, in the order of the resource.
    pub roles: Vec<String>,
}

/// One backend and what is sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Its name in the resource.
    pub name: String,
    /// Which requests it gets.
    pub matches: Match,
    /// Where they go.
    pub target: Target,
    /// What it speaks.
    pub protocol: Protocol,
    /// How long a connection may take to open, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long the response's header may take, in milliseconds. 0: as long as it takes.
    pub request_timeout_ms: u64,
    /// Whether the client's certificate is passed on in `Client-Cert` (RFC 9440).
    pub forward_client_certificate: bool,
}

/// Which requests a backend gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Match {
    /// Paths that are this one or lie below it; begins with `/`. Matched by whole segments: `/api` takes `/api` and
    /// `/api/x`, not `/apix`.
    PathPrefix(String),
    /// Full name of a gRPC service, such as `helloworld.Greeter`: takes `/helloworld.Greeter/…`.
    GrpcService(String),
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// A host (name or address) and port to dial.
    Address {
        /// Name or IP address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// What the resource names is not there. Requests get 503 with this reason.
    Unresolved {
        /// What is missing, such as `Service "api" not found`.
        reason: String,
    },
}

/// What a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge: what gRPC servers speak.
    #[serde(rename = "H2C")]
    H2c,
}

impl Snapshot {
    /// The document as it is written to the ConfigMap and sent on the control channel: JSON, UTF-8.
    ///
    /// # Errors
    /// Never for the types above; `serde_json` returns a `Result` all the same.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Where it is no snapshot; the message says at which line and column.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

/// Version of a document: the first 16 hexadecimal digits of the SHA-256 of its bytes.
pub fn version(json: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(json).into();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    format!("{:016x}", u64::from_be_bytes(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_reads_back_as_what_was_written() {
        let snapshot = Snapshot {
            gateway: GatewayName { namespace: "shop".into(), name: "door".into() },
            trust_domain: "cluster.local".into(),
            log_level: "info".into(),
            trust: vec!["-----BEGIN CERTIFICATE-----\n".into()],
            server_fingerprint: "00".repeat(32),
            clients: vec![Client { name: "ci".into(), user: "ci@shop".into(), roles: vec!["user".into()] }],
            backends: vec![Backend {
                name: "api".into(),
                matches: Match::PathPrefix("/".into()),
                target: Target::Address { host: "api.shop.svc".into(), port: 80 },
                protocol: Protocol::Http1,
                connect_timeout_ms: 5_000,
                request_timeout_ms: 0,
                forward_client_certificate: false,
            }],
        };
        let json = snapshot.to_json().unwrap();
        assert_eq!(Snapshot::from_json(json.as_bytes()).unwrap(), snapshot);
        assert_eq!(version(json.as_bytes()).len(), 16);
        assert_ne!(version(json.as_bytes()), version(b"{}"));
    }
}

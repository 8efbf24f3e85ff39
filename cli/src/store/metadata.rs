//! What is known of a gateway and is no secret.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How callers come in, as the Gateway's `spec.access.mode` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// A client certificate opens the door; a token may say who is asking.
    #[default]
    MutualTLS,
    /// An identity-aware proxy in front: a WebSocket that carries its token.
    Edge,
    /// A trusted proxy ends TLS, or there is none.
    Plaintext,
}

impl Mode {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MutualTLS => "MutualTLS",
            Self::Edge => "Edge",
            Self::Plaintext => "Plaintext",
        }
    }
}

/// The OpenID provider that a gateway believes, and how to ask it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oidc {
    /// Its URL.
    pub issuer: String,
    /// Who we are there.
    #[serde(default)]
    pub client_id: String,
    /// Whom its tokens must be for.
    #[serde(default)]
    pub audience: String,
    /// What is asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What a later command did not mention.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// How the edge's token is carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Name of the header that the edge adds.
    #[serde(default)]
    pub header: String,
    /// Name of the cookie in which browsers carry it.
    #[serde(default)]
    pub cookie: String,
    /// What a later command did not mention.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What is known of a gateway and is no secret: `metadata.json`. Fields that a later version has written are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Where it is, such as `https://door.example.com:443`.
    pub endpoint: String,
    /// How callers come in.
    #[serde(default)]
    pub mode: Mode,
    /// The name in its certificate, where it is not the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Where to log in, where tokens are believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// How the edge's token is carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
    /// The project that commands mean where nothing else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What a later command did not mention.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Metadata {
    /// Reads it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("it is empty, as if it had been cut short".to_owned());
        }
        serde_json::from_slice(bytes).map_err(|error| {
            if error.is_eof() {
                "it ends too early, as if it had been cut short".to_owned()
            } else {
                format!("it is not what `portcullis` writes: {error}")
            }
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // A map with keys that are text cannot fail.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

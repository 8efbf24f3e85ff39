//! The Gateway resource.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod access;
pub mod backend;
pub mod client;
pub mod client_authority;
pub mod driver;
pub mod edge;
pub mod issuer;
pub mod oidc;
pub mod pki;
pub mod requirement;
pub mod service;
pub mod status;
pub mod tunnels;

/// A secure front door: one port for gRPC, HTTP and WebSocket, who may come in, and what stands behind it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "Gateway",
    namespaced,
    status = "status::GatewayStatus",
    derive = "PartialEq",
    doc = "A Gateway is a secure front door: one port for gRPC, HTTP and WebSocket, guarded by mutual TLS, an identity-aware edge or a trusted proxy, with roles and scopes of an OpenID provider on top.",
    shortname = "pgw",
    category = "portcullis",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.access.mode"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "Cert-Expiry",
        type_ = "string",
        json_path = ".status.serverCertificate.notAfter",
        priority = 1
    ),
    printcolumn(
        name = "CA",
        type_ = "string",
        json_path = ".status.ca.phase",
        priority = 1
    ),
    printcolumn(
        name = "Tunnels",
        type_ = "integer",
        json_path = ".status.tunnels.connected",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 46 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("a Gateway's name becomes the name of its Service and pods: write at most 46 of a-z, 0-9 and '-', beginning with a letter, such as shop-door")
)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// How callers come in.
    #[serde(default)]
    pub access: access::Access,

    /// The OpenID provider whose bearer tokens say who is asking, in every mode of access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<oidc::Oidc>,

    /// The certificates that Portcullis issues for this Gateway.
    #[serde(default)]
    pub pki: pki::Pki,

    /// Who may come in. Each becomes a bundle Secret `<gateway>-client-<name>` (tls.crt, tls.key, ca.crt); one that is
    /// removed opens nothing any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clients: Vec<client::Client>,

    /// What stands behind the door. A gRPC service wins over a path; of paths, the longest wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.match == b.match))").message("two backends match the same requests: give each a pathPrefix or grpcService of its own"))]
    pub backends: Vec<backend::Backend>,

    /// Programs beside the gateway that its API asks: for sandboxes, for credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drivers: Option<driver::Drivers>,

    /// Public names for services elsewhere, whose connectors dial in: Tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<tunnels::Tunnels>,

    /// The Service in front of the replicas.
    #[serde(default)]
    pub service: service::Service,

    /// How many pods serve this Gateway.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,

    /// The gateway's image. Without it, the one that came with the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.size() > 0 && self.size() <= 512 && !self.contains(' ')").message("image is a container image such as registry.example.com/portcullis-gateway:0.1.0; leave it out for the operator's own"))]
    pub image: Option<String>,

    /// A PodTemplateSpec laid over the pods by strategic merge: sidecars, resources, node selectors, labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub pod_template: Option<serde_json::Value>,

    /// What the replicas log. Takes effect without a restart.
    #[serde(default)]
    pub log_level: LogLevel,

    /// Leaves everything as it stands: nothing is created, changed, renewed or removed until it is off again.
    #[serde(default)]
    pub suspend: bool,
}

/// How much a replica logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// Failures of ours only.
    Error,
    /// And what an admin should look at.
    Warn,
    /// And what happens: the default.
    #[default]
    Info,
    /// And why.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level's name in a log filter.
    pub fn as_filter(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

fn two() -> i32 {
    2
}

pub(crate) fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

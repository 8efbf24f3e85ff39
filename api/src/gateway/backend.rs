//! What stands behind the door.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::requirement::{BackendAuth, Requirement};

/// A backend: which requests it gets, and where they go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.service) != has(self.sidecar)")
        .message("a backend needs exactly one of service (name and port) and sidecar (port of a container in podTemplate)"),
    validation = Rule::new("!has(self.match.grpcService) || !has(self.protocol) || self.protocol == 'H2C'")
        .message("gRPC is spoken over HTTP/2: write protocol: H2C for a grpcService, or leave it out"),
    validation = Rule::new("self.auth != 'None' || !has(self.requires) || self.requires.size() == 0")
        .message("with auth: None nobody is looked at, so that nothing can be required: write auth: Required, or leave requires out")
)]
pub struct Backend {
    /// Names the backend in errors and metrics.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("a backend's name is made of a-z, 0-9 and '-', such as api"))]
    pub name: String,

    /// Which requests it gets.
    #[serde(rename = "match")]
    pub matches: BackendMatch,

    /// A Service in the Gateway's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceTarget>,

    /// A container beside the gateway, brought by podTemplate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<SidecarTarget>,

    /// What it speaks, without TLS. Without it: H2C for a grpcService, HTTP1 for a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<BackendProtocol>,

    /// How long to wait for it.
    #[serde(default)]
    pub timeouts: Timeouts,

    /// Passes the client's certificate on in the Client-Cert header (RFC 9440).
    #[serde(default)]
    pub forward_client_certificate: bool,

    /// Whether callers must say who they are. `Optional`: they may. `None`: nobody is looked at.
    #[serde(default)]
    pub auth: BackendAuth,

    /// What callers need beyond that. The first that names the request's method counts; where none does, the request is
    /// denied. Without any, everybody who is let in will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = Rule::new("self.all(r, (has(r.methods) && r.methods.size() > 0) || self.indexOf(r) == self.size() - 1)")
            .message("a requirement without methods is for all of them, and those after it never count: write it last"),
        validation = Rule::new("self.all(r, !has(r.methods) || r.methods.all(m, self.exists_one(o, has(o.methods) && m in o.methods)))")
            .message("two requirements name the same method, and the second never counts: name each method once")
    )]
    pub requires: Vec<Requirement>,
}

/// Which requests a backend gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.pathPrefix) != has(self.grpcService)")
        .message("match needs exactly one of pathPrefix (such as /api) and grpcService (such as helloworld.Greeter)")
)]
pub struct BackendMatch {
    /// This path and everything below it, by whole segments: /api takes /api and /api/x, not /apix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^/[!-~]*$') && !self.contains('//') && !self.contains('?') && !self.contains('#') && (self == '/' || !self.endsWith('/'))").message("pathPrefix is a path that begins with '/' and does not end with it, without query and without '//', such as /api"))]
    pub path_prefix: Option<String>,

    /// The full name of a gRPC service, such as helloworld.Greeter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*$')").message("grpcService is a full service name such as helloworld.Greeter, without slashes or method"))]
    pub grpc_service: Option<String>,
}

/// A Service in the Gateway's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTarget {
    /// The Service's name.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("service.name is the name of a Service in the Gateway's own namespace, such as api, without namespace or domain"))]
    pub name: String,
    /// One of its ports, by number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// A container beside the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SidecarTarget {
    /// The port that it listens on, on 127.0.0.1.
    #[schemars(range(min = 1, max = 65535))]
    #[x_kube(validation = Rule::new("!(self in [8081, 8443, 8444, 9090])").message("ports 8443, 8444, 8081 and 9090 belong to the gateway itself: let the sidecar listen on another one"))]
    pub port: i32,
}

/// What a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackendProtocol {
    /// HTTP/1.1 without TLS.
    HTTP1,
    /// HTTP/2 without TLS, with prior knowledge: what gRPC servers speak.
    H2C,
}

/// How long to wait for a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// For a connection to open: minutes, seconds and milliseconds, such as 5s.
    #[serde(default = "five_seconds")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}([.][0-9]{1,3})?s)?([0-9]{1,9}ms)?$') && duration(self) >= duration('1ms') && duration(self) <= duration('1h')").message("connect is a time between 1ms and 1h, such as 5s"))]
    pub connect: String,

    /// For the header of the response; 0s waits for ever. Without it: 60s for a path, 0s for a grpcService.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}([.][0-9]{1,3})?s)?([0-9]{1,9}ms)?$') && duration(self) <= duration('24h')").message("request is a time up to 24h, in hours, minutes, seconds and milliseconds, such as 60s or 500ms; 0s waits for ever"))]
    pub request: Option<String>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: five_seconds(), request: None }
    }
}

fn five_seconds() -> String {
    "5s".to_owned()
}

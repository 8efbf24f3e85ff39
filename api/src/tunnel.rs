//! The Tunnel resource.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub mod access;
pub mod connector;
pub mod status;
pub mod upstream;

/// A service anywhere that answers on a public hostname of a Gateway.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "Tunnel",
    namespaced,
    status = "status::TunnelStatus",
    derive = "PartialEq",
    doc = "A Tunnel lets a service anywhere, behind NAT too, answer on a public hostname of a Gateway. Its connector dials out; its status says what is proved.",
    shortname = "ptun",
    category = "portcullis",
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Gateway", type_ = "string", json_path = ".spec.gatewayRef.name"),
    printcolumn(name = "Connections", type_ = "integer", json_path = ".status.connected"),
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
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint", priority = 1),
    printcolumn(name = "First-Byte", type_ = "string", json_path = ".status.timeToFirstByte", priority = 1),
    printcolumn(name = "Last-Probe", type_ = "string", json_path = ".status.lastProbe.time", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a Tunnel's name becomes the name of its connector's pods: write at most 52 of a-z, 0-9 and '-', such as web")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.label) && has(self.hostnames))")
        .message("write hostnames or label, not both: a label is a name below the Gateway's domain"),
    validation = Rule::new("self.protocol == 'TCP' || !has(self.port)")
        .message("port is for protocol TCP alone: visitors of HTTP and TLS come to the Gateway's own port, by their name"),
    validation = Rule::new("self.protocol != 'TCP' || has(self.port)")
        .message("protocol TCP needs port: one of those that the Gateway's spec.tunnels.ports names, such as 20000"),
    validation = Rule::new("self.protocol != 'TCP' || (!has(self.hostnames) && !has(self.label))")
        .message("a Tunnel of protocol TCP has a port and no names: leave hostnames and label out"),
    validation = Rule::new("self.protocol != 'HTTP' || !self.endpoint.startsWith('tcp://')")
        .message("an endpoint that is tcp:// needs protocol TLS or TCP; for HTTP write http://, https:// or h2c://"),
    validation = Rule::new("self.protocol == 'HTTP' || self.endpoint.startsWith('tcp://') || !self.endpoint.contains('://')")
        .message("with protocol TLS and TCP the endpoint is tcp://HOST:PORT, such as tcp://localhost:5432"),
    validation = Rule::new("!has(self.upstream.tls) || self.endpoint.startsWith('https://')")
        .message("upstream.tls is for an endpoint that is https://; write https://HOST:PORT, or leave tls out"),
    validation = Rule::new("self.protocol == 'HTTP' || self.access.auth == 'None'")
        .message("visitors who speak no HTTP cannot say who they are: write access: {auth: None}, and sourceCIDRs to say where they may come from"),
    validation = Rule::new("self.protocol == 'HTTP' || (!has(self.access.requires) && !has(self.access.methods) && !has(self.access.pathPrefixes))")
        .message("access.requires, methods and pathPrefixes need protocol HTTP; of visitors of TLS and TCP sourceCIDRs and rateLimit can be asked"),
    validation = Rule::new("self.protocol == 'HTTP' || (!has(self.upstream.hostHeader) && duration(self.upstream.responseTimeout) == duration('0s'))")
        .message("upstream.hostHeader and responseTimeout need protocol HTTP; connectTimeout holds for TLS and TCP too")
)]
pub struct TunnelSpec {
    /// The Gateway that visitors come in by.
    pub gateway_ref: GatewayRef,

    /// What visitors speak.
    #[serde(default)]
    pub protocol: Protocol,

    /// Public names, within the Gateway's spec.tunnels.domain; *.NAME for every name one label below NAME. The oldest
    /// Tunnel that claims a name has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 255)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(h, !h.contains('/') && !h.contains(':') && !h.contains(' '))").message("hostnames are names such as web.tunnels.example.com: without https://, port and path"))]
    pub hostnames: Vec<String>,

    /// One public name: this label below the Gateway's domain. Without label and hostnames, a readable one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("label is one label of a name: a-z, 0-9 and '-', such as web"))]
    pub label: Option<String>,

    /// The port of the Gateway that visitors of protocol TCP come to, within its spec.tunnels.ports. The oldest Tunnel that
    /// claims a port has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("!(self in [8081, 8443, 8444, 9090])").message("ports 8081, 8443, 8444 and 9090 are the gateway's own: write another one"))]
    pub port: Option<i32>,

    /// What the connector forwards to, from where it runs: http://HOST:PORT, https://HOST:PORT, or h2c://HOST:PORT for
    /// gRPC without TLS; tcp://HOST:PORT for protocol TLS and TCP. localhost, 127.0.0.1 and [::1] are one endpoint.
    #[schemars(length(min = 1, max = 300))]
    #[x_kube(validation = Rule::new("self.matches('^((https?|h2c|tcp)://)?([A-Za-z0-9._-]+|\\\\[[0-9A-Fa-f:.]+\\\\]):[0-9]{1,5}/?$')").message("endpoint is http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or tcp://HOST:PORT, such as http://localhost:8080"))]
    pub endpoint: String,

    /// How the connector forwards.
    #[serde(default)]
    pub upstream: upstream::Upstream,

    /// Off: the names stay taken, and visitors are told that the service is switched off.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// Who may visit.
    #[serde(default)]
    pub access: access::TunnelAccess,

    /// Lets the operator run the connector in this cluster. Without it, whoever has the service runs
    /// `portcullis connector` beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<connector::Connector>,
}

/// Names a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRef {
    /// Its name.
    #[schemars(length(min = 1, max = 46))]
    pub name: String,
    /// Its namespace, where that Gateway's spec.tunnels.allowedNamespaces permits it. Without it, the Tunnel's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What visitors speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2, and with them gRPC and WebSocket.
    #[default]
    HTTP,
    /// TLS that the endpoint ends: the gateway reads the name in the handshake, and passes everything on as it comes.
    TLS,
    /// Anything, on a port of its own.
    TCP,
}

fn yes() -> bool {
    true
}

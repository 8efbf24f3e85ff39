//! What is proved of a Tunnel.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is proved. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TunnelStatus {
    /// The generation of the spec that all of this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, Programmed, Connected, Reachable and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where visitors find it, such as https://web.tunnels.example.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The public names that it holds, in canonical form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// How many connections there are.
    #[serde(default)]
    pub connected: i32,
    /// Connectors' connections to the Gateway's replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub connections: Vec<Connection>,
    /// What the last request through the public name found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe: Option<ProbeStatus>,
    /// From the Tunnel's creation to the first byte through its public name, such as 1.2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_first_byte: Option<String>,
}

/// A connector's connection to a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The connector, by the id that it has chosen.
    pub connector: String,
    /// The pod of the Gateway that it is connected to.
    pub replica: String,
    /// SPIFFE identity of its certificate, or the user of its token.
    pub identity: String,
    /// SHA-256 of its certificate: 64 lower-case hexadecimal digits; absent for a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_fingerprint: Option<String>,
    /// Where it comes from.
    pub remote_address: String,
    /// tls or websocket.
    pub transport: String,
    /// When it was opened.
    pub since: String,
    /// What a request to the connector and back takes, such as 12ms; written anew when it has doubled or halved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<String>,
    /// Version of the connector.
    pub version: String,
}

/// A request through the public name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeStatus {
    /// When it began; refreshed every few minutes while the result stays.
    pub time: String,
    /// Whether the endpoint answered.
    pub passed: bool,
    /// From its beginning to the answer, such as 4.2ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<String>,
    /// The hop that broke: dns, tls, gateway, peer, connector or endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// What broke and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The pod of the Gateway that made it.
    pub replica: String,
}

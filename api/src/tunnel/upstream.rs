//! How a connector forwards.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How a connector forwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// Host that the endpoint is told. Without it, the one that the visitor asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 260))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._:\\\\[\\\\]-]+$')").message("hostHeader is a host such as shop.example.com, with or without a port"))]
    pub host_header: Option<String>,

    /// How long a connection to the endpoint may take to open: minutes and seconds.
    #[serde(default = "five_seconds")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,3}m)?([0-9]{1,5}s)?$') && duration(self) >= duration('1s') && duration(self) <= duration('10m')").message("connectTimeout is a time between 1s and 10m, such as 5s"))]
    pub connect_timeout: String,

    /// How long the response's header may take, from the request: minutes and seconds. 0s: as long as it takes.
    #[serde(default = "no_time")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,4}m)?([0-9]{1,5}s)?$') && duration(self) <= duration('24h')").message("responseTimeout is a time up to 24h in minutes and seconds, such as 30s; 0s for none"))]
    pub response_timeout: String,

    /// How TLS to an endpoint that is https:// is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
}

/// How TLS to an endpoint is checked. Roots that the connector's own command line names (--endpoint-ca) count before what
/// stands here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.caBundle) || !self.insecureSkipVerify").message("write caBundle or insecureSkipVerify, not both: where nothing is verified, no roots are needed"))]
pub struct UpstreamTls {
    /// The name that the endpoint is asked for, and that its certificate must have. Without it, the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9.:-]+$')").message("serverName is a name such as reports.internal, without https:// and port"))]
    pub server_name: Option<String>,

    /// Roots that its certificate is checked against, PEM. Without it, the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----')").message("caBundle is PEM: certificates, each between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----"))]
    pub ca_bundle: Option<String>,

    /// Believes any certificate: whoever stands between the connector and the endpoint can pose as the endpoint.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { host_header: None, connect_timeout: five_seconds(), response_timeout: no_time(), tls: None }
    }
}

fn five_seconds() -> String {
    "5s".to_owned()
}

fn no_time() -> String {
    "0s".to_owned()
}

//! The certificates of a Gateway.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The certificates that Portcullis issues for this Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pki {
    /// The certificate that the Gateway shows to callers.
    #[serde(default)]
    pub server: ServerCertificate,
}

/// The certificate that the Gateway shows to callers. The names of its Service are in it anyway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.renewBefore) || duration(self.renewBefore) < duration(self.duration)")
        .message("renewBefore must be shorter than duration: with duration 168h, write 56h or leave it out"),
    validation = Rule::new("duration(self.duration) >= duration('1h') && duration(self.duration) <= duration('8760h')")
        .message("duration must be between 1h and 8760h (a year), such as 168h")
)]
pub struct ServerCertificate {
    /// More DNS names that callers use for it, such as gateway.example.com or *.example.com.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(r"self.all(n, n.matches('^([*][.])?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'))").message("dnsNames are host names in lower case without scheme or port, such as gateway.example.com or *.example.com; addresses belong in ipAddresses"))]
    pub dns_names: Vec<String>,

    /// More IP addresses that callers use for it, such as 192.0.2.7 or 2001:db8::7.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 45)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(a, isIP(a))").message("ipAddresses are single addresses such as 192.0.2.7 or 2001:db8::7, without port or prefix length"))]
    pub ip_addresses: Vec<String>,

    /// How long a certificate is valid: hours, minutes and seconds, such as 168h.
    #[serde(default = "week")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(h|m|s))+$')").message("duration is written in hours, minutes and seconds, such as 168h or 36h30m"))]
    pub duration: String,

    /// How long before its end it is renewed. Without it, a third of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(h|m|s))+$')").message("renewBefore is written in hours, minutes and seconds, such as 56h"))]
    pub renew_before: Option<String>,
}

impl Default for ServerCertificate {
    fn default() -> Self {
        Self { dns_names: Vec::new(), ip_addresses: Vec::new(), duration: week(), renew_before: None }
    }
}

fn week() -> String {
    "168h".to_owned()
}

//! How callers come in.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client_authority::ClientAuthority;
use super::edge::Edge;

/// How callers come in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode != 'Edge' || has(self.edge)")
        .message("mode Edge needs edge: its audience, and cloudflare (with teamDomain) or generic (with issuer)"),
    validation = Rule::new("self.mode == 'Edge' || !has(self.edge)")
        .message("edge is for mode Edge alone: write mode: Edge, or leave edge out; tokens of an OpenID provider belong in spec.oidc"),
    validation = Rule::new("self.mode != 'Plaintext' || (has(self.trustedProxies) && self.trustedProxies.size() > 0)")
        .message("mode Plaintext needs trustedProxies: the networks of the proxies that end TLS, such as 10.0.0.0/8"),
    validation = Rule::new("!self.proxyProtocol || (has(self.trustedProxies) && self.trustedProxies.size() > 0)")
        .message("proxyProtocol needs trustedProxies: the networks of the proxies that send the header, such as 10.0.0.0/8"),
    validation = Rule::new("self.mode != 'Plaintext' || !has(self.clientAuthorities) || self.clientAuthorities.size() == 0")
        .message("clientAuthorities are for TLS: in mode Plaintext nobody shows a certificate; leave them out, or write mode: MutualTLS")
)]
pub struct Access {
    /// `MutualTLS`: with a client certificate that this Gateway's authority signed. `Edge`: through an identity-aware
    /// proxy whose token says who is asking. `Plaintext`: without TLS, through a trusted proxy that ends it.
    #[serde(default)]
    pub mode: AccessMode,

    /// The identity-aware proxy in front; for mode Edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,

    /// Networks of the proxies whose forwarding headers count, such as 10.0.0.0/8. Nobody else's do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 43)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, isCIDR(n))").message("trustedProxies are networks such as 10.0.0.0/8 or 2001:db8::/32; for a single address write 192.0.2.7/32"))]
    pub trusted_proxies: Vec<String>,

    /// Whether those proxies begin each connection with a PROXY protocol header, version 1 or 2.
    #[serde(default)]
    pub proxy_protocol: bool,

    /// Authorities of others whose certificates let clients in too, and as whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub client_authorities: Vec<ClientAuthority>,
}

/// How callers come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// With a client certificate that this Gateway's authority signed.
    #[default]
    MutualTLS,
    /// Through an identity-aware proxy whose token says who is asking.
    Edge,
    /// Without TLS, through a trusted proxy that ends it.
    Plaintext,
}

impl AccessMode {
    /// The mode's name in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MutualTLS => "MutualTLS",
            Self::Edge => "Edge",
            Self::Plaintext => "Plaintext",
        }
    }

    /// Scheme of the URL that callers, or the proxy in front of them, use.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::MutualTLS | Self::Edge => "https",
            Self::Plaintext => "http",
        }
    }
}

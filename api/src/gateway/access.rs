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
        .message("clientAuthorities are for TLS: in mode Plaintext nobody shows a certificate; leave them out, or write mode: MutualTLS"),
    validation = Rule::new("self.mode != 'Plaintext' || !has(self.tls)")
        .message("tls is for modes with TLS: in mode Plaintext the proxy in front ends it; leave tls out, and set the proxy")
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

    /// What TLS must be at least; without it, TLS 1.2 or 1.3 with every cipher that is held to be safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPolicy>,
}

/// What TLS must be at least, on every name of the Gateway. Where both sides have it, keys are agreed on by X25519MLKEM768,
/// which holds against whoever records now and has a quantum computer later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsPolicy {
    /// The oldest version that is spoken.
    #[serde(default)]
    pub min_version: TlsVersion,

    /// Which ciphers are taken. `Default`: AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305, in TLS 1.2 with ECDHE alone.
    /// `Strict`: of those, the ones with keys of 256 bits.
    #[serde(default)]
    pub cipher_policy: CipherPolicy,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Which ciphers are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CipherPolicy {
    /// Every one that is held to be safe.
    #[default]
    Default,
    /// Those with keys of 256 bits.
    Strict,
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

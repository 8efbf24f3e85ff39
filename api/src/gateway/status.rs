//! What the operator has seen of a Gateway.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pki::IssuerRef;

/// What the operator has seen. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// The generation of the spec that all of this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, ResolvedRefs, CertificatesReady, Programmed and Ready; where tokens are taken, OIDCDiscovered; where
    /// there are drivers, or a pod does not come up while others serve, Degraded; where there is something to warn of, Warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where callers find it, such as https://door.shop.svc:443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How many pods there are to be.
    #[serde(default)]
    pub replicas: i32,
    /// How many pods are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// How many of the ready pods have acknowledged the current configuration and serve the current certificate.
    #[serde(default)]
    pub programmed_replicas: i32,
    /// The certificate authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<AuthorityStatus>,
    /// The certificate that callers are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_certificate: Option<CertificateStatus>,
    /// The certificate of spec.tunnels.certificateRef, which visitors of public names are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_certificate: Option<CertificateStatus>,
    /// The clients' bundles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clients: Vec<ClientStatus>,
    /// Certificates that count no more, until they would have ended anyway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["serial"]))]
    pub revocations: Vec<RevocationStatus>,
    /// Its Tunnels, where it takes some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<TunnelCount>,
}

/// Tunnels of a Gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TunnelCount {
    /// How many are accepted.
    pub total: i32,
    /// How many of those have a connector at a ready replica.
    pub connected: i32,
}

/// The certificate authority of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityStatus {
    /// The generation that certificates are signed with.
    pub generation: i64,
    /// SHA-256 of its certificate: 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: String,
    /// How far it is on its way from one generation to the next.
    #[serde(default)]
    pub phase: RotationPhase,
    /// When the phase began; without it, with the first generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<String>,
    /// The other generation that is trusted: the next one while it is published, the one before until it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<GenerationStatus>,
    /// What keeps it in this phase: which replica, which bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Since when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<String>,
    /// When the phase ends, where only time has to pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_until: Option<String>,
    /// With retireUnusedAfter, while the old one is trusted: clients that were not seen with a certificate of the new one yet,
    /// and connectors as tunnel/NAMESPACE/NAME; at most 32 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
    /// What annotations asked for and was done, such as `rotate=1`: the last of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// What is said only of one that was brought along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brought: Option<BroughtStatus>,
}

/// An authority that somebody else has issued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BroughtStatus {
    /// Its subject, such as `CN=Example Issuing CA 3`.
    pub subject: String,
    /// SHA-256 of the root's certificate: 64 lower-case hexadecimal digits.
    pub root_fingerprint: String,
    /// The issuer that was asked for it, where cert-manager has issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// The CertificateRequest that it was asked for by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// A generation of the authority beside the one that signs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerationStatus {
    /// Which.
    pub generation: i64,
    /// SHA-256 of its certificate: 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: String,
}

/// How far an authority is on its way from one generation to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RotationPhase {
    /// One generation is trusted, and signs.
    #[default]
    Stable,
    /// The next one is made known to replicas and in bundles; the old one signs.
    Publishing,
    /// The next one signs everything anew; both are trusted.
    Issuing,
    /// Everything is signed by it; the old one is trusted for as long as certificates of its are around.
    Retiring,
}

impl RotationPhase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] = [Self::Stable, Self::Publishing, Self::Issuing, Self::Retiring];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "Stable",
            Self::Publishing => "Publishing",
            Self::Issuing => "Issuing",
            Self::Retiring => "Retiring",
        }
    }
}

/// A certificate that is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Lower-case hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the certificate: 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: String,
}

/// A client's bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientStatus {
    /// The client's name in the spec.
    pub name: String,
    /// The Secret with its bundle.
    pub secret_name: String,
    /// The bundle's certificate.
    pub certificate: CertificateStatus,
    /// Those before it that still open the Gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<CertificateStatus>,
    /// Those that the client has renewed through the gateway and that still open it, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renewed: Vec<CertificateStatus>,
    /// When it was let in last with one of them, to ten minutes. It says nothing of the time before there was this field, nor
    /// of what replicas had not told when they went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// The IP address that it came from then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_from: Option<String>,
    /// The serial of the certificate that it showed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_serial: Option<String>,
}

impl ClientStatus {
    /// Every certificate of the client that may still open the Gateway.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateStatus> {
        std::iter::once(&self.certificate).chain(&self.superseded).chain(&self.renewed)
    }
}

/// A certificate that counts no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationStatus {
    /// Lower-case hexadecimal digits.
    pub serial: String,
    /// The client's name in the spec.
    pub client: String,
    /// When the certificate would have ended; it is forgotten then.
    pub not_after: String,
    /// When it was revoked.
    pub revoked_at: String,
    /// When every replica had said that it opens nothing any more, and that what it had opened is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforced_at: Option<String>,
}

//! The certificates of a Gateway.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tunnels::SecretRef;

/// The certificates that Portcullis issues for this Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pki {
    /// The kind of every key: of the authority, of the server certificate and of bundles. A change is a rotation of the
    /// authority. With ca.secretRef, keys are of the kind that the authority's is.
    #[serde(default)]
    pub key_algorithm: KeyAlgorithm,

    /// The authority that signs them, and how it is replaced by a new one.
    #[serde(default)]
    pub ca: AuthoritySpec,

    /// The certificate that the Gateway shows to callers.
    #[serde(default)]
    pub server: ServerCertificate,

    /// Whether the roots that this Gateway is believed by are in a ConfigMap `<gateway>-trust` too (ca.crt), for programs that
    /// are no clients and have no bundle. It follows every rotation.
    #[serde(default)]
    pub publish_trust: bool,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519; browsers and some libraries take no such certificates.
    Ed25519,
    /// RSA of 2048 bits.
    #[serde(rename = "RSA2048")]
    Rsa2048,
    /// RSA of 3072 bits.
    #[serde(rename = "RSA3072")]
    Rsa3072,
    /// RSA of 4096 bits.
    #[serde(rename = "RSA4096")]
    Rsa4096,
}

/// The authority that signs a Gateway's certificates. It is replaced after two thirds of its life, and whenever the
/// annotation portcullis.dev/rotate says so: clients are told of the new one first, then it signs, then the old one goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.secretRef) || !has(self.issuerRef)")
        .message("an authority comes from one place: write secretRef for one that is in a Secret, or issuerRef for one that cert-manager has issued, not both")
)]
pub struct AuthoritySpec {
    /// A Secret of this namespace with an authority that somebody else has issued: its certificate in tls.crt, followed by
    /// those above it, its key in tls.key, and the root at the end of tls.crt or in ca.crt. It signs in place of one of
    /// ours; another one that is written there takes its place in the same steps. One that cannot be used is refused, and
    /// the one before stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,

    /// An issuer of cert-manager that issues the authority: an intermediate whose key is made here and stays here. It is asked
    /// for anew whenever an authority of ours would be replaced. While it does not answer, the one before signs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,

    /// How long an authority of ours is valid: hours, minutes and seconds, such as 87600h. One that has two thirds of that
    /// behind it is replaced. With issuerRef, what the issuer is asked for; what it grants counts.
    #[serde(default = "decade")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) >= duration('1h') && duration(self) <= duration('175200h')").message("an authority's duration is a time between 1h and 175200h (twenty years), in hours, minutes and seconds, such as 87600h"))]
    pub duration: String,

    /// How long a new authority is in every bundle's ca.crt before it signs anything: the time within which the slowest client
    /// takes up what changes in its Secret.
    #[serde(default = "day")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) <= duration('8760h')").message("publishFor is a time of at most 8760h (a year), in hours, minutes and seconds, such as 24h; 0s where every client reads its Secret at once"))]
    pub publish_for: String,

    /// How long the old authority is trusted at most after the new one has signed everything anew. Without it, until the last
    /// certificate that it signed has ended; with it, whoever shows one of those afterwards is refused, and what was opened
    /// with one goes on until that certificate ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) <= duration('8760h')").message("retireAfter is a time of at most 8760h (a year), in hours, minutes and seconds, such as 720h; leave it out to wait for the last certificate"))]
    pub retire_after: Option<String>,

    /// When the old authority goes before that: once every client was seen with a certificate of the new one, and nobody has
    /// come with one of the old one for this long. A machine that stays away for longer is refused afterwards where it has no
    /// new certificate: write the longest pause of any. Without it, time alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('8760h')").message("retireUnusedAfter is a time between 10m and 8760h (a year), in hours, minutes and seconds, such as 72h; leave it out to wait for the last certificate"))]
    pub retire_unused_after: Option<String>,
}

impl Default for AuthoritySpec {
    fn default() -> Self {
        Self {
            secret_ref: None,
            issuer_ref: None,
            duration: decade(),
            publish_for: day(),
            retire_after: None,
            retire_unused_after: None,
        }
    }
}

/// Names an issuer of cert-manager, as its own resources do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("name is an issuer's name, such as example-ca"))]
    pub name: String,

    /// Its kind: Issuer, of this namespace, ClusterIssuer, or a kind of somebody else's.
    #[serde(default = "issuer")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z][A-Za-z0-9]*$')").message("kind is an issuer's kind, such as Issuer or ClusterIssuer"))]
    pub kind: String,

    /// The group of that kind.
    #[serde(default = "cert_manager")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("group is the API group of the issuer's kind, such as cert-manager.io"))]
    pub group: String,
}

impl std::fmt::Display for IssuerRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if self.group == cert_manager() { Ok(()) } else { write!(f, " ({})", self.group) }
    }
}

/// The certificate that the Gateway shows to callers. The names of its Service are in it anyway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // Both are looked at only where they can be read: their own rules say what is wrong with them.
    validation = Rule::new("!has(self.renewBefore) || [self.duration, self.renewBefore].exists(it, !it.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') || it == '') || duration(self.renewBefore) < duration(self.duration)")
        .message("renewBefore must be shorter than duration: with duration 168h, write 56h or leave it out")
)]
pub struct ServerCertificate {
    /// More DNS names that callers use for it, such as gateway.example.com or *.example.com.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(r"self.all(n, n.matches('^([*][.])?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$') && !isIP(n))").message("dnsNames are host names in lower case without scheme or port, such as gateway.example.com or *.example.com; addresses belong in ipAddresses"))]
    pub dns_names: Vec<String>,

    /// More IP addresses that callers use for it, such as 192.0.2.7 or 2001:db8::7.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 45)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(a, isIP(a))").message("ipAddresses are single addresses such as 192.0.2.7 or 2001:db8::7, without port or prefix length"))]
    pub ip_addresses: Vec<String>,

    /// How long a certificate is valid: hours, minutes and seconds, such as 168h.
    #[serde(default = "week")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) >= duration('1h') && duration(self) <= duration('8760h')").message("duration is a time between 1h and 8760h (a year), in hours, minutes and seconds, such as 168h or 36h30m"))]
    pub duration: String,

    /// How long before its end it is renewed. Without it, a third of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) >= duration('5m')").message("renewBefore is a time of 5m or more, in hours, minutes and seconds, such as 56h"))]
    pub renew_before: Option<String>,
}

impl Default for ServerCertificate {
    fn default() -> Self {
        Self { dns_names: Vec::new(), ip_addresses: Vec::new(), duration: week(), renew_before: None }
    }
}

fn issuer() -> String {
    "Issuer".to_owned()
}

fn cert_manager() -> String {
    "cert-manager.io".to_owned()
}

fn decade() -> String {
    "87600h".to_owned()
}

fn day() -> String {
    "24h".to_owned()
}

fn week() -> String {
    "168h".to_owned()
}

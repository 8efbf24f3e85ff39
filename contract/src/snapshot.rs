//! The configuration that the operator writes and a gateway's replicas serve: one JSON document, the same in the
//! bootstrap ConfigMap and on the control channel. It holds no secrets.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// All that a replica needs to know, beside the keys in its mounted Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Which Gateway this is.
    pub gateway: GatewayName,
    /// Trust domain of the identities below it, such as `cluster.local`.
    pub trust_domain: String,
    /// What the replica logs: `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// Certificates of the authorities that sign clients, PEM, one each.
    pub trust: Vec<String>,
    /// SHA-256 of the server certificate that new connections should be shown: 64 lower-case hexadecimal digits.
    pub server_fingerprint: String,
    /// Who may come in. A certificate for a name that is not here opens nothing.
    pub clients: Vec<Client>,
    /// Serials of certificates that open nothing any more, whoever holds them, and cut what they have opened: lower-case
    /// hexadecimal digits, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// Authorities that went in due course before the last certificate that they had signed ended, PEM: no handshake is let in
    /// by one, and what was opened before goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<String>,
    /// Authorities of others that sign clients too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_authorities: Vec<ClientAuthority>,
    /// What stands behind the door. The most specific match wins: a gRPC service, then the longest path prefix.
    pub backends: Vec<Backend>,
    /// How callers come in.
    #[serde(default)]
    pub mode: Mode,
    /// CIDRs of the proxies whose forwarding headers count, such as `10.0.0.0/8`. In mode `Plaintext`,
    /// loopback does too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<String>,
    /// Whether those proxies begin each connection with a PROXY protocol header, v1 or v2.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    /// What TLS must be at least.
    #[serde(default, skip_serializing_if = "TlsPolicy::is_default")]
    pub tls: TlsPolicy,
    /// The identity-aware edge in front, in mode `Edge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
    /// Who issues bearer tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// Programs beside the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drivers: Vec<Driver>,
    /// Public names, and the services elsewhere that answer on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<Tunnels>,
}

/// How callers come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// TLS with a client certificate, which nobody may leave out.
    #[default]
    #[serde(rename = "MutualTLS")]
    MutualTls,
    /// TLS behind an identity-aware edge, whose token says who is asking. A client certificate may be shown.
    Edge,
    /// Without TLS, behind a trusted proxy that ends it.
    Plaintext,
}

impl Mode {
    /// The mode's name in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MutualTls => "MutualTLS",
            Self::Edge => "Edge",
            Self::Plaintext => "Plaintext",
        }
    }
}

/// What TLS must be at least, on every name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsPolicy {
    /// Version 1.3 alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_1_3: bool,
    /// Ciphers with keys of 256 bits alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_ciphers: bool,
}

impl TlsPolicy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who issues tokens, and what they must say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// `iss`, compared exactly.
    pub issuer: String,
    /// What `aud` must be or contain.
    pub audience: String,
    /// Where the keys are. Without it, where the issuer's discovery document says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// File with the roots that its TLS certificate is checked against, PEM. Without it, the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// How long fetched keys are good before they are fetched again, in seconds.
    pub jwks_ttl_seconds: u64,
    /// How far the clocks may disagree, in seconds.
    pub clock_skew_seconds: u64,
    /// Path of the claim that backends are told as the user: keys with dots between them, `\.` for a dot in a key.
    pub user_claim: String,
    /// Path of the claim with the roles. Without it there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles_claim: Option<String>,
    /// The role that makes a caller `admin`. Without it no token does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_role: Option<String>,
    /// The role that makes a caller `user`. Without it every valid token does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_role: Option<String>,
    /// Path of the claim with the scopes. Without it scopes are not enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes_claim: Option<String>,
}

/// Somebody whose tokens may have been stolen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokedSubject {
    /// `sub` of the tokens.
    pub subject: String,
    /// Tokens issued before are refused, and those that do not say when they were issued: seconds since
    /// 1970-01-01T00:00:00Z.
    pub issued_before: i64,
}

impl Issuer {
    /// An issuer of tokens for this audience, all else as the resource has it where nothing is written.
    pub fn of(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            jwks_uri: None,
            ca_file: None,
            jwks_ttl_seconds: 3600,
            clock_skew_seconds: 60,
            user_claim: "sub".to_owned(),
            roles_claim: None,
            admin_role: None,
            user_role: None,
            scopes_claim: None,
        }
    }
}

/// Bearer tokens of an OpenID provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Oidc {
    /// Who issues them.
    #[serde(flatten)]
    pub issuer: Issuer,
    /// The client that the CLI logs in as.
    pub client_id: String,
    /// The scopes that it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Subjects whose earlier tokens are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_subjects: Vec<RevokedSubject>,
}

/// Tokens of an identity-aware edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// Who issues them.
    #[serde(flatten)]
    pub issuer: Issuer,
    /// The header that the edge puts them in, in lower case.
    pub header_name: String,
    /// The cookie that browsers carry them in.
    pub cookie_name: String,
    /// How long a WebSocket tunnel outlives the token that it was opened with, in seconds.
    #[serde(default)]
    pub expiry_grace_seconds: u64,
}

/// A program beside the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Driver {
    /// What it does.
    pub kind: DriverKind,
    /// Path of the Unix socket that it listens on.
    pub socket: String,
}

/// What a driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriverKind {
    /// Runs sandboxes.
    Compute,
    /// Holds credentials.
    Credentials,
}

impl DriverKind {
    /// The kind's name in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Credentials => "credentials",
        }
    }
}

/// Public names, and the services elsewhere that answer on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tunnels {
    /// Names below this one are public, in canonical form; no client certificate is asked for there.
    pub domain: String,
    /// Folder with the certificate that is shown on public names. None: the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_dir: Option<String>,
    /// The Service in front of the replicas, such as `door.shop.svc:443`: where a probe comes in as a visitor does.
    pub service: String,
    /// Where the replicas find each other, such as `door-peers.shop.svc:8444`: every address that a name resolves to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// How many replicas there are to be.
    #[serde(default)]
    pub replicas: u32,
    /// By age, the oldest first. A name is held by one of them at most.
    #[serde(default)]
    pub tunnels: Vec<Tunnel>,
}

/// A service elsewhere, and the public names that it answers on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tunnel {
    /// Namespace of the resource.
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
    /// Which object of that name.
    pub uid: String,
    /// What visitors speak.
    #[serde(default, skip_serializing_if = "TunnelProtocol::is_http")]
    pub protocol: TunnelProtocol,
    /// Public names in canonical form ([`crate::hostname`]). None for `TCP`.
    pub hostnames: Vec<String>,
    /// The port of its own that visitors come to, for `TCP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What connectors forward to, in canonical form ([`crate::endpoint`]).
    pub endpoint: String,
    /// How they do.
    #[serde(default)]
    pub upstream: Upstream,
    /// Off: the names stay taken, and visitors are told so.
    pub enabled: bool,
    /// Who may visit.
    #[serde(default)]
    pub access: TunnelAccess,
}

/// What visitors of a tunnel speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TunnelProtocol {
    /// HTTP, of either version.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// TLS that the endpoint ends; the name in its handshake is all that is read of it.
    #[serde(rename = "TLS")]
    Tls,
    /// Anything, on a port of its own.
    #[serde(rename = "TCP")]
    Tcp,
}

impl TunnelProtocol {
    /// The protocol's name in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    fn is_http(&self) -> bool {
        *self == Self::Http
    }
}

/// How a connector forwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// `Host` that the endpoint is told. None: the one that the visitor asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_header: Option<String>,
    /// How long a connection to the endpoint may take to open, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long the response's header may take, in milliseconds. 0: as long as it takes.
    pub response_timeout_ms: u64,
    /// How TLS to an endpoint that is `https://` is checked, where not as public servers are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
}

/// How TLS to an endpoint is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamTls {
    /// The name that it is asked for and that its certificate must have. None: the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Roots that its certificate is checked against, PEM. None: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Nothing is checked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { host_header: None, connect_timeout_ms: 5_000, response_timeout_ms: 0, tls: None }
    }
}

/// Who may visit a tunnel's names. All of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelAccess {
    /// Whether visitors must say who they are.
    #[serde(default)]
    pub auth: Auth,
    /// What they need beyond that, as for backends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// HTTP methods that are let through, such as `GET`. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Paths that are let through, with all below them, by whole segments. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,
    /// Addresses that visitors may come from, as CIDRs. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_cidrs: Vec<String>,
    /// How many requests a second each replica lets through. None: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// How many requests are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Each second, on average.
    pub requests_per_second: u32,
    /// At once, after a quiet time.
    pub burst: u32,
}

/// Name and namespace of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayName {
    /// Namespace of the resource.
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
}

/// A client of the Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// The last segment of its identity.
    pub name: String,
    /// The user that it stands for.
    pub user: String,
    /// Roles, in the order of the resource.
    pub roles: Vec<String>,
    /// The scopes that it is held to. None: it is held to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// An authority of somebody else's, and whom of those that it has signed it lets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientAuthority {
    /// Its name in the resource.
    pub name: String,
    /// Its roots, PEM.
    pub roots: String,
    /// Who comes in: the first that means the certificate's URI counts, and without one nobody does.
    pub identities: Vec<ForeignIdentity>,
    /// Serials of certificates of its that open nothing any more: lower-case hexadecimal digits without leading zeros.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
}

/// Certificates of somebody else's authority, and whom they stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignIdentity {
    /// The URI in the certificate ([`crate::pattern`]).
    pub uri: String,
    /// The user that it stands for. None: the URI itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Roles, in the order of the resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The scopes that it is held to. None: it is held to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// One backend and what is sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Its name in the resource.
    pub name: String,
    /// Which requests it gets.
    pub matches: Match,
    /// Where they go.
    pub target: Target,
    /// What it speaks.
    pub protocol: Protocol,
    /// How long a connection may take to open, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long the response's header may take, in milliseconds. 0: as long as it takes.
    pub request_timeout_ms: u64,
    /// Whether the client's certificate is passed on in `Client-Cert` (RFC 9440).
    pub forward_client_certificate: bool,
    /// Whether callers must say who they are.
    #[serde(default)]
    pub auth: Auth,
    /// What callers need beyond that: the first that names the request's method counts. With none of them everybody who
    /// is let in will do; where there are some and none names the method, nobody will.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
}

/// Whether callers of a backend must say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auth {
    /// They must.
    #[default]
    Required,
    /// They may. Whoever shows something invalid is denied all the same.
    Optional,
    /// Nobody is looked at, and the backend is told of nobody.
    None,
}

/// What a caller of a backend needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// HTTP methods that it is for, such as `GET`. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// A role. An `admin` has the role `user` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Scopes, all of them, where the caller's are enforced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
}

/// Which requests a backend gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Match {
    /// Paths that are this one or lie below it; begins with `/`. Matched by whole segments: `/api` takes `/api` and
    /// `/api/x`, not `/apix`.
    PathPrefix(String),
    /// Full name of a gRPC service, such as `helloworld.Greeter`: takes `/helloworld.Greeter/…`.
    GrpcService(String),
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// A host (name or address) and port to dial.
    Address {
        /// Name or IP address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// What the resource names is not there. Requests get 503 with this reason.
    Unresolved {
        /// What is missing, such as `Service "api" not found`.
        reason: String,
    },
}

/// What a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge: what gRPC servers speak.
    #[serde(rename = "H2C")]
    H2c,
}

impl Snapshot {
    /// The document as it is written to the ConfigMap and sent on the control channel: JSON, UTF-8.
    ///
    /// # Errors
    /// Never for the types above; `serde_json` returns a `Result` all the same.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Where it is no snapshot; the message says at which line and column.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

/// Version of a document: the first 16 hexadecimal digits of the SHA-256 of its bytes.
pub fn version(json: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(json).into();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    format!("{:016x}", u64::from_be_bytes(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        Issuer {
            roles_claim: Some("realm_access.roles".into()),
            ..Issuer::of("https://idp.example.com", "door")
        }
    }

    #[test]
    fn a_document_of_an_older_operator_reads_as_mutual_tls() {
        let json = br#"{"gateway":{"namespace":"shop","name":"door"},"trustDomain":"cluster.local","logLevel":"info",
            "trust":[],"serverFingerprint":"","clients":[{"name":"ci","user":"ci","roles":[]}],"backends":[]}"#;
        let snapshot = Snapshot::from_json(json).unwrap();
        assert_eq!((snapshot.mode, snapshot.oidc, snapshot.edge), (Mode::MutualTls, None, None));
    }

    #[test]
    fn a_document_reads_back_as_what_was_written() {
        let snapshot = Snapshot {
            gateway: GatewayName { namespace: "shop".into(), name: "door".into() },
            trust_domain: "cluster.local".into(),
            log_level: "info".into(),
            trust: vec!["-----BEGIN CERTIFICATE-----\n".into()],
            server_fingerprint: "00".repeat(32),
            revoked: vec!["0a".into()],
            retired: vec!["-----BEGIN CERTIFICATE-----\n".into()],
            client_authorities: vec![ClientAuthority {
                name: "corp".into(),
                roots: "-----BEGIN CERTIFICATE-----\n".into(),
                identities: vec![ForeignIdentity {
                    uri: "spiffe://corp.example/team/*".into(),
                    user: Some("team".into()),
                    roles: vec!["user".into()],
                    scopes: Some(Vec::new()),
                }],
                revoked: vec!["0b".into()],
            }],
            clients: vec![Client {
                name: "ci".into(),
                user: "ci@shop".into(),
                roles: vec!["user".into()],
                scopes: None,
            }],
            backends: vec![Backend {
                name: "api".into(),
                matches: Match::PathPrefix("/".into()),
                target: Target::Address { host: "api.shop.svc".into(), port: 80 },
                protocol: Protocol::Http1,
                connect_timeout_ms: 5_000,
                request_timeout_ms: 0,
                forward_client_certificate: false,
                auth: Auth::Optional,
                requires: vec![Requirement { methods: vec!["GET".into()], ..Requirement::default() }],
            }],
            mode: Mode::Edge,
            trusted_proxies: vec!["10.0.0.0/8".into()],
            proxy_protocol: true,
            tls: TlsPolicy { only_1_3: true, strict_ciphers: true },
            edge: Some(Edge {
                issuer: issuer(),
                header_name: "cf-access-jwt-assertion".into(),
                cookie_name: "CF_Authorization".into(),
                expiry_grace_seconds: 30,
            }),
            oidc: Some(Oidc {
                issuer: issuer(),
                client_id: "cli".into(),
                scopes: vec!["openid".into()],
                revoked_subjects: vec![RevokedSubject { subject: "alice".into(), issued_before: 1 }],
            }),
            drivers: vec![Driver { kind: DriverKind::Compute, socket: "/run/compute.sock".into() }],
            tunnels: Some(Tunnels {
                domain: "tunnels.example.com".into(),
                certificate_dir: None,
                service: "door.shop.svc:443".into(),
                peers: vec!["door-peers.shop.svc:8444".into()],
                replicas: 2,
                tunnels: vec![Tunnel {
                    namespace: "shop".into(),
                    name: "web".into(),
                    uid: "1".into(),
                    protocol: TunnelProtocol::Tls,
                    hostnames: vec!["web.tunnels.example.com".into()],
                    port: Some(20_000),
                    endpoint: "http://localhost:8080".into(),
                    upstream: Upstream::default(),
                    enabled: true,
                    access: TunnelAccess::default(),
                }],
            }),
        };
        let json = snapshot.to_json().unwrap();
        assert_eq!(Snapshot::from_json(json.as_bytes()).unwrap(), snapshot);
        assert_eq!(version(json.as_bytes()).len(), 16);
        assert_ne!(version(json.as_bytes()), version(b"{}"));
    }
}

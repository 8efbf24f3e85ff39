//! Certificates of one Gateway and the snapshot that its replica serves, as the operator would have written them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use portcullis_contract::files;
use portcullis_contract::snapshot::{
    Auth, Backend, Client, GatewayName, Match, Mode, Protocol, Snapshot, Target, Tunnel, TunnelAccess,
    TunnelProtocol, Tunnels, Upstream,
};
use portcullis_pki::{
    Authority, AuthorityProfile, Leaf, LeafProfile, NameConstraints, RandomMint, Usage, issue_authority,
    issue_leaf,
};
use time::{Duration, OffsetDateTime};

use super::token;

/// The name that callers know the door by.
pub const HOST: &str = "door.shop.svc";
/// Public names lie below this one.
pub const DOMAIN: &str = "t.example.com";
/// Namespace of the tunnels, which are `t0`, `t1` and so on.
pub const TUNNELS: &str = "shop";
const IDENTITY: &str = "spiffe://cluster.local/ns/shop/gateway/door";
const CLIENT: &str = "ci";

/// Folder of the server's certificate, key and roots, below the one that is asked for.
pub const SERVER: &str = "server";
/// Folder of the client's.
pub const BUNDLE: &str = "client";

/// File with a bearer token.
pub const TOKEN: &str = "token";
/// File with the keys of its issuer.
pub const JWKS: &str = "jwks";

/// What a gateway has beside its one backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// A `token`, and the `jwks` of its issuer, which the backend is to serve.
    pub oidc: bool,
    /// So many tunnels to that backend, open to everybody.
    pub tunnels: usize,
}

/// The public name of a tunnel, by its number.
pub fn hostname(tunnel: usize) -> String {
    format!("t{tunnel}.{DOMAIN}")
}

/// Where the tunnels lead to.
pub fn endpoint(backend: u16) -> String {
    format!("http://127.0.0.1:{backend}")
}

/// Writes `server/`, `client/` (a bundle each) and the snapshot, with one backend that gets every path. The client may
/// serve every tunnel, and visitors know the server by the same roots.
///
/// # Errors
/// Where certificates cannot be made or files not be written.
pub fn write(folder: &Path, backend: u16, beside: Beside) -> Result<()> {
    let profile = AuthorityProfile {
        common_name: "portcullis shop/door".to_owned(),
        lifetime: Duration::days(3650),
        name_constraints: NameConstraints::default(),
        key: portcullis_pki::KeyAlgorithm::P256,
    };
    let authority =
        issue_authority(&profile, 1, now(), &RandomMint).context("failed to issue the authority")?;
    let server = leaf(&authority, Usage::Server, IDENTITY.to_owned())?;
    let client = leaf(&authority, Usage::Client, format!("{IDENTITY}/client/{CLIENT}"))?;
    bundle(&folder.join(SERVER), &server, &authority)?;
    bundle(&folder.join(BUNDLE), &client, &authority)?;
    let mut snapshot = snapshot(&authority, &server, backend);
    if beside.tunnels > 0 {
        snapshot.tunnels = Some(tunnels(backend, beside.tunnels));
    }
    if beside.oidc {
        let issued = token::issue(now().unix_timestamp())?;
        put(&folder.join(TOKEN), &issued.token)?;
        put(&folder.join(JWKS), &issued.jwks)?;
        snapshot.oidc = Some(token::oidc(&format!("http://127.0.0.1:{backend}/{JWKS}")));
    }
    put(&folder.join(files::SNAPSHOT), &snapshot.to_json().context("failed to write the snapshot")?)
}

fn leaf(authority: &Authority, usage: Usage, uri: String) -> Result<Leaf> {
    let profile = LeafProfile {
        common_name: if usage == Usage::Server { HOST } else { CLIENT }.to_owned(),
        usage,
        dns_names: if usage == Usage::Server {
            vec![HOST.to_owned(), format!("*.{DOMAIN}")]
        } else {
            Vec::new()
        },
        ip_addresses: Vec::new(),
        uris: vec![uri],
        lifetime: Duration::days(7),
        renew_before: Duration::days(2),
    };
    issue_leaf(authority, &profile, now(), &RandomMint).context("failed to issue a certificate")
}

fn bundle(folder: &Path, leaf: &Leaf, authority: &Authority) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    put(&folder.join(files::SERVER_CERTIFICATE), &leaf.certificate_pem)?;
    put(&folder.join(files::SERVER_KEY), leaf.key.expose())?;
    put(&folder.join(files::SERVER_CA), &authority.certificate_pem)
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

fn snapshot(authority: &Authority, server: &Leaf, backend: u16) -> Snapshot {
    Snapshot {
        gateway: GatewayName { namespace: "shop".to_owned(), name: "door".to_owned() },
        trust_domain: "cluster.local".to_owned(),
        revoked: Vec::new(),
        retired: Vec::new(),
        client_authorities: Vec::new(),
        tls: portcullis_contract::snapshot::TlsPolicy::default(),
        log_level: "warn".to_owned(),
        trust: vec![authority.certificate_pem.clone()],
        server_fingerprint: server.facts.fingerprint.clone(),
        clients: vec![Client {
            name: CLIENT.to_owned(),
            user: "ci@shop".to_owned(),
            roles: vec!["user".to_owned()],
            scopes: None,
        }],
        backends: vec![Backend {
            name: "api".to_owned(),
            matches: Match::PathPrefix("/".to_owned()),
            target: Target::Address { host: "127.0.0.1".to_owned(), port: backend },
            protocol: Protocol::Http1,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 60_000,
            forward_client_certificate: false,
            auth: Auth::Required,
            requires: Vec::new(),
        }],
        mode: Mode::MutualTls,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        edge: None,
        oidc: None,
        drivers: Vec::new(),
        tunnels: None,
    }
}

fn tunnels(backend: u16, count: usize) -> Tunnels {
    let tunnel = |number| Tunnel {
        namespace: TUNNELS.to_owned(),
        name: format!("t{number}"),
        uid: format!("uid-{number}"),
        protocol: TunnelProtocol::Http,
        port: None,
        hostnames: vec![hostname(number)],
        endpoint: endpoint(backend),
        upstream: Upstream::default(),
        enabled: true,
        access: TunnelAccess { auth: Auth::None, ..TunnelAccess::default() },
    };
    Tunnels {
        domain: DOMAIN.to_owned(),
        certificate_dir: None,
        service: String::new(),
        peers: Vec::new(),
        replicas: 1,
        tunnels: (0..count).map(tunnel).collect(),
    }
}

#[expect(clippy::disallowed_methods, reason = "what a real handshake checks is the machine's own time")]
pub(super) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

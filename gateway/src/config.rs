//! A snapshot, read and checked: what the replica serves. After this nobody checks again.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderName;
use ipnet::IpNet;
use portcullis_contract::pattern::UriPattern;
use portcullis_contract::snapshot::{
    self, Backend, Client, DriverKind, GatewayName, Mode, Snapshot, Target, TlsPolicy,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tracing::level_filters::LevelFilter;

use crate::auth::{Carried, Identified, Purpose, Shown, Text};
use crate::backend::{Dialer, Upstream};
use crate::driver::{self, Driver};
use crate::issuer::{self, Issuer};
use crate::logging;
use crate::route::Routes;
use crate::tunnel::Tunnels;

/// An immutable configuration. Requests hold the one that they began with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Digest of the document.
    pub(crate) version: String,
    pub(crate) gateway: GatewayName,
    pub(crate) trust_domain: String,
    pub(crate) log_level: LevelFilter,
    /// Authorities that sign clients.
    pub(crate) trust: Vec<CertificateDer<'static>>,
    /// Authorities that vouch for what is open, and let nobody in.
    pub(crate) retired: Vec<CertificateDer<'static>>,
    /// Authorities of others that sign clients.
    pub(crate) client_authorities: Arc<[ClientAuthority]>,
    /// Serials of certificates of the gateway's own authority that open nothing any more.
    pub(crate) revoked: Arc<BTreeSet<String>>,
    /// Fingerprint of the certificate that should be served.
    pub(crate) server_fingerprint: String,
    /// By the last segment of their identity.
    pub(crate) clients: HashMap<String, Client>,
    pub(crate) mode: Mode,
    /// Whose forwarding headers count.
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) proxy_protocol: bool,
    /// What TLS must be at least.
    pub(crate) tls: TlsPolicy,
    pub(crate) edge: Option<Edge>,
    pub(crate) oidc: Option<Oidc>,
    pub(crate) drivers: Vec<Arc<Driver>>,
    pub(crate) tunnels: Option<Arc<Tunnels>>,
    routes: Routes,
    upstreams: Vec<Arc<Upstream>>,
}

/// An authority of somebody else's, and whom it lets in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClientAuthority {
    pub(crate) name: Arc<str>,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// Serials of certificates of its that open nothing any more.
    pub(crate) revoked: Arc<BTreeSet<String>>,
    /// The first that means a certificate's URI counts.
    pub(crate) identities: Vec<(UriPattern, Rights)>,
}

/// Whom a certificate of somebody else's authority stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rights {
    /// None: the URI itself.
    pub(crate) user: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) scopes: Option<Vec<String>>,
}

/// The identity-aware edge in front.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) header: HeaderName,
    pub(crate) cookie: String,
    /// How long a WebSocket tunnel outlives its token, in seconds.
    pub(crate) grace: i64,
}

/// An OpenID provider.
#[derive(Clone, Debug)]
pub(crate) struct Oidc {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) client_id: String,
    pub(crate) scopes: Vec<String>,
    /// Before when tokens of a subject are refused, in seconds since the epoch.
    pub(crate) revoked_subjects: HashMap<String, i64>,
}

impl Oidc {
    /// Whether a token is one of those that are refused by their subject. One that does not say when it was issued may be.
    pub(crate) fn revokes(&self, token: &Identified) -> bool {
        let before = self.revoked_subjects.get(&token.subject);
        before.is_some_and(|before| token.issued_at.is_none_or(|issued| issued < *before))
    }
}

/// What a configuration reaches outside of the replica.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    pub(crate) dialer: Dialer,
    pub(crate) issuers: issuer::Starter,
    pub(crate) drivers: driver::Starter,
}

impl Config {
    /// Reads and checks a document. What stays as it was keeps its connections and its keys.
    ///
    /// The error is a sentence for whoever reads `kubectl describe`.
    pub(crate) fn read(
        version: String,
        json: &[u8],
        previous: Option<&Self>,
        outside: &Outside,
    ) -> Result<Self, String> {
        let digest = snapshot::version(json);
        if version != digest {
            return Err(format!(
                "the snapshot says that it is version {version}, but its digest is {digest}"
            ));
        }
        let snapshot =
            Snapshot::from_json(json).map_err(|error| format!("the snapshot cannot be read: {error}"))?;
        let log_level = logging::level(&snapshot.log_level)
            .ok_or_else(|| format!("`{}` is no log level", snapshot.log_level))?;
        for backend in &snapshot.backends {
            check(backend)?;
        }
        let routes = Routes::new(snapshot.backends.iter().map(|backend| &backend.matches))?;
        let upstreams = snapshot
            .backends
            .iter()
            .map(|backend| {
                Arc::new(Upstream::new(backend, previous.map_or(&[], |it| &it.upstreams), &outside.dialer))
            })
            .collect();
        Ok(Self {
            version,
            trust: trust(&snapshot.trust)?,
            retired: roots(&snapshot.retired, "retired")?,
            client_authorities: client_authorities(snapshot.client_authorities)?,
            clients: clients(snapshot.clients)?,
            revoked: Arc::new(snapshot.revoked.into_iter().collect()),
            gateway: snapshot.gateway,
            trust_domain: snapshot.trust_domain,
            log_level,
            server_fingerprint: snapshot.server_fingerprint,
            mode: snapshot.mode,
            trusted_proxies: proxies(&snapshot.trusted_proxies)?,
            proxy_protocol: snapshot.proxy_protocol,
            tls: snapshot.tls,
            edge: edge(snapshot.mode, snapshot.edge, previous, outside)?,
            oidc: oidc(snapshot.oidc, previous, outside)?,
            drivers: drivers(&snapshot.drivers, previous, outside)?,
            tunnels: tunnels(snapshot.tunnels, previous)?,
            routes,
            upstreams,
        })
    }

    /// The backend that gets this path.
    pub(crate) fn upstream(&self, path: &str) -> Option<&Arc<Upstream>> {
        self.routes.find(path).and_then(|index| self.upstreams.get(index))
    }

    /// Whether there is such a tunnel.
    pub(crate) fn has_tunnel(&self, namespace: &str, name: &str) -> bool {
        self.tunnels.as_ref().is_some_and(|tunnels| tunnels.by_name(namespace, name).is_some())
    }

    /// Whether this address is a trusted proxy's: what it says of others counts.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address.to_canonical()))
    }

    /// Whether the other end of a connection is. Without TLS, loopback is too: a proxy beside the gateway.
    pub(crate) fn trusts_peer(&self, address: IpAddr) -> bool {
        (self.mode == Mode::Plaintext && address.to_canonical().is_loopback()) || self.trusts(address)
    }

    /// Whether the tokens that were shown are believed: the edge's, and the bearer's.
    pub(crate) fn judge(&self, carried: &Carried, now: i64) -> (Shown, Shown) {
        let judge = |issuer: Option<&Arc<Issuer>>, text: Option<&Text>| match (issuer, text) {
            (Some(issuer), Some(text)) => issuer.judge(text, now),
            _ => Shown::Nothing,
        };
        (
            judge(self.edge.as_ref().map(|edge| &edge.issuer), carried.edge.as_ref()),
            judge(self.oidc.as_ref().map(|oidc| &oidc.issuer), carried.bearer.as_ref()),
        )
    }

    /// Waits for keys that a token names and nobody knows. False where there is nothing to wait for.
    pub(crate) async fn refreshed(&self, carried: &Carried) -> bool {
        let edge = self.edge.as_ref().filter(|_| carried.edge.is_some()).map(|edge| &edge.issuer);
        let oidc = self.oidc.as_ref().filter(|_| carried.bearer.is_some()).map(|oidc| &oidc.issuer);
        let mut any = false;
        for issuer in edge.into_iter().chain(oidc) {
            any |= issuer.refreshed().await;
        }
        any
    }

    /// Counts changes of the issuers' keys.
    pub(crate) fn keys(&self) -> u64 {
        self.issuers().map(|(_, issuer)| issuer.generation()).sum()
    }

    /// Every issuer of tokens, by the part of the configuration that names it.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = (&'static str, &Arc<Issuer>)> {
        let edge = self.edge.iter().map(|edge| ("edge", &edge.issuer));
        edge.chain(self.oidc.iter().map(|oidc| ("oidc", &oidc.issuer)))
    }

    pub(crate) fn driver(&self, kind: DriverKind) -> Option<&Arc<Driver>> {
        self.drivers.iter().find(|driver| driver.kind() == kind)
    }
}

fn proxies(listed: &[String]) -> Result<Vec<IpNet>, String> {
    let read =
        |text: &String| text.parse().map_err(|_| format!("trustedProxies has {text:?}, which is no CIDR"));
    listed.iter().map(read).collect()
}

fn edge(
    mode: Mode,
    edge: Option<snapshot::Edge>,
    previous: Option<&Config>,
    outside: &Outside,
) -> Result<Option<Edge>, String> {
    let Some(edge) = edge else {
        return if mode == Mode::Edge { Err("mode Edge without an edge".to_owned()) } else { Ok(None) };
    };
    let previous = previous.and_then(|it| it.edge.as_ref()).map(|it| &it.issuer);
    Ok(Some(Edge {
        issuer: outside.issuers.start(&edge.issuer, Purpose::Edge, previous)?,
        header: edge
            .header_name
            .parse()
            .map_err(|_| format!("{:?} is no header's name", edge.header_name))?,
        cookie: edge.cookie_name,
        grace: i64::try_from(edge.expiry_grace_seconds).unwrap_or(i64::MAX),
    }))
}

fn oidc(
    oidc: Option<snapshot::Oidc>,
    previous: Option<&Config>,
    outside: &Outside,
) -> Result<Option<Oidc>, String> {
    let Some(oidc) = oidc else { return Ok(None) };
    let previous = previous.and_then(|it| it.oidc.as_ref()).map(|it| &it.issuer);
    Ok(Some(Oidc {
        issuer: outside.issuers.start(&oidc.issuer, Purpose::Access, previous)?,
        client_id: oidc.client_id,
        scopes: oidc.scopes,
        revoked_subjects: oidc
            .revoked_subjects
            .into_iter()
            .map(|it| (it.subject, it.issued_before))
            .collect(),
    }))
}

fn drivers(
    listed: &[snapshot::Driver],
    previous: Option<&Config>,
    outside: &Outside,
) -> Result<Vec<Arc<Driver>>, String> {
    let mut drivers: Vec<Arc<Driver>> = Vec::with_capacity(listed.len());
    for driver in listed {
        if drivers.iter().any(|other| other.kind() == driver.kind) {
            return Err(format!("two {} drivers", driver.kind.as_str()));
        }
        drivers.push(outside.drivers.start(driver, previous.map_or(&[], |it| &it.drivers)));
    }
    Ok(drivers)
}

fn tunnels(
    tunnels: Option<snapshot::Tunnels>,
    previous: Option<&Config>,
) -> Result<Option<Arc<Tunnels>>, String> {
    let previous = previous.and_then(|it| it.tunnels.as_deref());
    tunnels.map(|tunnels| Tunnels::read(tunnels, previous).map(Arc::new)).transpose()
}

fn check(backend: &Backend) -> Result<(), String> {
    let name = &backend.name;
    if backend.connect_timeout_ms == 0 {
        return Err(format!("backend {name}: a connection cannot open in no time; set a connect timeout"));
    }
    match &backend.target {
        Target::Address { host, port: 1.. } if !host.is_empty() && !host.contains(char::is_whitespace) => {
            Ok(())
        }
        Target::Address { host, port } => Err(format!("backend {name}: `{host}:{port}` cannot be dialled")),
        Target::Unresolved { .. } => Ok(()),
    }
}

fn clients(listed: Vec<Client>) -> Result<HashMap<String, Client>, String> {
    let mut clients = HashMap::with_capacity(listed.len());
    for client in listed {
        if let Some(other) = clients.insert(client.name.clone(), client) {
            return Err(format!("two clients are named {}", other.name));
        }
    }
    Ok(clients)
}

fn client_authorities(listed: Vec<snapshot::ClientAuthority>) -> Result<Arc<[ClientAuthority]>, String> {
    let mut authorities: Vec<ClientAuthority> = Vec::with_capacity(listed.len());
    for listed in listed {
        let name = listed.name;
        if authorities.iter().any(|other| *other.name == *name) {
            return Err(format!("two client authorities are named {name}"));
        }
        let field = format!("clientAuthorities[{name}].roots");
        let roots = roots(&[listed.roots], &field)?;
        if roots.is_empty() {
            return Err(format!("{field} has no certificate"));
        }
        let identity = |it: snapshot::ForeignIdentity| {
            let pattern = it.uri.parse().map_err(|error| format!("{:?}: {error}", it.uri))?;
            Ok((pattern, Rights { user: it.user, roles: it.roles, scopes: it.scopes }))
        };
        let identities = listed.identities.into_iter().map(identity).collect::<Result<_, String>>();
        authorities.push(ClientAuthority {
            identities: identities.map_err(|why| format!("clientAuthorities[{name}] has {why}"))?,
            revoked: Arc::new(listed.revoked.into_iter().collect()),
            name: name.into(),
            roots,
        });
    }
    Ok(authorities.into())
}

fn roots(pems: &[String], field: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut roots = Vec::with_capacity(pems.len());
    for (index, pem) in pems.iter().enumerate() {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.push(
                certificate.map_err(|error| format!("{field}[{index}] is no PEM certificate: {error}"))?,
            );
        }
    }
    Ok(roots)
}

fn trust(pems: &[String]) -> Result<Vec<CertificateDer<'static>>, String> {
    let roots = roots(pems, "trust")?;
    if roots.is_empty() {
        return Err("the snapshot trusts no authority, so that no client could come in".to_owned());
    }
    Ok(roots)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use portcullis_contract::snapshot::{Auth, Match, Protocol};

    fn client(name: &str) -> Client {
        Client {
            name: name.to_owned(),
            user: format!("{name}@shop"),
            roles: vec!["user".to_owned(), "deployer".to_owned()],
            scopes: None,
        }
    }

    /// Gateway `shop/door` with the client `ci`.
    pub(crate) fn config() -> Config {
        Config {
            version: "0".repeat(16),
            gateway: GatewayName { namespace: "shop".to_owned(), name: "door".to_owned() },
            trust_domain: "cluster.local".to_owned(),
            log_level: LevelFilter::INFO,
            trust: Vec::new(),
            retired: Vec::new(),
            client_authorities: Arc::default(),
            server_fingerprint: String::new(),
            clients: [("ci".to_owned(), client("ci"))].into(),
            revoked: Arc::default(),
            mode: Mode::MutualTls,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            tls: TlsPolicy::default(),
            edge: None,
            oidc: None,
            drivers: Vec::new(),
            tunnels: None,
            routes: Routes::default(),
            upstreams: Vec::new(),
        }
    }

    fn backend() -> Backend {
        Backend {
            name: "api".to_owned(),
            matches: Match::PathPrefix("/".to_owned()),
            target: Target::Address { host: "api".to_owned(), port: 80 },
            protocol: Protocol::Http1,
            connect_timeout_ms: 1_000,
            request_timeout_ms: 0,
            forward_client_certificate: false,
            auth: Auth::Required,
            requires: Vec::new(),
        }
    }

    /// The same, with something about it changed.
    pub(crate) fn config_with(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = config();
        change(&mut config);
        config
    }

    /// An issuer that asks nobody and has no keys.
    fn issuer(purpose: Purpose) -> Arc<Issuer> {
        let parameters = snapshot::Issuer::of("https://idp.example.com", "door");
        Issuer::standing(&parameters, purpose, None).unwrap()
    }

    pub(crate) fn oidc() -> Oidc {
        Oidc {
            issuer: issuer(Purpose::Access),
            client_id: "cli".to_owned(),
            scopes: Vec::new(),
            revoked_subjects: HashMap::new(),
        }
    }

    pub(crate) fn edge() -> Edge {
        Edge {
            issuer: issuer(Purpose::Edge),
            header: HeaderName::from_static("cf-access-jwt-assertion"),
            cookie: "CF_Authorization".to_owned(),
            grace: 0,
        }
    }

    #[test]
    fn a_backend_that_cannot_be_dialled_is_refused() {
        assert_eq!(check(&backend()), Ok(()));
        let target = Target::Address { host: "api".to_owned(), port: 0 };
        assert!(check(&Backend { target, ..backend() }).is_err());
        let target = Target::Address { host: String::new(), port: 80 };
        assert!(check(&Backend { target, ..backend() }).is_err());
        assert!(check(&Backend { connect_timeout_ms: 0, ..backend() }).is_err());
    }

    #[test]
    fn two_clients_of_one_name_are_refused() {
        assert!(clients(vec![client("ci"), client("dev")]).is_ok());
        assert!(clients(vec![client("ci"), client("ci")]).unwrap_err().contains("ci"));
    }

    #[test]
    fn trust_must_be_certificates_and_at_least_one() {
        assert!(trust(&[]).is_err());
        assert!(trust(&["nothing".to_owned()]).is_err());
        assert!(trust(&["-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n".to_owned()]).is_err());
    }
}

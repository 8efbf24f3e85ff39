//! Which tunnel a public name belongs to: a pure match over an immutable table. An exact name wins over a wildcard.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use ipnet::IpNet;
use portcullis_contract::endpoint::{Endpoint, Scheme};
use portcullis_contract::hostname::{Hostname, of_authority};
use portcullis_contract::snapshot::{self, Auth, Requirement, TunnelProtocol, Upstream};

use super::rate::Bucket;
use crate::route::covers;

/// A tunnel, as visitors meet it.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// Namespace and name, with a slash between them.
    pub(crate) label: Arc<str>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: Arc<str>,
    pub(crate) protocol: TunnelProtocol,
    pub(crate) hostnames: Vec<String>,
    /// The port of its own that visitors come to.
    pub(crate) port: Option<u16>,
    pub(crate) endpoint: Endpoint,
    pub(crate) upstream: Upstream,
    pub(crate) enabled: bool,
    pub(crate) auth: Auth,
    pub(crate) requires: Vec<Requirement>,
    methods: Vec<String>,
    prefixes: Vec<String>,
    sources: Vec<IpNet>,
    pub(super) bucket: Option<Arc<Bucket>>,
}

/// Every tunnel of a configuration, by what it is asked for by.
#[derive(Debug)]
pub(crate) struct Tunnels {
    domain: Hostname,
    /// Where a probe comes in as a visitor does: host and port.
    pub(crate) service: String,
    /// Where the other replicas are.
    pub(crate) peers: Vec<String>,
    pub(crate) certificate_dir: Option<String>,
    /// How many replicas there are to be.
    pub(crate) replicas: u32,
    all: Vec<Arc<Tunnel>>,
    exact: HashMap<String, Arc<Tunnel>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<Tunnel>>,
    by_uid: HashMap<Arc<str>, Arc<Tunnel>>,
    /// By namespace and name, with a slash between them.
    by_label: HashMap<Arc<str>, Arc<Tunnel>>,
    by_port: HashMap<u16, Arc<Tunnel>>,
}

impl Tunnels {
    /// Reads and checks what a snapshot says. The error is a sentence for whoever reads `kubectl describe`.
    pub(crate) fn read(snapshot: snapshot::Tunnels, previous: Option<&Self>) -> Result<Self, String> {
        let domain = snapshot.domain.parse::<Hostname>().map_err(|error| format!("tunnels: {error}"))?;
        let mut tunnels = Self {
            domain,
            service: snapshot.service,
            peers: snapshot.peers,
            certificate_dir: snapshot.certificate_dir,
            replicas: snapshot.replicas.max(1),
            all: Vec::with_capacity(snapshot.tunnels.len()),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            by_uid: HashMap::new(),
            by_label: HashMap::new(),
            by_port: HashMap::new(),
        };
        for tunnel in snapshot.tunnels {
            let before = previous.and_then(|it| it.by_uid.get(tunnel.uid.as_str()));
            tunnels.add(Arc::new(Tunnel::read(tunnel, before)?))?;
        }
        Ok(tunnels)
    }

    fn add(&mut self, tunnel: Arc<Tunnel>) -> Result<(), String> {
        for text in &tunnel.hostnames {
            let name: Hostname = text.parse().map_err(|error| format!("tunnel {}: {error}", tunnel.label))?;
            if !name.is_within(&self.domain) {
                return Err(format!("tunnel {}: {name} is not within {}", tunnel.label, self.domain));
            }
            let entry = match name.wildcard_parent() {
                Some(parent) => self.wildcard.entry(parent.to_owned()),
                None => self.exact.entry(name.to_string()),
            };
            match entry {
                Entry::Vacant(entry) => entry.insert(Arc::clone(&tunnel)),
                Entry::Occupied(entry) => {
                    return Err(format!("{name} is held by both {} and {}", entry.get().label, tunnel.label));
                }
            };
        }
        if let Some(port) = tunnel.port
            && let Some(other) = self.by_port.insert(port, Arc::clone(&tunnel))
        {
            return Err(format!("port {port} is held by both {} and {}", other.label, tunnel.label));
        }
        if self.by_uid.insert(Arc::clone(&tunnel.uid), Arc::clone(&tunnel)).is_some() {
            return Err(format!("two tunnels have the uid of {}", tunnel.label));
        }
        self.by_label.insert(Arc::clone(&tunnel.label), Arc::clone(&tunnel));
        self.all.push(tunnel);
        Ok(())
    }

    pub(crate) fn domain(&self) -> &Hostname {
        &self.domain
    }

    pub(crate) fn all(&self) -> &[Arc<Tunnel>] {
        &self.all
    }

    /// The public name that a request's authority is, in canonical form; None: it is none.
    pub(crate) fn public_name(&self, authority: &str) -> Option<Hostname> {
        of_authority(authority).filter(|name| name.is_within(&self.domain))
    }

    /// The tunnel that a visitor's name belongs to.
    pub(crate) fn find(&self, name: &Hostname) -> Option<&Arc<Tunnel>> {
        self.exact.get(name.as_str()).or_else(|| {
            let (_, parent) = name.as_str().split_once('.')?;
            self.wildcard.get(parent)
        })
    }

    /// The tunnel that a handshake for this name is passed on to, unanswered.
    pub(crate) fn passed_on(&self, server_name: &str) -> Option<&Arc<Tunnel>> {
        let name = server_name.parse().ok()?;
        self.find(&name).filter(|tunnel| tunnel.protocol == TunnelProtocol::Tls)
    }

    /// The tunnel that visitors of this port come to.
    pub(crate) fn on_port(&self, port: u16) -> Option<&Arc<Tunnel>> {
        self.by_port.get(&port)
    }

    /// Ports that tunnels hold.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        self.by_port.keys().copied().collect()
    }

    pub(crate) fn by_uid(&self, uid: &str) -> Option<&Arc<Tunnel>> {
        self.by_uid.get(uid)
    }

    pub(crate) fn by_name(&self, namespace: &str, name: &str) -> Option<&Arc<Tunnel>> {
        self.by_label.get(format!("{namespace}/{name}").as_str())
    }
}

impl Tunnel {
    fn read(tunnel: snapshot::Tunnel, before: Option<&Arc<Self>>) -> Result<Self, String> {
        let label: Arc<str> = format!("{}/{}", tunnel.namespace, tunnel.name).into();
        let sources = tunnel.access.source_cidrs.iter().map(|text| {
            text.parse().map_err(|_| format!("tunnel {label}: sourceCIDRs has {text:?}, which is no CIDR"))
        });
        let bucket = tunnel.access.rate_limit.map(|limit| {
            let kept = before.and_then(|it| it.bucket.as_ref()).filter(|bucket| bucket.limit() == limit);
            kept.cloned().unwrap_or_else(|| Arc::new(Bucket::new(limit)))
        });
        let endpoint: Endpoint =
            tunnel.endpoint.parse().map_err(|error| format!("tunnel {label}: {error}"))?;
        let protocol = tunnel.protocol;
        let is_raw = protocol != TunnelProtocol::Http;
        // Of bytes that are not read nobody can say whose they are.
        let fits = (endpoint.scheme == Scheme::Tcp) == is_raw
            && tunnel.port.is_some() == (protocol == TunnelProtocol::Tcp)
            && (!is_raw || tunnel.access.auth == Auth::None);
        if !fits {
            let protocol = protocol.as_str();
            return Err(format!("tunnel {label}: endpoint, port or access do not fit protocol {protocol}"));
        }
        Ok(Self {
            sources: sources.collect::<Result<_, _>>()?,
            endpoint,
            protocol,
            port: tunnel.port,
            prefixes: tunnel
                .access
                .path_prefixes
                .iter()
                .map(|it| it.trim_end_matches('/').to_owned())
                .collect(),
            label,
            namespace: tunnel.namespace,
            name: tunnel.name,
            uid: tunnel.uid.into(),
            hostnames: tunnel.hostnames,
            upstream: tunnel.upstream,
            enabled: tunnel.enabled,
            auth: tunnel.access.auth,
            requires: tunnel.access.requires,
            methods: tunnel.access.methods,
            bucket,
        })
    }

    /// Whether it leads to the same service by the same names.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.protocol, self.port, &self.hostnames) == (other.protocol, other.port, &other.hostnames)
            && self.endpoint == other.endpoint
            && self.upstream == other.upstream
            && self.enabled == other.enabled
    }

    /// Whether a request of this method for this path is let through.
    pub(super) fn lets_through(&self, method: &Method, path: &str) -> bool {
        let method_holds = self.methods.is_empty() || self.methods.iter().any(|it| it == method.as_str());
        method_holds && (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| covers(prefix, path)))
    }

    /// Whether visitors may come from this address. One that cannot be read comes from nowhere.
    pub(super) fn takes_from(&self, address: Option<IpAddr>) -> bool {
        self.sources.is_empty()
            || address.is_some_and(|it| self.sources.iter().any(|net| net.contains(&it.to_canonical())))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use portcullis_contract::snapshot::TunnelAccess;

    pub(crate) fn tunnel(name: &str, hostnames: &[&str]) -> snapshot::Tunnel {
        snapshot::Tunnel {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            protocol: TunnelProtocol::Http,
            port: None,
            hostnames: hostnames.iter().map(|it| (*it).to_owned()).collect(),
            endpoint: "http://localhost:8080".to_owned(),
            upstream: Upstream::default(),
            enabled: true,
            access: TunnelAccess::default(),
        }
    }

    pub(crate) fn tunnels(tunnels: Vec<snapshot::Tunnel>) -> Result<Tunnels, String> {
        let snapshot = snapshot::Tunnels {
            domain: "t.example.com".to_owned(),
            certificate_dir: None,
            service: "door.shop.svc:443".to_owned(),
            peers: Vec::new(),
            replicas: 1,
            tunnels,
        };
        Tunnels::read(snapshot, None)
    }

    #[test]
    fn an_exact_name_wins_over_a_wildcard_in_every_spelling() {
        let table = tunnels(vec![
            tunnel("any", &["*.t.example.com"]),
            tunnel("web", &["web.t.example.com"]),
            tunnel("deep", &["*.x.t.example.com"]),
        ])
        .unwrap();
        let found = |host: &str| table.find(&table.public_name(host)?).map(|tunnel| tunnel.name.clone());
        let is_public = |host: &str| table.public_name(host).is_some();
        for (host, name) in [
            ("web.t.example.com", Some("web")),
            ("WEB.t.example.com.:8443", Some("web")),
            ("other.t.example.com", Some("any")),
            ("a.x.t.example.com", Some("deep")),
            ("a.b.x.t.example.com", None),
            ("t.example.com", None),
            ("web.example.com", None),
            ("*.t.example.com", None),
            ("10.0.0.1", None),
        ] {
            assert_eq!(found(host).as_deref(), name, "{host}");
        }
        assert!(is_public("nobody.t.example.com") && is_public("T.example.com:443"));
        assert!(!is_public("door.shop.svc") && !is_public("evil-t.example.com"));
    }

    #[test]
    fn a_name_that_two_hold_or_that_is_outside_is_refused() {
        let two = tunnels(vec![tunnel("a", &["web.t.example.com"]), tunnel("b", &["Web.T.example.com."])]);
        assert!(two.unwrap_err().contains("shop/a and shop/b"));
        assert!(tunnels(vec![tunnel("a", &["web.example.com"])]).unwrap_err().contains("not within"));
    }

    #[test]
    fn handshakes_and_ports_lead_to_tunnels_of_their_protocol_alone() {
        let raw = |name: &str, hostnames: &[&str], protocol, port| snapshot::Tunnel {
            protocol,
            port,
            endpoint: "tcp://localhost:5432".to_owned(),
            access: TunnelAccess { auth: Auth::None, ..TunnelAccess::default() },
            ..tunnel(name, hostnames)
        };
        let tls = |name, hostnames| raw(name, hostnames, TunnelProtocol::Tls, None);
        let tcp = |name, port| raw(name, &[], TunnelProtocol::Tcp, Some(port));
        let table = tunnels(vec![
            tunnel("web", &["web.t.example.com"]),
            tls("db", &["db.t.example.com", "*.db.t.example.com"]),
            tcp("ssh", 20_022),
        ])
        .unwrap();
        let passed = |name: &str| table.passed_on(name).map(|tunnel| tunnel.name.as_str());
        assert_eq!((passed("DB.t.example.com"), passed("a.db.t.example.com")), (Some("db"), Some("db")));
        assert_eq!((passed("web.t.example.com"), passed("none.t.example.com")), (None, None));
        assert_eq!(table.on_port(20_022).map(|tunnel| tunnel.name.as_str()), Some("ssh"));
        assert_eq!(table.ports().into_iter().collect::<Vec<_>>(), [20_022]);
        for (wrong, says) in [
            (vec![tcp("a", 20_022), tcp("b", 20_022)], "held by both"),
            (vec![raw("a", &[], TunnelProtocol::Tcp, None)], "do not fit"),
            (vec![raw("a", &["a.t.example.com"], TunnelProtocol::Http, None)], "do not fit"),
            (vec![snapshot::Tunnel { protocol: TunnelProtocol::Tls, ..tunnel("a", &[]) }], "do not fit"),
            (vec![snapshot::Tunnel { access: TunnelAccess::default(), ..tcp("a", 20_022) }], "do not fit"),
        ] {
            let error = tunnels(wrong).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn methods_paths_and_addresses_are_looked_at_where_some_are_named() {
        let mut limited = tunnel("web", &["web.t.example.com"]);
        limited.access.methods = vec!["GET".to_owned()];
        limited.access.path_prefixes = vec!["/api/".to_owned()];
        limited.access.source_cidrs = vec!["192.0.2.0/24".to_owned()];
        let table = tunnels(vec![limited, tunnel("open", &["open.t.example.com"])]).unwrap();
        let (web, open) = (&table.all()[0], &table.all()[1]);
        assert!(web.lets_through(&Method::GET, "/api/x") && web.lets_through(&Method::GET, "/api"));
        assert!(!web.lets_through(&Method::GET, "/apix") && !web.lets_through(&Method::POST, "/api"));
        assert!(web.takes_from("192.0.2.7".parse().ok()) && web.takes_from("::ffff:192.0.2.7".parse().ok()));
        assert!(!web.takes_from("192.0.3.7".parse().ok()) && !web.takes_from(None));
        assert!(open.lets_through(&Method::DELETE, "/") && open.takes_from(None));
    }
}

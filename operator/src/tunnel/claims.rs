//! Who is accepted at a Gateway, and which public names and ports each Tunnel holds: one decision over all Tunnels that name it. Both
//! what replicas are told and what each Tunnel's status says come from it. Pure; the order of its input changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt as _;
use portcullis_api::condition::{ConditionType, Reason, holds};
use portcullis_api::{Gateway, Protocol, Tunnel, VisitorAuth};
use portcullis_contract::endpoint::{Endpoint, Scheme};
use portcullis_contract::hostname::Hostname;
use portcullis_contract::snapshot::{
    self, Auth, RateLimit, Requirement, TunnelAccess, TunnelProtocol, Upstream, UpstreamTls,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::words;
use crate::gateway::validate::Rejected;
use crate::world::{Key, Namespaces, World};

mod namespaces;
mod ports;

pub use namespaces::takes;

/// How many generated names are tried.
const ATTEMPTS: u32 = 32;
/// What all Tunnels of a Gateway may take in its ConfigMap, in bytes: that holds 1 MiB, and the rest of the configuration.
const ROOM: usize = 700 * 1024;
/// Names that a wildcard certificate for the domain does not cover, and that the server's certificate holds one by one.
const DEEP_NAMES: usize = 100;

/// What became of every Tunnel that names a Gateway.
#[derive(Debug, Default)]
pub struct Claims {
    /// By uid.
    verdicts: HashMap<String, Result<snapshot::Tunnel, Rejected>>,
    /// Uids of those that are accepted, the oldest first.
    order: Vec<String>,
}

impl Claims {
    /// Decides over these Tunnels. None of them is accepted without a Gateway.
    pub fn of(
        key: &Key,
        gateway: Option<&Gateway>,
        tunnels: &[Arc<Tunnel>],
        namespaces: &Namespaces,
    ) -> Self {
        let mut claims = Self::default();
        let mut held = Held::default();
        let (mut room, mut deep) = (ROOM, DEEP_NAMES);
        let domain = gateway.and_then(|gateway| gateway.spec.tunnels.as_ref()?.domain.parse().ok());
        let domain = domain.map(|domain: Hostname| domain.to_string()).unwrap_or_default();
        let mut sorted: Vec<_> =
            tunnels.iter().filter(|it| it.metadata.deletion_timestamp.is_none()).collect();
        sorted.sort_by_cached_key(|tunnel| {
            (tunnel.creation_timestamp(), !was_accepted(tunnel), Key::of(&***tunnel))
        });
        for tunnel in sorted {
            let uid = tunnel.uid().unwrap_or_default();
            let verdict = match gateway.filter(|it| it.metadata.deletion_timestamp.is_none()) {
                None => Err(rejected(
                    Reason::GatewayNotFound,
                    format!("there is no Gateway {key}: apply it, or correct spec.gatewayRef"),
                )),
                Some(gateway) => accept(key, gateway, tunnel, namespaces, &held, claims.order.len()),
            };
            let verdict = verdict.and_then(|accepted| fit(key, &domain, accepted, &mut room, &mut deep));
            if let Ok(accepted) = &verdict {
                let names = accepted.hostnames.iter().filter_map(|name| name.parse().ok());
                held.names.extend(names.map(|name| (name, Key::of(&**tunnel))));
                held.ports.extend(accepted.port.map(|port| (port, Key::of(&**tunnel))));
                claims.order.push(uid.clone());
            }
            claims.verdicts.insert(uid, verdict);
        }
        claims
    }

    /// What became of one.
    pub fn verdict(&self, uid: &str) -> Option<&Result<snapshot::Tunnel, Rejected>> {
        self.verdicts.get(uid)
    }

    /// Those that are accepted, the oldest first.
    pub fn accepted(&self) -> impl Iterator<Item = &snapshot::Tunnel> {
        self.order.iter().filter_map(|uid| self.verdicts.get(uid)?.as_ref().ok())
    }
}

/// Of those that were created in the same second, which is as fine as the API server tells it, whoever holds a name already
/// keeps it.
fn was_accepted(tunnel: &Tunnel) -> bool {
    tunnel.status.as_ref().is_some_and(|status| holds(&status.conditions, ConditionType::Accepted))
}

/// What is taken already, and by whom.
#[derive(Debug, Default)]
pub(super) struct Held {
    names: BTreeMap<Hostname, Key>,
    ports: BTreeMap<u16, Key>,
}

impl Held {
    /// Says whose a name or port is. Who reads this Tunnel may not be one who may see the other.
    fn whose(tunnel: &Tunnel, winner: &Key) -> String {
        if Some(&winner.namespace) == tunnel.namespace().as_ref() {
            format!("Tunnel {winner}")
        } else {
            "a Tunnel of another namespace".to_owned()
        }
    }
}

/// The last decision for each Gateway, for as long as nothing that it hangs on has changed.
#[derive(Debug, Default)]
pub struct Decided(Mutex<HashMap<Key, (u64, Arc<Claims>)>>);

impl Decided {
    /// Who is accepted at a Gateway.
    pub fn at(&self, world: &World, key: &Key) -> Arc<Claims> {
        let revision = world.revision(key);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some((_, claims)) = known.filter(|(of, _)| *of == revision) {
            return claims;
        }
        let claims = Arc::new(Claims::of(
            key,
            world.gateway(key).as_deref(),
            &world.tunnels_of(key),
            &world.namespaces(),
        ));
        let mut decided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        decided.insert(key.clone(), (revision, claims.clone()));
        claims
    }

    /// Forgets what was decided of a Gateway that is gone.
    pub fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Takes the place that a Tunnel needs, if there is as much.
fn fit(
    key: &Key,
    domain: &str,
    tunnel: snapshot::Tunnel,
    room: &mut usize,
    deep: &mut usize,
) -> Result<snapshot::Tunnel, Rejected> {
    let size = serde_json::to_string_pretty(&tunnel).map_or(usize::MAX, |json| json.len());
    // A wildcard covers one label.
    let is_deep = |name: &&String| name.split_once('.').is_none_or(|(_, parent)| parent != domain);
    // Handshakes that are passed on show no certificate of ours.
    let certified = tunnel.protocol == TunnelProtocol::Http;
    let deeper = tunnel.hostnames.iter().filter(|_| certified).filter(is_deep).count();
    if size > *room || deeper > *deep {
        return Err(rejected(
            Reason::QuotaExceeded,
            format!(
                "the Tunnels of Gateway {key} are as large together as they may be: write fewer or shorter hostnames, or use another Gateway"
            ),
        ));
    }
    *room -= size;
    *deep -= deeper;
    Ok(tunnel)
}

fn rejected(reason: Reason, message: String) -> Rejected {
    Rejected { reason, message }
}

fn accept(
    key: &Key,
    gateway: &Gateway,
    tunnel: &Tunnel,
    namespaces: &Namespaces,
    held: &Held,
    accepted: usize,
) -> Result<snapshot::Tunnel, Rejected> {
    let Some(tunnels) = &gateway.spec.tunnels else {
        return Err(rejected(
            Reason::NotAllowed,
            format!("Gateway {key} takes no Tunnels: give it spec.tunnels with a domain"),
        ));
    };
    let namespace = tunnel.namespace().unwrap_or_default();
    namespaces::allowed(key, tunnels, tunnel, namespaces)?;
    let invalid = |message: String| rejected(Reason::Invalid, message);
    let domain: Hostname = tunnels
        .domain
        .parse()
        .map_err(|error| invalid(format!("the Gateway's spec.tunnels.domain: {error}")))?;
    let protocol = protocol(tunnel, key, gateway)?;
    let scheme = if protocol == TunnelProtocol::Http { Scheme::Http } else { Scheme::Tcp };
    let endpoint = Endpoint::read(&tunnel.spec.endpoint, scheme)
        .map_err(|error| invalid(format!("spec.endpoint: {error}")))?;
    let knows_visitors = gateway.spec.oidc.is_some() || gateway.spec.access.edge.is_some();
    if tunnel.spec.access.auth == VisitorAuth::Required && !knows_visitors {
        return Err(invalid(format!(
            "spec.access.auth is Required, and Gateway {key} has neither spec.oidc nor an edge that could say who visits: give it one, or write access: {{auth: None}} to open the service to everybody"
        )));
    }
    let hostnames = hostnames(tunnel, &domain, held)?;
    let port = ports::port(key, gateway, tunnels, tunnel, held)?;
    if accepted >= usize::try_from(tunnels.max_tunnels).unwrap_or(usize::MAX) {
        return Err(rejected(
            Reason::QuotaExceeded,
            format!(
                "Gateway {key} has the {} Tunnels that its spec.tunnels.maxTunnels allows: remove one, or raise it",
                tunnels.max_tunnels
            ),
        ));
    }
    Ok(snapshot::Tunnel {
        namespace,
        name: tunnel.name_any(),
        uid: tunnel.uid().unwrap_or_default(),
        protocol,
        port,
        hostnames: hostnames.iter().map(Hostname::to_string).collect(),
        endpoint: endpoint.to_string(),
        upstream: upstream(tunnel)?,
        enabled: tunnel.spec.enabled,
        access: access(tunnel),
    })
}

fn protocol(tunnel: &Tunnel, key: &Key, gateway: &Gateway) -> Result<TunnelProtocol, Rejected> {
    match tunnel.spec.protocol {
        Protocol::HTTP => Ok(TunnelProtocol::Http),
        Protocol::TCP => Ok(TunnelProtocol::Tcp),
        Protocol::TLS if gateway.spec.access.mode.scheme() == "https" => Ok(TunnelProtocol::Tls),
        Protocol::TLS => Err(rejected(
            Reason::NotAllowed,
            format!(
                "Gateway {key} is in mode Plaintext, where the proxy in front ends TLS and no handshake comes to the gateway: write protocol HTTP or TCP, or use a Gateway in another mode"
            ),
        )),
    }
}

/// The names that it gets: all of those that it asks for, or none.
fn hostnames(tunnel: &Tunnel, domain: &Hostname, held: &Held) -> Result<Vec<Hostname>, Rejected> {
    if tunnel.spec.protocol == Protocol::TCP {
        return Ok(Vec::new());
    }
    let spec = &tunnel.spec;
    let below = |label: &str| format!("{label}.{domain}").parse::<Hostname>();
    let bad = |error: &dyn std::fmt::Display| rejected(Reason::Invalid, format!("spec: {error}"));
    let wanted: Vec<Hostname> = if let Some(label) = &spec.label {
        vec![below(label).map_err(|error| bad(&error))?]
    } else if spec.hostnames.is_empty() {
        let uid = tunnel.uid().unwrap_or_default();
        let made = (0..ATTEMPTS).filter_map(|attempt| below(&words::label(&uid, attempt)).ok());
        made.into_iter().find(|name| !held.names.contains_key(name)).into_iter().collect()
    } else {
        spec.hostnames
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(|error| bad(&error))?
    };
    for name in &wanted {
        if !name.is_within(domain) || name == domain {
            return Err(rejected(
                Reason::Invalid,
                format!(
                    "spec.hostnames has {name}, which is not below the Gateway's domain: write a name such as web.{domain}"
                ),
            ));
        }
        if let Some(winner) = held.names.get(name) {
            let whose = Held::whose(tunnel, winner);
            return Err(rejected(
                Reason::HostnameConflict,
                format!(
                    "{name} belongs to {whose}, which is older: choose another name, or have it released"
                ),
            ));
        }
    }
    if wanted.is_empty() {
        return Err(rejected(
            Reason::HostnameConflict,
            "no free name was found: write spec.label".to_owned(),
        ));
    }
    Ok(wanted)
}

fn upstream(tunnel: &Tunnel) -> Result<Upstream, Rejected> {
    let spec = &tunnel.spec.upstream;
    let tls = spec.tls.as_ref().map(|tls| {
        if let Some(pem) = &tls.ca_bundle {
            roots(pem).map_err(|why| {
                rejected(Reason::Invalid, format!("spec.upstream.tls.caBundle cannot be used: {why}"))
            })?;
        }
        Ok(UpstreamTls {
            server_name: tls.server_name.clone(),
            ca_bundle: tls.ca_bundle.clone(),
            insecure_skip_verify: tls.insecure_skip_verify,
        })
    });
    Ok(Upstream {
        tls: tls.transpose()?,
        host_header: spec.host_header.clone(),
        connect_timeout_ms: milliseconds("spec.upstream.connectTimeout", &spec.connect_timeout)?,
        response_timeout_ms: milliseconds("spec.upstream.responseTimeout", &spec.response_timeout)?,
    })
}

/// Whether each certificate in it can be trusted, and there is one.
fn roots(pem: &str) -> Result<(), String> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        store.add(root.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    if store.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(()) }
}

fn milliseconds(field: &str, text: &str) -> Result<u64, Rejected> {
    crate::gateway::validate::milliseconds(field, text)
}

fn access(tunnel: &Tunnel) -> TunnelAccess {
    let spec = &tunnel.spec.access;
    let count = |number: i64| u32::try_from(number).unwrap_or(1);
    TunnelAccess {
        auth: match spec.auth {
            VisitorAuth::Required => Auth::Required,
            VisitorAuth::None => Auth::None,
        },
        requires: spec
            .requires
            .iter()
            .map(|requirement| Requirement {
                methods: requirement.methods.clone(),
                role: requirement.role.clone(),
                scopes: requirement.scopes.clone(),
            })
            .collect(),
        methods: spec.methods.clone(),
        path_prefixes: spec.path_prefixes.clone(),
        source_cidrs: spec.source_cidrs.clone(),
        rate_limit: spec.rate_limit.map(|limit| RateLimit {
            requests_per_second: count(limit.requests_per_second),
            burst: count(limit.burst),
        }),
    }
}

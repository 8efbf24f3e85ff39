//! Parses a Gateway's spec into what the plan needs, so that nobody checks again afterwards. Pure.

use std::net::IpAddr;

use kube::ResourceExt as _;
use portcullis_api::condition::Reason;
use portcullis_api::{Gateway, Service};
use portcullis_contract::snapshot::{Backend, Client, Driver};
use portcullis_pki::KeyAlgorithm;
use time::Duration;

use super::observe::Observed;
use crate::names;
use crate::settings::Settings;
use crate::world::{Key, Owner};

pub mod access;
pub mod authority;
pub mod backend;
pub mod client_authorities;
pub mod pods;
pub mod tunnels;

pub use access::Access;
pub use authority::{Asking, Brought, Source};
pub use client_authorities::ClientAuthorities;
pub use pods::Pods;
pub use tunnels::Tunnels;

/// Characters of an annotation's id that count.
const LONGEST_ID: usize = 63;

/// A spec that makes sense, in the terms of the plan.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Which Gateway.
    pub key: Key,
    /// Which object of that name.
    pub uid: String,
    /// What the server certificate should say beside the Service's names.
    pub server: Server,
    /// Where its authority comes from.
    pub authority: Source,
    /// Whether its roots are in a ConfigMap too.
    pub publish_trust: bool,
    /// How long its authority lives, and what is asked of it.
    pub rotation: Rotation,
    /// How callers come in, and whose tokens are believed.
    pub access: Access,
    /// Who may come in.
    pub clients: Vec<Caller>,
    /// Who else signs clients.
    pub client_authorities: ClientAuthorities,
    /// What stands behind the door, resolved.
    pub backends: Vec<Backend>,
    /// Public names and who answers on them.
    pub tunnels: Option<Tunnels>,
    /// Programs beside the gateway.
    pub drivers: Vec<Driver>,
    /// The Service in front.
    pub service: Service,
    /// How many pods.
    pub replicas: i32,
    /// The gateway's image.
    pub image: String,
    /// What the pods have of the spec's own. Where it makes no sense they stay as they are; all else goes on, renewals
    /// first.
    pub pods: Result<Pods, Rejected>,
    /// A log filter's level.
    pub log_level: &'static str,
}

impl Accepted {
    /// Whose the children are.
    pub fn owner(&self) -> Owner {
        Owner::Gateway(self.key.clone())
    }
}

/// What the server certificate should say.
#[derive(Clone, Debug)]
pub struct Server {
    /// More host names.
    pub dns_names: Vec<String>,
    /// More addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// From issuing to expiry.
    pub lifetime: Duration,
    /// How long before expiry it is renewed.
    pub renew_before: Duration,
}

/// How long an authority lives, and how it is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// From issuing to expiry.
    pub lifetime: Duration,
    /// The kind of its key, and of every key that it signs.
    pub key: KeyAlgorithm,
    /// How long the next one is known before it signs.
    pub publish_for: Duration,
    /// How long the one before is trusted at most.
    pub retire_after: Option<Duration>,
    /// For how long nobody is to come with a certificate of it, so that it goes before that.
    pub retire_unused_after: Option<Duration>,
    /// A rotation that an annotation asks for, such as `rotate=1`.
    pub rotate: Option<String>,
    /// The same, without an overlap: `emergency=1`.
    pub emergency: Option<String>,
    /// The way back from one that is under way: `rollback=1`.
    pub rollback: Option<String>,
}

/// Somebody who may come in.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As backends are told.
    pub client: Client,
    /// From issuing to expiry of the bundle's certificate.
    pub lifetime: Duration,
    /// Serials of its certificates that count no more.
    pub revoke: Vec<String>,
}

/// A spec that makes no sense, though the API server took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// For the condition.
    pub reason: Reason,
    /// What to write instead.
    pub message: String,
}

/// Parses the spec.
///
/// # Errors
/// Where a value makes no sense; says what to write instead.
pub fn validate(gateway: &Gateway, observed: &Observed, settings: &Settings) -> Result<Accepted, Rejected> {
    let spec = &gateway.spec;
    Ok(Accepted {
        key: Key::of(gateway),
        uid: gateway.uid().unwrap_or_default(),
        server: server(gateway)?,
        authority: authority::source(gateway, observed),
        publish_trust: spec.pki.publish_trust,
        rotation: rotation(gateway)?,
        access: access::access(spec)?,
        clients: spec.clients.iter().map(caller).collect::<Result<_, _>>()?,
        client_authorities: client_authorities::client_authorities(spec, observed)?,
        backends: spec
            .backends
            .iter()
            .map(|backend| backend::resolve(gateway, backend, observed))
            .collect::<Result<_, _>>()?,
        tunnels: tunnels::tunnels(gateway, observed)?,
        drivers: pods::drivers(spec),
        service: spec.service.clone(),
        replicas: spec.replicas,
        image: spec.image.clone().unwrap_or_else(|| settings.gateway_image.clone()),
        pods: pods::pods(spec),
        log_level: spec.log_level.as_filter(),
    })
}

fn server(gateway: &Gateway) -> Result<Server, Rejected> {
    let server = &gateway.spec.pki.server;
    let lifetime = span("spec.pki.server.duration", &server.duration)?;
    let renew_before = match &server.renew_before {
        Some(text) => span("spec.pki.server.renewBefore", text)?,
        None => lifetime / 3,
    };
    let addresses = server.ip_addresses.iter().map(|text| {
        text.parse().map_err(|_| {
            invalid(format!("spec.pki.server.ipAddresses holds {text:?}: write an address such as 192.0.2.7 or 2001:db8::7"))
        })
    });
    Ok(Server {
        dns_names: server.dns_names.clone(),
        ip_addresses: addresses.collect::<Result<_, _>>()?,
        lifetime,
        renew_before,
    })
}

fn rotation(gateway: &Gateway) -> Result<Rotation, Rejected> {
    let ca = &gateway.spec.pki.ca;
    // An id is a word that people think of; what is longer counts by its beginning.
    let asked = |verb: &str, annotation: &str| {
        let id: String = gateway.annotations().get(annotation)?.trim().chars().take(LONGEST_ID).collect();
        (!id.is_empty()).then(|| format!("{verb}={id}"))
    };
    Ok(Rotation {
        lifetime: span("spec.pki.ca.duration", &ca.duration)?,
        key: match gateway.spec.pki.key_algorithm {
            portcullis_api::KeyAlgorithm::P256 => KeyAlgorithm::P256,
            portcullis_api::KeyAlgorithm::P384 => KeyAlgorithm::P384,
            portcullis_api::KeyAlgorithm::Ed25519 => KeyAlgorithm::Ed25519,
            portcullis_api::KeyAlgorithm::Rsa2048 => KeyAlgorithm::Rsa2048,
            portcullis_api::KeyAlgorithm::Rsa3072 => KeyAlgorithm::Rsa3072,
            portcullis_api::KeyAlgorithm::Rsa4096 => KeyAlgorithm::Rsa4096,
        },
        publish_for: span("spec.pki.ca.publishFor", &ca.publish_for)?,
        retire_after: ca
            .retire_after
            .as_ref()
            .map(|text| span("spec.pki.ca.retireAfter", text))
            .transpose()?,
        retire_unused_after: ca
            .retire_unused_after
            .as_ref()
            .map(|text| span("spec.pki.ca.retireUnusedAfter", text))
            .transpose()?,
        rotate: asked("rotate", names::ROTATE),
        emergency: asked("emergency", names::ROTATE_EMERGENCY),
        rollback: asked("rollback", names::ROTATE_ROLLBACK),
    })
}

fn caller(client: &portcullis_api::Client) -> Result<Caller, Rejected> {
    Ok(Caller {
        client: Client {
            name: client.name.clone(),
            user: client.user.clone().unwrap_or_else(|| client.name.clone()),
            roles: client.roles.clone(),
            scopes: client.scopes.clone(),
        },
        lifetime: span(&format!("spec.clients[{}].duration", client.name), &client.duration)?,
        revoke: client.revoke.clone(),
    })
}

/// A time of the spec in milliseconds.
///
/// # Errors
/// Where it is none.
pub fn milliseconds(field: &str, text: &str) -> Result<u64, Rejected> {
    u64::try_from(span(field, text)?.whole_milliseconds()).map_err(|_| bad_span(field, text))
}

fn seconds(field: &str, text: &str) -> Result<u64, Rejected> {
    u64::try_from(span(field, text)?.whole_seconds()).map_err(|_| bad_span(field, text))
}

fn span(field: &str, text: &str) -> Result<Duration, Rejected> {
    let parsed: kube::core::Duration = text.parse().map_err(|_| bad_span(field, text))?;
    Duration::try_from(std::time::Duration::from(parsed)).map_err(|_| bad_span(field, text))
}

fn bad_span(field: &str, text: &str) -> Rejected {
    invalid(format!("{field} is {text:?}: write a time such as 168h or 30s"))
}

fn invalid(message: String) -> Rejected {
    Rejected { reason: Reason::Invalid, message }
}

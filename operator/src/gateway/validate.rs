//! Parses a Gateway's spec into what the plan needs, so that nobody checks again afterwards. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt as _;
use portcullis_api::condition::Reason;
use portcullis_api::{BackendProtocol, Gateway, Service};
use portcullis_contract::snapshot::{Backend, Client, Match, Protocol, Target};
use serde_json::Value;
use time::Duration;

use super::observe::Observed;
use crate::settings::Settings;
use crate::world::Key;

/// A spec that makes sense, in the terms of the plan.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Which Gateway.
    pub key: Key,
    /// Which object of that name.
    pub uid: String,
    /// What the server certificate should say beside the Service's names.
    pub server: Server,
    /// Who may come in.
    pub clients: Vec<Caller>,
    /// What stands behind the door, resolved.
    pub backends: Vec<Backend>,
    /// The Service in front.
    pub service: Service,
    /// How many pods.
    pub replicas: i32,
    /// The gateway's image.
    pub image: String,
    /// What is laid over the pods. Where it makes no sense the pods stay as they are; all else goes on, renewals first.
    pub overlay: Result<Option<PodTemplateSpec>, Rejected>,
    /// A log filter's level.
    pub log_level: &'static str,
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

/// Somebody who may come in.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As backends are told.
    pub client: Client,
    /// From issuing to expiry of the bundle's certificate.
    pub lifetime: Duration,
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
        clients: spec.clients.iter().map(caller).collect::<Result<_, _>>()?,
        backends: spec
            .backends
            .iter()
            .map(|backend| resolve(gateway, backend, observed))
            .collect::<Result<_, _>>()?,
        service: spec.service.clone(),
        replicas: spec.replicas,
        image: spec.image.clone().unwrap_or_else(|| settings.gateway_image.clone()),
        overlay: spec.pod_template.as_ref().map(overlay).transpose(),
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

fn caller(client: &portcullis_api::Client) -> Result<Caller, Rejected> {
    Ok(Caller {
        client: Client {
            name: client.name.clone(),
            user: client.user.clone().unwrap_or_else(|| client.name.clone()),
            roles: client.roles.clone(),
        },
        lifetime: span(&format!("spec.clients[{}].duration", client.name), &client.duration)?,
    })
}

fn resolve(
    gateway: &Gateway,
    backend: &portcullis_api::Backend,
    observed: &Observed,
) -> Result<Backend, Rejected> {
    let field = |name: &str| format!("spec.backends[{}].timeouts.{name}", backend.name);
    let matches = match (&backend.matches.path_prefix, &backend.matches.grpc_service) {
        (Some(prefix), None) => Match::PathPrefix(prefix.clone()),
        (None, Some(service)) => Match::GrpcService(service.clone()),
        _ => {
            return Err(invalid(format!(
                "spec.backends[{}].match needs pathPrefix or grpcService",
                backend.name
            )));
        }
    };
    let is_grpc = matches!(matches, Match::GrpcService(_));
    let request_timeout_ms = match &backend.timeouts.request {
        Some(text) => milliseconds(&field("request"), text)?,
        None if is_grpc => 0,
        None => 60_000,
    };
    let protocol = match backend.protocol {
        Some(BackendProtocol::H2C) => Protocol::H2c,
        None if is_grpc => Protocol::H2c,
        Some(BackendProtocol::HTTP1) | None => Protocol::Http1,
    };
    Ok(Backend {
        name: backend.name.clone(),
        matches,
        target: target(gateway, backend, observed),
        protocol,
        connect_timeout_ms: milliseconds(&field("connect"), &backend.timeouts.connect)?,
        request_timeout_ms,
        forward_client_certificate: backend.forward_client_certificate,
    })
}

fn target(gateway: &Gateway, backend: &portcullis_api::Backend, observed: &Observed) -> Target {
    let port = |port: i32| u16::try_from(port).unwrap_or_default();
    let namespace = gateway.namespace().unwrap_or_default();
    match (&backend.service, &backend.sidecar) {
        (Some(service), _) => match observed.services.get(&service.name) {
            Some(Some(ports)) if ports.contains(&service.port) => Target::Address {
                host: format!("{}.{namespace}.svc", service.name),
                port: port(service.port),
            },
            Some(Some(ports)) => Target::Unresolved { reason: wrong_port(service, ports) },
            _ => Target::Unresolved {
                reason: format!("Service {:?} does not exist in namespace {namespace:?}", service.name),
            },
        },
        (None, Some(sidecar)) => Target::Address { host: "127.0.0.1".to_owned(), port: port(sidecar.port) },
        (None, None) => Target::Unresolved { reason: "neither service nor sidecar is given".to_owned() },
    }
}

fn wrong_port(service: &portcullis_api::ServiceTarget, ports: &[i32]) -> String {
    if ports.is_empty() {
        return format!("Service {:?} has no ports", service.name);
    }
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    format!("Service {:?} has no port {}, only {}", service.name, service.port, ports.join(", "))
}

/// Reads the overlay strictly: a key that a PodTemplateSpec does not have is an error, not silence.
fn overlay(value: &Value) -> Result<PodTemplateSpec, Rejected> {
    let wrong = |why: String| Rejected {
        reason: Reason::InvalidPodTemplate,
        message: format!("spec.podTemplate {why}. The pods stay as they are until it makes sense"),
    };
    let template: PodTemplateSpec = serde_json::from_value(value.clone())
        .map_err(|error| wrong(format!("is no PodTemplateSpec: {error}")))?;
    let understood = serde_json::to_value(&template).map_err(|error| wrong(error.to_string()))?;
    match unknown_key(value, &understood, "spec.podTemplate") {
        Some(path) => Err(wrong(format!("has a field that a PodTemplateSpec does not know: {path}"))),
        None => Ok(template),
    }
}

fn unknown_key(written: &Value, understood: &Value, path: &str) -> Option<String> {
    match written {
        Value::Object(fields) => {
            fields.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match understood.get(key) {
                    Some(understood) => unknown_key(value, understood, &path),
                    None => Some(path),
                }
            })
        }
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            unknown_key(item, understood.get(index).unwrap_or(&Value::Null), &format!("{path}[{index}]"))
        }),
        _ => None,
    }
}

fn milliseconds(field: &str, text: &str) -> Result<u64, Rejected> {
    u64::try_from(span(field, text)?.whole_milliseconds()).map_err(|_| bad_span(field, text))
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

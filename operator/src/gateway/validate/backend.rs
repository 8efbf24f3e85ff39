//! What stands behind the door: Services are resolved to addresses here.

use kube::ResourceExt as _;
use portcullis_api::{BackendAuth, BackendProtocol, Gateway};
use portcullis_contract::snapshot::{Auth, Backend, Match, Protocol, Requirement, Target};

use super::{Rejected, invalid, milliseconds};
use crate::gateway::observe::Observed;

/// The backend, with its Service looked up.
pub(super) fn resolve(
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
        auth: match backend.auth {
            BackendAuth::Required => Auth::Required,
            BackendAuth::Optional => Auth::Optional,
            BackendAuth::None => Auth::None,
        },
        requires: backend.requires.iter().map(requirement).collect(),
    })
}

fn requirement(requirement: &portcullis_api::Requirement) -> Requirement {
    Requirement {
        methods: requirement.methods.clone(),
        role: requirement.role.clone(),
        scopes: requirement.scopes.clone(),
    }
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

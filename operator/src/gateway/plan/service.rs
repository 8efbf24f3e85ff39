//! The Service in front of the pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use portcullis_contract::files;
use portcullis_contract::snapshot::Mode;
use serde_json::Value;

use crate::children::{Error, Maker};
use crate::gateway::validate::{Accepted, Tunnels};
use crate::names;

/// What external-dns reads; an annotation of the spec's own wins.
const EXTERNAL_DNS: &str = "external-dns.alpha.kubernetes.io/hostname";

fn annotations(accepted: &Accepted) -> BTreeMap<String, String> {
    let public = accepted.tunnels.iter().map(|tunnels| {
        let domain = &tunnels.snapshot.domain;
        (EXTERNAL_DNS.to_owned(), format!("{domain},*.{domain}"))
    });
    let mut annotations: BTreeMap<_, _> = public.collect();
    annotations.extend(accepted.service.annotations.clone());
    annotations
}

/// The Service behind which replicas find each other, ready or not: one that drains still has connectors.
pub fn peers(maker: &Maker<'_>) -> Result<Value, Error> {
    let port = ServicePort {
        name: Some("peers".to_owned()),
        port: files::PEER_PORT.into(),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String("peers".to_owned())),
        ..ServicePort::default()
    };
    maker.finish(&Service {
        metadata: maker.metadata(names::peer_service(maker.name())),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(names::selector(maker.name())),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

/// The Service; IP families are the cluster's own choice where the spec makes none.
pub fn service(maker: &Maker<'_>, accepted: &Accepted) -> Result<Value, Error> {
    let (name, app_protocol) = match accepted.access.mode {
        Mode::MutualTls | Mode::Edge => ("https", None),
        Mode::Plaintext => ("http", Some("http".to_owned())),
    };
    let port = ServicePort {
        name: Some(name.to_owned()),
        app_protocol,
        port: accepted.service.port,
        protocol: Some("TCP".to_owned()),
        // In every mode, so that a change of mode leaves the pods as they are.
        target_port: Some(IntOrString::String("https".to_owned())),
        ..ServicePort::default()
    };
    let mut ports = vec![port];
    ports.extend(accepted.tunnels.iter().flat_map(Tunnels::ports).map(of_tunnel));
    let families: Vec<_> = accepted.service.ip_families.iter().map(|it| it.as_str().to_owned()).collect();
    maker.finish(&Service {
        metadata: maker.annotated(maker.name().to_owned(), &annotations(accepted)),
        spec: Some(ServiceSpec {
            type_: Some(accepted.service.type_.as_str().to_owned()),
            ip_family_policy: accepted.service.ip_family_policy.map(|it| it.as_str().to_owned()),
            ip_families: (!families.is_empty()).then_some(families),
            selector: Some(names::selector(maker.name())),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

/// A port that a Tunnel holds. It goes to the pods by number: they listen on it when they are told, and stay as they are.
fn of_tunnel(port: u16) -> ServicePort {
    ServicePort {
        name: Some(format!("tcp-{port}")),
        port: port.into(),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(port.into())),
        ..ServicePort::default()
    }
}

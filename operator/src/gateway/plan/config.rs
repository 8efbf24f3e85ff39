//! The snapshot that replicas serve, and the ConfigMap that a fresh one starts from.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_contract::files;
use portcullis_contract::snapshot::{GatewayName, Snapshot, Target};
use serde_json::Value;

use super::Published;
use super::certificates::Certificates;
use crate::children::{Error, Maker};
use crate::gateway::validate::Accepted;
use crate::names;
use crate::settings::Settings;
use crate::world::Roots;

/// What the replicas should serve. None while no authority or no server certificate can be named.
pub fn snapshot(
    accepted: &Accepted,
    settings: &Settings,
    certificates: &Certificates,
    revoked: BTreeSet<String>,
) -> Option<Snapshot> {
    Some(Snapshot {
        gateway: GatewayName { namespace: accepted.key.namespace.clone(), name: accepted.key.name.clone() },
        trust_domain: settings.trust_domain.clone(),
        log_level: accepted.log_level.to_owned(),
        trust: vec![certificates.trust.clone()?],
        server_fingerprint: certificates.server.as_ref()?.fingerprint.clone(),
        clients: accepted.clients.iter().map(|caller| caller.client.clone()).collect(),
        revoked: revoked.into_iter().collect(),
        retired: certificates.retired.clone(),
        client_authorities: accepted.client_authorities.trusted.clone(),
        backends: accepted.backends.clone(),
        mode: accepted.access.mode,
        trusted_proxies: accepted.access.trusted_proxies.clone(),
        proxy_protocol: accepted.access.proxy_protocol,
        tls: accepted.access.tls,
        edge: accepted.access.edge.clone(),
        oidc: accepted.access.oidc.clone(),
        drivers: accepted.drivers.clone(),
        tunnels: accepted.tunnels.as_ref().map(|tunnels| tunnels.snapshot.clone()),
    })
}

/// The ConfigMap.
pub fn config_map(maker: &Maker<'_>, published: &Published) -> Result<Value, Error> {
    maker.finish(&ConfigMap {
        metadata: maker.metadata(names::config_map(maker.name())),
        data: Some([(files::SNAPSHOT.to_owned(), published.json.clone())].into()),
        ..ConfigMap::default()
    })
}

/// The ConfigMap with the roots that the Gateway is believed by.
pub fn trust(maker: &Maker<'_>, roots: &Roots) -> Result<Value, Error> {
    maker.finish(&ConfigMap {
        metadata: maker.metadata(names::trust_config_map(maker.name())),
        data: Some([(files::SERVER_CA.to_owned(), roots.trust())].into()),
        ..ConfigMap::default()
    })
}

/// Backends that cannot be reached, in the words of the condition.
pub fn unresolved(accepted: &Accepted) -> Vec<String> {
    let missing = accepted.backends.iter().filter_map(|backend| match &backend.target {
        Target::Unresolved { reason } => Some(format!("backend {}: {reason}", backend.name)),
        Target::Address { .. } => None,
    });
    missing.collect()
}

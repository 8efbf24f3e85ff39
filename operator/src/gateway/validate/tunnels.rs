//! Public names of a Gateway, and the Tunnels that it accepts.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use portcullis_api::Gateway;
use portcullis_contract::files;
use portcullis_contract::hostname::Hostname;
use portcullis_contract::snapshot::{self, TunnelProtocol};
use portcullis_pki::LeafFacts;

use super::{Rejected, invalid};
use crate::gateway::observe::Observed;
use crate::names;
use crate::world::{Purpose, Referred};

/// Public names and who answers on them.
#[derive(Clone, Debug)]
pub struct Tunnels {
    /// What replicas are told.
    pub snapshot: snapshot::Tunnels,
    /// The Secret with the certificate for public names; None: our own authority certifies them.
    pub certificate: Option<String>,
    /// What that says, or why there is none, in words.
    pub public: Option<Result<LeafFacts, String>>,
}

impl Tunnels {
    /// Names that the Gateway's own server certificate must have for visitors.
    pub fn dns_names(&self) -> Vec<String> {
        if self.certificate.is_some() {
            return Vec::new();
        }
        let domain = &self.snapshot.domain;
        let mut names = vec![domain.clone(), format!("*.{domain}")];
        // Where the endpoint shakes hands, it shows a certificate of its own.
        let ours = self.snapshot.tunnels.iter().filter(|tunnel| tunnel.protocol == TunnelProtocol::Http);
        let held = ours.flat_map(|tunnel| &tunnel.hostnames);
        // A wildcard covers one label.
        let deep = held.filter(|name| name.split_once('.').is_none_or(|(_, parent)| parent != domain));
        names.extend(deep.cloned());
        names.sort();
        names.dedup();
        names
    }

    /// What the certificate for public names says, where there is one.
    pub fn public(&self) -> Option<&LeafFacts> {
        self.public.as_ref()?.as_ref().ok()
    }

    /// Ports that Tunnels hold, in order.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.snapshot.tunnels.iter().filter_map(|tunnel| tunnel.port).collect()
    }
}

/// Parses `spec.tunnels`.
pub(super) fn tunnels(gateway: &Gateway, observed: &Observed) -> Result<Option<Tunnels>, Rejected> {
    let Some(spec) = &gateway.spec.tunnels else { return Ok(None) };
    let domain: Hostname =
        spec.domain.parse().map_err(|error| invalid(format!("spec.tunnels.domain: {error}")))?;
    let own = &gateway.spec.pki.server.dns_names;
    let is_public = |name: &&String| name.parse().is_ok_and(|name: Hostname| name.is_within(&domain));
    if let Some(name) = own.iter().find(is_public) {
        return Err(invalid(format!(
            "spec.pki.server.dnsNames has {name}, which is within spec.tunnels.domain ({domain}): names there are public. Give the Gateway's own name another domain, or the Tunnels one below it, such as tunnels.{domain}"
        )));
    }
    let (name, namespace) = (gateway.name_any(), gateway.namespace().unwrap_or_default());
    let certificate = spec.certificate_ref.as_ref().map(|secret| secret.name.clone());
    Ok(Some(Tunnels {
        snapshot: snapshot::Tunnels {
            domain: domain.to_string(),
            certificate_dir: certificate.is_some().then(|| files::PUBLIC_TLS_DIR.to_owned()),
            service: format!("{name}.{namespace}.svc:{}", gateway.spec.service.port),
            peers: vec![format!("{}.{namespace}.svc:{}", names::peer_service(&name), files::PEER_PORT)],
            replicas: u32::try_from(gateway.spec.replicas).unwrap_or(1),
            tunnels: observed.claims.iter().flat_map(|claims| claims.accepted()).cloned().collect(),
        },
        public: certificate.as_ref().map(|secret| public(secret, observed)),
        certificate,
    }))
}

fn public(secret: &str, observed: &Observed) -> Result<LeafFacts, String> {
    match observed.referred.get(&(Purpose::Certificate, secret.to_owned())).map(|it| &**it) {
        Some(Referred::Certificate(Ok(facts))) => Ok(facts.clone()),
        Some(Referred::Certificate(Err(unusable))) => Err(format!("cannot be used: {unusable}")),
        Some(Referred::Forbidden(why)) => Err(format!("cannot be read: {why}")),
        _ => Err("is not there".to_owned()),
    }
}

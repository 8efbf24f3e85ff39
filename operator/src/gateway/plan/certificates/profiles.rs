//! What the leaves of a Gateway should say.

use portcullis_contract::identity::{Holder, Identity};
use portcullis_pki::{LeafProfile, Usage};
use time::Duration;

use crate::gateway::validate::{Accepted, Caller, Tunnels};
use crate::settings::Settings;

/// How long a replica's control certificate lives; renewed at two thirds.
const CONTROL_LIFETIME: Duration = Duration::days(7);

fn identity(accepted: &Accepted, settings: &Settings, holder: Holder) -> String {
    let identity = Identity {
        trust_domain: settings.trust_domain.clone(),
        namespace: accepted.key.namespace.clone(),
        gateway: accepted.key.name.clone(),
        holder,
    };
    identity.to_string()
}

pub(in crate::gateway::plan) fn server(accepted: &Accepted, settings: &Settings) -> LeafProfile {
    let (name, namespace) = (&accepted.key.name, &accepted.key.namespace);
    let service = format!("{name}.{namespace}.svc");
    let mut dns_names = vec![
        "localhost".to_owned(),
        name.clone(),
        format!("{name}.{namespace}"),
        format!("{service}.{}", settings.cluster_domain),
        service.clone(),
    ];
    dns_names.extend(accepted.server.dns_names.iter().cloned());
    let public = accepted.tunnels.iter().flat_map(Tunnels::dns_names);
    for name in public {
        if !dns_names.contains(&name) {
            dns_names.push(name);
        }
    }
    let mut ip_addresses = vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
    ip_addresses.extend(&accepted.server.ip_addresses);
    LeafProfile {
        common_name: service,
        usage: Usage::Server,
        dns_names,
        ip_addresses,
        uris: Vec::new(),
        lifetime: accepted.server.lifetime,
        renew_before: accepted.server.renew_before,
    }
}

pub(super) fn control(accepted: &Accepted, settings: &Settings) -> LeafProfile {
    LeafProfile {
        common_name: format!("gateway {}", accepted.key),
        usage: Usage::Client,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        uris: vec![identity(accepted, settings, Holder::Replica)],
        lifetime: CONTROL_LIFETIME,
        renew_before: CONTROL_LIFETIME / 3,
    }
}

pub(in crate::gateway::plan) fn client(
    accepted: &Accepted,
    settings: &Settings,
    caller: &Caller,
) -> LeafProfile {
    LeafProfile {
        common_name: caller.client.name.clone(),
        usage: Usage::Client,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        uris: vec![identity(accepted, settings, Holder::Client(caller.client.name.clone()))],
        lifetime: caller.lifetime,
        renew_before: caller.lifetime / 3,
    }
}

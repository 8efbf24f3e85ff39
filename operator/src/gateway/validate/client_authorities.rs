//! Authorities of others that sign clients too: their roots, as the ConfigMaps have them that the spec names.

use portcullis_api::{ForeignIdentity as Written, GatewaySpec};
use portcullis_contract::pattern::UriPattern;
use portcullis_contract::snapshot::{ClientAuthority, ForeignIdentity};
use portcullis_pki::read_roots;

use super::{Rejected, invalid};
use crate::gateway::observe::Observed;
use crate::world::{Purpose, Referred};

/// Those that are trusted, and why others are not.
#[derive(Clone, Debug, Default)]
pub struct ClientAuthorities {
    /// As replicas are told.
    pub trusted: Vec<ClientAuthority>,
    /// What is missing, and what that means.
    pub missing: Vec<String>,
}

/// Reads `spec.access.clientAuthorities`.
pub(super) fn client_authorities(
    spec: &GatewaySpec,
    observed: &Observed,
) -> Result<ClientAuthorities, Rejected> {
    let mut found = ClientAuthorities::default();
    for authority in &spec.access.client_authorities {
        let (name, source) = (&authority.name, &authority.ca_bundle_ref);
        let identities =
            authority.identities.iter().map(|it| identity(name, it)).collect::<Result<_, _>>()?;
        match roots(&source.name, &source.key, observed) {
            Ok(roots) => found.trusted.push(ClientAuthority {
                name: name.clone(),
                roots,
                identities,
                revoked: authority.revoke.clone(),
            }),
            Err(why) => found.missing.push(format!(
                "access.clientAuthorities[{name}]: {why}. Until then nobody comes in by a certificate of its"
            )),
        }
    }
    Ok(found)
}

fn identity(authority: &str, written: &Written) -> Result<ForeignIdentity, Rejected> {
    written.uri.parse::<UriPattern>().map_err(|error| {
        invalid(format!(
            "spec.access.clientAuthorities[{authority}].identities has {:?}: {error}",
            written.uri
        ))
    })?;
    Ok(ForeignIdentity {
        uri: written.uri.clone(),
        user: written.user.clone(),
        roles: written.roles.clone(),
        scopes: written.scopes.clone(),
    })
}

fn roots(name: &str, key: &str, observed: &Observed) -> Result<String, String> {
    let data = match observed.referred.get(&(Purpose::Roots, name.to_owned())).map(|it| &**it) {
        Some(Referred::Data(data)) => data,
        Some(Referred::Forbidden(why)) => return Err(format!("ConfigMap {name} cannot be read: {why}")),
        _ => return Err(format!("ConfigMap {name} is not there: make it, with the roots in {key}")),
    };
    let Some(text) = data.get(key) else {
        return Err(format!(
            "ConfigMap {name} has no {key}: write the roots there, PEM, or name the key that has them"
        ));
    };
    read_roots(text)
        .map_err(|unusable| format!("{key} of ConfigMap {name} has no roots to trust: {unusable}"))
}

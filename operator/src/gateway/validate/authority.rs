//! Where a Gateway's authority comes from.

use std::sync::Arc;

use portcullis_api::Gateway;
use portcullis_api::condition::Reason;
use portcullis_pki::Authority;

use super::Rejected;
use crate::gateway::observe::Observed;
use crate::world::{Purpose, Referred};

/// Where an authority comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// It is issued here.
    Own,
    /// Somebody else has issued it.
    Brought(Brought),
}

/// An authority that somebody else has issued.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The Secret that it is in.
    pub secret: String,
    /// The authority, or why there is none, in words that say what to write.
    pub found: Result<Arc<Authority>, Rejected>,
}

/// Reads `spec.pki.ca.secretRef`.
pub(super) fn source(gateway: &Gateway, observed: &Observed) -> Source {
    let Some(named) = &gateway.spec.pki.ca.secret_ref else { return Source::Own };
    let secret = named.name.clone();
    let found = match observed.referred.get(&(Purpose::Authority, secret.clone())).map(|it| &**it) {
        Some(Referred::Authority(Ok(authority))) => Ok(authority.clone()),
        Some(Referred::Authority(Err(unusable))) => {
            refused(format!("Secret {secret} cannot be used as authority: {unusable}. {}", what_to_write()))
        }
        Some(Referred::Forbidden(why)) => refused(format!("Secret {secret} cannot be read: {why}")),
        _ => Err(Rejected {
            reason: Reason::SecretNotFound,
            message: format!(
                "Secret {secret}, which spec.pki.ca.secretRef names, is not there. {}",
                what_to_write()
            ),
        }),
    };
    Source::Brought(Brought { secret, found })
}

/// What is there will not do.
pub fn refused<T>(message: String) -> Result<T, Rejected> {
    Err(Rejected { reason: Reason::AuthorityRefused, message })
}

fn what_to_write() -> &'static str {
    "Write the authority's certificate into its tls.crt, followed by those above it, the key into tls.key, and the root into ca.crt or at the end of tls.crt"
}

//! Which authority signs. One that has signed what clients hold is restored if it is remembered, and never replaced.

use std::sync::Arc;

use portcullis_api::condition::Reason;
use portcullis_pki::Mint;
use time::OffsetDateTime;

use super::Trouble;
use crate::gateway::observe::Observed;
use crate::gateway::plan::rotation::Candidate;
use crate::gateway::plan::{Error, rotation};
use crate::gateway::validate::Accepted;
use crate::names;
use crate::world::{Content, Roots};

/// The authority, and whether its Secret must be written.
#[derive(Debug)]
pub enum Signer {
    /// It stays as it is.
    Kept(Arc<Roots>),
    /// It is written; why, in words for the log.
    New(Arc<Roots>, String),
    /// There never was one, and whoever is to issue it has not.
    Awaited(Trouble),
    /// There is none that may sign.
    Lost(Trouble),
}

/// The authority that signs, or why there is none. `candidate` is one that somebody else has issued, where it is not ours.
///
/// # Errors
/// Where a first one cannot be issued.
pub fn signer(
    accepted: &Accepted,
    observed: &Observed,
    recorded: Option<&str>,
    candidate: Option<&Candidate>,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Signer, Error> {
    let gateway = &accepted.key.name;
    let secret = names::authority_secret(gateway);
    let found = match observed.stored_authority(gateway) {
        Some(Content::Authority(Ok(authority))) => match recorded {
            Some(recorded) if !authority.knows(recorded) => Err((
                Reason::AuthorityUnusable,
                format!(
                    "Secret {secret} holds another authority ({}) than the one that signed what is in use ({recorded})",
                    authority.signing.facts.fingerprint
                ),
            )),
            _ => Ok(authority.clone()),
        },
        Some(Content::Authority(Err(unusable))) => {
            Err((Reason::AuthorityUnusable, format!("Secret {secret} cannot be used: {unusable}")))
        }
        _ if recorded.is_none() && has_no_leaves(accepted, observed) => {
            return Ok(match rotation::first(accepted, candidate, now, mint)? {
                Ok(authority) => Signer::New(Arc::new(authority), format!("authority {secret} created")),
                Err(why) => Signer::Awaited(Trouble { reason: why.reason, message: why.message }),
            });
        }
        _ => Err((Reason::AuthorityMissing, format!("Secret {secret} is gone"))),
    };
    Ok(match found {
        Ok(authority) => Signer::Kept(authority),
        Err((reason, found)) => match &observed.remembered_authority {
            Some(authority) if recorded.is_none_or(|recorded| authority.knows(recorded)) => {
                Signer::New(authority.clone(), format!("{found}; restored from memory"))
            }
            _ => Signer::Lost(Trouble {
                reason,
                message: format!("{found}. Nothing is issued until it is back: {}", advice(gateway, &secret)),
            }),
        },
    })
}

fn advice(gateway: &str, secret: &str) -> String {
    format!(
        "restore Secret {secret} from a backup; or, to begin anew and hand every client a new bundle, delete this Gateway and apply it again (Secrets {gateway}-server and {gateway}-client-* go with it)"
    )
}

fn has_no_leaves(accepted: &Accepted, observed: &Observed) -> bool {
    let gateway = &accepted.key.name;
    let served = observed.served(gateway).is_some_and(|served| served.server.is_ok());
    let bundled = accepted.clients.iter().any(|caller| {
        observed.bundle(gateway, &caller.client.name).is_some_and(|bundle| bundle.leaf.is_ok())
    });
    !served && !bundled
}

//! Where a Gateway's authority comes from.

use std::sync::Arc;

use portcullis_api::condition::Reason;
use portcullis_api::{Gateway, IssuerRef};
use portcullis_pki::{Authority, read_brought};

use super::Rejected;
use crate::gateway::observe::Observed;
use crate::names;
use crate::world::{Answer, Content, Key, Kind, Pending, Purpose, Referred, Requests};

/// Where an authority comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// It is issued here.
    Own,
    /// Somebody else has issued it, and written it into a Secret.
    Brought(Brought),
    /// Somebody else issues it when asked.
    Asked(Asking),
}

impl Source {
    /// Where there is another authority than the one that signs, in words for the log.
    pub fn holds_another(&self) -> &'static str {
        match self {
            Self::Own | Self::Brought(_) => "its Secret holds another one",
            Self::Asked(_) => "its issuer has issued another one",
        }
    }
}

/// An authority that somebody else has issued.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The Secret that it is in.
    pub secret: String,
    /// The authority, or why there is none, in words that say what to write.
    pub found: Result<Arc<Authority>, Rejected>,
}

/// An authority that an issuer of cert-manager is asked for.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Who is asked.
    pub issuer: IssuerRef,
    /// Whether anybody can be asked at all; otherwise why not, in words that say what to do.
    pub possible: Result<(), Rejected>,
    /// What was asked and is not taken yet.
    pub pending: Option<Arc<Pending>>,
    /// What came of that: the authority, or why there is none.
    pub found: Option<Result<Arc<Authority>, Rejected>>,
}

/// Reads `spec.pki.ca.secretRef` and `issuerRef`.
pub(super) fn source(gateway: &Gateway, observed: &Observed) -> Source {
    let ca = &gateway.spec.pki.ca;
    if let Some(issuer) = &ca.issuer_ref {
        return Source::Asked(asking(&Key::of(gateway), issuer, observed));
    }
    let Some(named) = &ca.secret_ref else { return Source::Own };
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

fn asking(gateway: &Key, issuer: &IssuerRef, observed: &Observed) -> Asking {
    let possible = match &observed.requests {
        Requests::There => Ok(()),
        Requests::Missing | Requests::Unread => Err(Rejected {
            reason: Reason::CertManagerMissing,
            message: format!(
                "{issuer}, which spec.pki.ca.issuerRef names, cannot be asked for an authority: this cluster has no CertificateRequests (cert-manager.io/v1). Install cert-manager, or take issuerRef out"
            ),
        }),
        Requests::Forbidden(why) => Err(Rejected {
            reason: Reason::CertManagerMissing,
            message: format!(
                "{issuer}, which spec.pki.ca.issuerRef names, cannot be asked for an authority: the operator may not look at CertificateRequests ({why}). Give it the rights that its chart has"
            ),
        }),
    };
    let slot = (Kind::Secret, names::request_secret(&gateway.name));
    let pending = match observed.children.get(&slot).map(|child| &child.content) {
        Some(Content::Pending(pending)) => pending.clone(),
        _ => None,
    };
    let answer = pending.as_ref().filter(|_| possible.is_ok()).map(|pending| {
        let slot = (Kind::CertificateRequest, pending.asked.name.clone());
        match observed.children.get(&slot).map(|child| &child.content) {
            Some(Content::Answer(answer)) => found(gateway, pending, answer),
            _ => waits(gateway, pending, None),
        }
    });
    Asking { issuer: issuer.clone(), possible, pending, found: answer }
}

/// What is to be made of an answer.
fn found(gateway: &Key, pending: &Pending, answer: &Answer) -> Result<Arc<Authority>, Rejected> {
    let request = request(pending);
    let rejected = |reason, message| Err(Rejected { reason, message });
    match answer {
        Answer::Waits(why) => waits(gateway, pending, why.as_deref()),
        Answer::Denied(why) => rejected(
            Reason::RequestDenied,
            format!(
                "{request} was denied: {why}. Let whoever approves requests allow it, isCA and its usages included. {}",
                look(gateway, pending)
            ),
        ),
        Answer::Failed(why) => {
            rejected(Reason::RequestFailed, format!("{request} failed: {why}. {}", look(gateway, pending)))
        }
        Answer::Issued { certificates, root } => {
            let read = read_brought(0, certificates, root, pending.key.expose());
            read.map(Arc::new).or_else(|unusable| {
                refused(format!(
                    "{request} was answered with what cannot be used as authority: {unusable}. The issuer must issue authorities, and tell the certificates up to its root. {}",
                    look(gateway, pending)
                ))
            })
        }
    }
}

fn waits<T>(gateway: &Key, pending: &Pending, why: Option<&str>) -> Result<T, Rejected> {
    let why = why.map_or("nobody has said anything of it: is cert-manager running?".to_owned(), |why| {
        format!("{why}.")
    });
    let message = format!("{} is not answered yet: {why} {}", request(pending), look(gateway, pending));
    Err(Rejected { reason: Reason::RequestPending, message })
}

fn request(pending: &Pending) -> String {
    format!("CertificateRequest {} to {}", pending.asked.name, pending.asked.issuer)
}

fn look(gateway: &Key, pending: &Pending) -> String {
    format!(
        "More is told by kubectl -n {} describe certificaterequest {}",
        gateway.namespace, pending.asked.name
    )
}

/// What is there will not do.
pub fn refused<T>(message: String) -> Result<T, Rejected> {
    Err(Rejected { reason: Reason::AuthorityRefused, message })
}

fn what_to_write() -> &'static str {
    "Write the authority's certificate into its tls.crt, followed by those above it, the key into tls.key, and the root into ca.crt or at the end of tls.crt"
}

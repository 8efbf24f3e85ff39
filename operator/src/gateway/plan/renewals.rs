//! Certificates that clients ask for through the gateway's API: each is issued or refused by a plan, with the authority that
//! signs in it, and told only once the status names it. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{CertificateStatus, ClientStatus, GatewayStatus};
use portcullis_pki::{Certificate, Mint, issue_certificate};
use time::OffsetDateTime;

use super::certificates::{Certificates, profiles};
use super::revocations::is_still_valid;
use crate::control::renewals::Asked;
use crate::gateway::validate::Accepted;
use crate::moment;
use crate::settings::Settings;

/// Valid certificates of one client at once that were issued this way: many machines may have its bundle.
const MOST: usize = 16;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Who asks, and for what.
    pub asked: Arc<Asked>,
    /// What they get.
    pub outcome: Result<Issued, Refusal>,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// For the key of the request.
    pub certificate: Certificate,
    /// Roots for the server, PEM.
    pub ca: String,
}

/// Why none was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of which kind.
    pub why: Why,
    /// What to do, in words.
    pub message: String,
}

/// Why a certificate is not issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The request makes no sense.
    Invalid,
    /// Whoever asks gets none.
    Denied,
    /// Something must change first.
    NotNow,
    /// It has as many as it may.
    TooMany,
}

impl Refusal {
    /// Something must change first.
    pub fn not_now(message: impl Into<String>) -> Self {
        Self { why: Why::NotNow, message: message.into() }
    }
}

fn refuse<T>(why: Why, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { why, message: message.into() })
}

/// What there is to decide by.
pub struct Grounds<'a> {
    /// The spec.
    pub accepted: &'a Accepted,
    /// Trust domain of the identities.
    pub settings: &'a Settings,
    /// The authority that signs.
    pub certificates: &'a Certificates,
    /// Serials that count no more.
    pub revoked: &'a BTreeSet<String>,
    /// What was said of the clients last.
    pub status: Option<&'a GatewayStatus>,
    /// The time.
    pub now: OffsetDateTime,
    /// Serials.
    pub mint: &'a dyn Mint,
}

/// Decides all of them.
pub fn renewals(grounds: &Grounds<'_>, asked: &[Arc<Asked>]) -> Vec<Renewal> {
    let mut decided: Vec<Renewal> = Vec::new();
    for asked in asked {
        let of_client = |it: &&Renewal| it.asked.client == asked.client && it.outcome.is_ok();
        let outcome = grounds.decide(asked, decided.iter().filter(of_client).count());
        decided.push(Renewal { asked: Arc::clone(asked), outcome });
    }
    decided
}

impl Grounds<'_> {
    /// `beside` were issued to the same client a moment ago.
    fn decide(&self, asked: &Asked, beside: usize) -> Result<Issued, Refusal> {
        let client = &asked.client;
        let (Some(roots), None) = (&self.certificates.roots, &self.certificates.trouble) else {
            return refuse(
                Why::NotNow,
                "nothing is issued at the moment: the Gateway's condition CertificatesReady says why",
            );
        };
        let caller = self.accepted.clients.iter().find(|caller| caller.client.name == *client);
        let Some(caller) = caller else {
            return refuse(Why::Denied, format!("{client} is not among spec.clients"));
        };
        let known = self.shown(asked)?;
        let now = moment::timestamp(self.now).unwrap_or_default();
        let mut valid: Vec<_> = known.renewed.iter().filter(|it| is_valid(it, now)).collect();
        valid.retain(|it| !self.revoked.contains(&it.serial));
        if valid.len() + beside >= MOST {
            let first = valid.iter().map(|it| it.not_after.as_str()).min().unwrap_or("one of them ends");
            return refuse(
                Why::TooMany,
                format!(
                    "{client} has {MOST} certificates that it renewed and that are still valid: another is issued after {first}, or once one is revoked"
                ),
            );
        }
        let key = roots.signing.facts.key.unwrap_or_default();
        if asked.request.key != key {
            return refuse(
                Why::Invalid,
                format!(
                    "the request's key is of kind {}, and this gateway's certificates have keys of kind {}: make one of that kind",
                    asked.request.key.as_str(),
                    key.as_str()
                ),
            );
        }
        if asked.request.key_digest == asked.key_digest {
            return refuse(
                Why::Invalid,
                "the request's key is that of the certificate which was shown: make a new one",
            );
        }
        let profile = profiles::client(self.accepted, self.settings, caller);
        if let Some(other) = asked.request.names.iter().find(|name| !profile.uris.contains(name)) {
            let (identity, other): (_, String) = (profile.uris.concat(), other.chars().take(200).collect());
            return refuse(
                Why::Invalid,
                format!("the request asks for the name {other:?}: ask for {identity}, or for none"),
            );
        }
        let issued = issue_certificate(&roots.signing, &profile, &asked.request, self.now, self.mint);
        match issued {
            Ok(certificate) => Ok(Issued { certificate, ca: roots.trust() }),
            Err(error) => refuse(Why::NotNow, crate::cause::chain(&error)),
        }
    }

    /// The client of the certificate that was shown, if that is one of its: a replica vouches for the handshake, and the
    /// status for what was issued.
    fn shown(&self, asked: &Asked) -> Result<&ClientStatus, Refusal> {
        if self.revoked.contains(&asked.serial) {
            return refuse(Why::Denied, format!("the certificate {} was revoked", asked.serial));
        }
        let clients = self.status.map(|status| status.clients.as_slice()).unwrap_or_default();
        let client = clients.iter().find(|it| it.name == asked.client);
        let is_it =
            |it: &&CertificateStatus| it.serial == asked.serial && it.fingerprint == asked.fingerprint;
        let Some((client, shown)) = client.and_then(|it| Some((it, it.certificates().find(is_it)?))) else {
            return refuse(
                Why::Denied,
                format!(
                    "the Gateway's status does not name the certificate {} among those of {}: take its bundle from the Secret anew",
                    asked.serial, asked.client
                ),
            );
        };
        if !is_valid(shown, moment::timestamp(self.now).unwrap_or_default()) {
            return refuse(
                Why::Denied,
                format!("the certificate {} ended at {}", shown.serial, shown.not_after),
            );
        }
        Ok(client)
    }
}

fn is_valid(certificate: &CertificateStatus, now: Timestamp) -> bool {
    certificate.not_after.parse::<Timestamp>().is_ok_and(|ends| ends >= now)
}

/// What was issued to a client this way and may still be believed somewhere.
pub fn renewed(
    before: Option<&ClientStatus>,
    client: &str,
    decided: &[Renewal],
    now: Timestamp,
) -> Vec<CertificateStatus> {
    let kept = before.into_iter().flat_map(|it| &it.renewed).filter(|it| is_still_valid(&it.not_after, now));
    let new = decided.iter().filter(|it| it.asked.client == *client);
    let new = new.filter_map(|it| it.outcome.as_ref().ok()).map(|issued| &issued.certificate.facts);
    kept.cloned().chain(new.map(super::super::status::certificate)).collect()
}

#[cfg(test)]
pub(crate) mod tests;

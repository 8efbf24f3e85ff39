//! The decision itself: pure, given the evidence, the configuration and the time.

use std::sync::Arc;

use portcullis_contract::identity::Holder;
use portcullis_contract::snapshot::Mode;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use super::grant::{Grant, Kind};
use super::identified::Identified;
use super::principal::{Parts, Proved};
use super::token::TokenFault;
use super::{ClientCertificate, Evidence, Principal, Shown, Signer};
use crate::config::Config;
use crate::metrics::Labelled as _;

/// Why a caller was denied: a label of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DenialReason {
    NoEvidence,
    NoIdentity,
    OtherGateway,
    NotAClient,
    UnknownClient,
    NotYetValid,
    Expired,
    /// The certificate was revoked.
    Revoked,
    /// A token is not believed.
    Token(TokenFault),
    /// It is known who asks, and that is not enough.
    Forbidden,
    /// The connection comes from somewhere else than a trusted proxy.
    UntrustedPeer,
}

impl DenialReason {
    /// Every reason.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let own = [
            Self::NoEvidence,
            Self::NoIdentity,
            Self::OtherGateway,
            Self::NotAClient,
            Self::UnknownClient,
            Self::NotYetValid,
            Self::Expired,
            Self::Revoked,
            Self::Forbidden,
            Self::UntrustedPeer,
        ];
        own.into_iter().chain(TokenFault::ALL.iter().copied().map(Self::Token))
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoEvidence => "no_evidence",
            Self::NoIdentity => "no_identity",
            Self::OtherGateway => "other_gateway",
            Self::NotAClient => "not_a_client",
            Self::UnknownClient => "unknown_client",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Token(fault) => fault.as_str(),
            Self::Forbidden => "forbidden",
            Self::UntrustedPeer => "untrusted_peer",
        }
    }
}

impl EncodeLabelValue for DenialReason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// A denied caller: the reason is counted, the detail is logged, and the caller is told neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) reason: DenialReason,
    pub(crate) detail: String,
}

fn deny<T>(reason: DenialReason, detail: impl Into<String>) -> Result<T, Denial> {
    Err(Denial { reason, detail: detail.into() })
}

/// Whom this evidence speaks for now, under this configuration. Whatever is shown must hold. Each piece permits what it
/// permits; where several say who is asking, the bearer token does, then the edge's token, then the certificate.
pub(crate) fn decide(evidence: &Evidence<'_>, config: &Config, now: i64) -> Result<Principal, Denial> {
    let demanded = config.mode == Mode::MutualTls && !evidence.at_public_name;
    if demanded && evidence.certificate.is_none() {
        return deny(DenialReason::NoEvidence, "the caller showed no client certificate");
    }
    let certified = evidence.certificate.map(|shown| certified(shown, config, now)).transpose()?;
    let edge = believed("edge's token", &evidence.edge, now)?;
    let bearer = believed("bearer token", &evidence.bearer, now)?;
    if let Some((bearer, oidc)) = bearer.zip(config.oidc.as_ref())
        && oidc.revokes(bearer)
    {
        return deny(
            DenialReason::Token(TokenFault::Revoked),
            format!(
                "the bearer token of {} was issued before spec.oidc.revokedSubjects allows",
                bearer.subject
            ),
        );
    }
    let proof = match (certified.is_some(), edge.is_some(), bearer.is_some()) {
        (false, false, false) => return deny(DenialReason::NoEvidence, "the caller showed nothing"),
        (true, false, false) => "client-certificate",
        (false, true, false) => "edge-token",
        (false, false, true) => "bearer-token",
        (true, true, false) => "client-certificate+edge-token",
        (true, false, true) => "client-certificate+bearer-token",
        (false, true, true) => "edge-token+bearer-token",
        (true, true, true) => "client-certificate+edge-token+bearer-token",
    };
    let token = bearer.or(edge);
    let grants = [bearer, edge].into_iter().flatten().map(|token| token.grant.clone());
    let ends = [
        certified.as_ref().map(|it| it.expires_at),
        edge.map(|it| it.expires_at),
        bearer.map(|it| it.expires_at),
    ];
    let user =
        token.map(|token| &token.user).or(certified.as_ref().map(|it| &it.user)).cloned().unwrap_or_default();
    Ok(Principal::new(Parts {
        user,
        proof,
        token: token.cloned(),
        expires_at: ends.into_iter().flatten().min().unwrap_or(now),
        grants: grants.chain(certified.as_ref().map(|it| it.grant.clone())).collect(),
        certificate: certified.map(|it| it.proved),
    }))
}

/// Whom a certificate speaks for.
struct Certified {
    user: String,
    grant: Grant,
    expires_at: i64,
    proved: Proved,
}

fn certified(certificate: &ClientCertificate, config: &Config, now: i64) -> Result<Certified, Denial> {
    let vouched = match &certificate.signer {
        Signer::Own => own(certificate, config)?,
        Signer::Other(name) => foreign(certificate, name, config)?,
        Signer::Nobody => {
            return deny(DenialReason::UnknownClient, "nobody who is trusted has signed the certificate");
        }
    };
    let (user, grant, identity, tunnel) = vouched;
    if now < certificate.not_before {
        return deny(DenialReason::NotYetValid, format!("the certificate of {identity} is not valid yet"));
    }
    if now > certificate.not_after {
        return deny(DenialReason::Expired, format!("the certificate of {identity} has expired"));
    }
    Ok(Certified {
        user,
        grant,
        expires_at: certificate.not_after,
        proved: Proved {
            identity,
            tunnel,
            serial: certificate.serial.clone(),
            fingerprint: certificate.fingerprint.clone(),
        },
    })
}

/// User, rights, identity and tunnel.
type Vouched = (String, Grant, String, Option<(String, String)>);

/// What somebody else's authority has signed speaks for whom the configuration says, by its URI; never for an identity that
/// is this gateway's own to give.
fn foreign(certificate: &ClientCertificate, name: &str, config: &Config) -> Result<Vouched, Denial> {
    let uri = match &certificate.uri {
        Ok(uri) => uri,
        Err(why) => return deny(DenialReason::NoIdentity, *why),
    };
    let Some(authority) = config.client_authorities.iter().find(|it| *it.name == *name) else {
        return deny(
            DenialReason::UnknownClient,
            format!("the authority {name} of {uri} is trusted no more"),
        );
    };
    let is_ours = certificate.identity().is_ok_and(|it| it.trust_domain == config.trust_domain);
    if is_ours {
        return deny(
            DenialReason::OtherGateway,
            format!("{uri} is not for the authority {name} to give: it is of this cluster's trust domain"),
        );
    }
    if authority.revoked.contains(&certificate.serial) {
        let serial = &certificate.serial;
        return deny(
            DenialReason::Revoked,
            format!("the certificate {serial} of {uri} by {name} was revoked"),
        );
    }
    let Some((_, rights)) = authority.identities.iter().find(|(pattern, _)| pattern.means(uri)) else {
        return deny(
            DenialReason::UnknownClient,
            format!("{uri} by {name} is among no identities of spec.access.clientAuthorities"),
        );
    };
    let grant = Grant { roles: rights.roles.clone(), scopes: rights.scopes.clone(), kind: Kind::Foreign };
    let user = rights.user.clone().unwrap_or_else(|| uri.clone());
    Ok((user, grant, uri.clone(), None))
}

/// What the gateway's own authority has signed.
fn own(certificate: &ClientCertificate, config: &Config) -> Result<Vouched, Denial> {
    let identity = match certificate.identity() {
        Ok(identity) => identity,
        Err(why) => return deny(DenialReason::NoIdentity, why),
    };
    if identity.trust_domain != config.trust_domain
        || identity.namespace != config.gateway.namespace
        || identity.gateway != config.gateway.name
    {
        return deny(DenialReason::OtherGateway, format!("{identity} is not of this gateway"));
    }
    if config.revoked.contains(&certificate.serial) {
        return deny(
            DenialReason::Revoked,
            format!("the certificate {} of {identity} was revoked", certificate.serial),
        );
    }
    match &identity.holder {
        Holder::Replica => deny(DenialReason::NotAClient, format!("{identity} is a replica, not a client")),
        Holder::Client(name) => {
            let Some(client) = config.clients.get(name) else {
                return deny(
                    DenialReason::UnknownClient,
                    format!("{identity} is not among the gateway's clients"),
                );
            };
            let grant =
                Grant { roles: client.roles.clone(), scopes: client.scopes.clone(), kind: Kind::Certificate };
            Ok((client.user.clone(), grant, identity.to_string(), None))
        }
        Holder::Connector { namespace, tunnel } => {
            if !config.has_tunnel(namespace, tunnel) {
                return deny(
                    DenialReason::UnknownClient,
                    format!("{identity} is of no tunnel of the gateway"),
                );
            }
            let grant = Grant { kind: Kind::Connector, ..Grant::default() };
            let of = (namespace.clone(), tunnel.clone());
            Ok((format!("connector of {namespace}/{tunnel}"), grant, identity.to_string(), Some(of)))
        }
    }
}

fn believed<'a>(what: &str, shown: &'a Shown, now: i64) -> Result<Option<&'a Arc<Identified>>, Denial> {
    match shown {
        Shown::Nothing => Ok(None),
        Shown::Refused(fault) => {
            deny(DenialReason::Token(*fault), format!("the {what} is not believed: {}", fault.as_str()))
        }
        Shown::Believed(identified) if now > identified.expires_at => deny(
            DenialReason::Token(TokenFault::Expired),
            format!("the {what} of {} has expired", identified.subject),
        ),
        Shown::Believed(identified) => Ok(Some(identified)),
    }
}

#[cfg(test)]
mod tests;

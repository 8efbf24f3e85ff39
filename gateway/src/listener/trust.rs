//! Who must have signed a caller's certificate: the gateway's own authority, or one of others that the configuration names;
//! what was signed by each, and is revoked. Whom a certificate stands for is decided by `auth`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portcullis_contract::snapshot::Mode;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::any_of::AnyOf;
use super::revoked::NotRevoked;
use crate::auth::{Chain, Signer};
use crate::config::{ClientAuthority, Config};

/// The authorities that sign clients, those that did, which of their certificates count no more, and whether a client must show one.
pub(crate) struct Trust {
    authorities: Vec<CertificateDer<'static>>,
    /// They vouch for what is open, and let nobody in.
    retired: Vec<CertificateDer<'static>>,
    /// Of others, each with whom it believes.
    others: Vec<(ClientAuthority, Arc<dyn ClientCertVerifier>)>,
    /// By serial, of certificates that the gateway's own authority has signed.
    revoked: Arc<BTreeSet<String>>,
    mode: Mode,
    /// Of the gateway's own authority, and of handshakes.
    own: Arc<dyn ClientCertVerifier>,
    verifier: Arc<dyn ClientCertVerifier>,
    /// Of connections that are open.
    vouching: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let (revoked, mode) = (&config.revoked, config.mode);
        let own = verifier(config.trust.iter(), revoked, mode)?;
        let vouching = match config.retired.as_slice() {
            [] => Arc::clone(&own),
            retired => self::verifier(config.trust.iter().chain(retired), revoked, mode)?,
        };
        let other = |it: &ClientAuthority| {
            let verifier = verifier(it.roots.iter(), &it.revoked, mode);
            Ok((it.clone(), verifier.map_err(|why| format!("clientAuthorities[{}]: {why}", it.name))?))
        };
        let others: Vec<_> = config.client_authorities.iter().map(other).collect::<Result<_, String>>()?;
        let verifier: Arc<dyn ClientCertVerifier> = if others.is_empty() {
            Arc::clone(&own)
        } else {
            let others = others.iter().map(|(_, verifier)| Arc::clone(verifier)).collect();
            Arc::new(AnyOf::new(Arc::clone(&own), others))
        };
        Ok(Self {
            authorities: config.trust.clone(),
            retired: config.retired.clone(),
            others,
            revoked: Arc::clone(revoked),
            mode,
            own,
            verifier,
            vouching,
        })
    }

    /// Whether it is what this configuration wants.
    pub(super) fn is_of(&self, config: &Config) -> bool {
        // Whom they let in is nothing to a handshake.
        let same = |(known, _): &(ClientAuthority, _), other: &ClientAuthority| {
            (&known.name, &known.roots, &known.revoked) == (&other.name, &other.roots, &other.revoked)
        };
        self.authorities == config.trust
            && self.retired == config.retired
            && self.revoked == config.revoked
            && self.mode == config.mode
            && self.others.len() == config.client_authorities.len()
            && self
                .others
                .iter()
                .zip(config.client_authorities.iter())
                .all(|(known, other)| same(known, other))
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Of handshakes.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }

    /// The same chain, with whose word it is. Its handshake was verified by this.
    pub(super) fn attributed(&self, mut chain: Chain, now: i64) -> Chain {
        if self.others.is_empty() {
            return chain;
        }
        let signer = match &chain.certificate {
            None => return chain,
            Some(_) if verifies(self.own.as_ref(), &chain, now) => Signer::Own,
            Some(_) => {
                let other = self.others.iter().find(|(_, verifier)| verifies(verifier.as_ref(), &chain, now));
                other.map_or(Signer::Nobody, |(it, _)| Signer::Other(Arc::clone(&it.name)))
            }
        };
        if let Some(certificate) = &mut chain.certificate {
            certificate.signer = signer;
        }
        chain
    }

    /// Whether the chain that a caller has shown leads to one of these authorities, or of those that let it in before: the one
    /// whose word it was.
    pub(super) fn vouches_for(&self, chain: &Chain, now: i64) -> bool {
        let Some(certificate) = &chain.certificate else { return self.mode != Mode::MutualTls };
        match &certificate.signer {
            Signer::Own => verifies(self.vouching.as_ref(), chain, now),
            Signer::Other(name) => {
                let other = self.others.iter().find(|(it, _)| it.name == *name);
                other.is_some_and(|(_, verifier)| verifies(verifier.as_ref(), chain, now))
            }
            Signer::Nobody => false,
        }
    }
}

fn verifies(verifier: &dyn ClientCertVerifier, chain: &Chain, now: i64) -> bool {
    let Some(certificate) = &chain.certificate else { return false };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
    verifier.verify_client_cert(&certificate.der, &chain.intermediates, now).is_ok()
}

fn verifier<'a>(
    authorities: impl Iterator<Item = &'a CertificateDer<'static>>,
    revoked: &Arc<BTreeSet<String>>,
    mode: Mode,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| format!("an authority cannot be trusted: {error}"))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if mode != Mode::MutualTls {
        verifier = verifier.allow_unauthenticated();
    }
    let verifier = verifier.build().map_err(|error| format!("clients cannot be verified: {error}"))?;
    Ok(Arc::new(NotRevoked::new(verifier, Arc::clone(revoked))))
}

//! The TLS configuration that new connections get: the server's certificate and key, and who signs clients. Either
//! changes without a restart; open connections end only where nobody who is still trusted has signed their caller.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_contract::hostname::Hostname;
use portcullis_contract::snapshot::{Mode, TlsPolicy};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::connection::Door;
use super::policy;
use super::trust::Trust;
use crate::auth::fingerprint;
use crate::config::Config;
use crate::login::Codes;
use crate::metrics::Metrics;
use crate::tunnel::Passes;

/// What new connections are shown.
pub(crate) struct Served {
    /// None where connections come without TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) mode: Mode,
    /// Who must have signed a caller's certificate.
    pub(crate) trust: Arc<Trust>,
    /// SHA-256 of the certificate, 64 lower-case hexadecimal digits.
    pub(crate) fingerprint: String,
}

/// What the server name of a handshake picks from.
pub(crate) struct Tls {
    /// On the gateway's own names.
    pub(super) own: Arc<ServerConfig>,
    /// On public names, where there are any: nobody is asked for a certificate.
    pub(super) public: Option<Public>,
}

/// The door for visitors of tunnels.
pub(super) struct Public {
    pub(super) domain: Hostname,
    pub(super) config: Arc<ServerConfig>,
}

/// The server's certificate chain with the key that fits it.
pub(crate) struct KeyPair {
    certified: Arc<CertifiedKey>,
    pub(crate) fingerprint: String,
    /// Seconds since the epoch.
    pub(crate) not_after: i64,
    /// The private key itself, DER: what other secrets of the replica are derived from.
    secret: Zeroizing<Vec<u8>>,
}

/// Why a certificate and a key cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyPairError {
    #[error("failed to read the certificate")]
    Certificate(#[source] rustls::pki_types::pem::Error),
    #[error("failed to read the certificate: there is none")]
    NoCertificate,
    #[error("failed to read the certificate's fields")]
    Fields(#[source] x509_parser::nom::Err<x509_parser::error::X509Error>),
    #[error("failed to read the private key")]
    Key(#[source] rustls::pki_types::pem::Error),
    #[error("failed to match the private key with the certificate")]
    Mismatch(#[source] rustls::Error),
}

impl KeyPair {
    pub(crate) fn read(certificate: &[u8], key: &[u8]) -> Result<Self, KeyPairError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(KeyPairError::Certificate)?;
        let leaf = chain.first().ok_or(KeyPairError::NoCertificate)?;
        let not_after = {
            let (_, parsed) = X509Certificate::from_der(leaf).map_err(KeyPairError::Fields)?;
            parsed.validity().not_after.timestamp()
        };
        let fingerprint = fingerprint(leaf);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(KeyPairError::Key)?;
        let secret = Zeroizing::new(key.secret_der().to_vec());
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(KeyPairError::Mismatch)?;
        Ok(Self { certified: Arc::new(certified), fingerprint, not_after, secret })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

#[derive(Clone, Default)]
struct Parts {
    pair: Option<Arc<KeyPair>>,
    trust: Option<Arc<Trust>>,
    /// Below which names are public.
    domain: Option<Hostname>,
    policy: TlsPolicy,
    /// Shown on public names; without it, the server's own.
    public_pair: Option<Arc<KeyPair>>,
}

/// The parts that came last, and the configuration made of them.
pub(crate) struct Certificates {
    parts: Mutex<Parts>,
    served: watch::Sender<Option<Arc<Served>>>,
    metrics: Arc<Metrics>,
    /// They are sealed under the server's key.
    codes: Arc<Codes>,
    passes: Arc<Passes>,
}

impl Certificates {
    pub(crate) fn new(metrics: Arc<Metrics>, codes: Arc<Codes>, passes: Arc<Passes>) -> Self {
        Self { parts: Mutex::default(), served: watch::Sender::new(None), metrics, codes, passes }
    }

    /// What new connections are shown, and every change of it.
    pub(crate) fn served(&self) -> watch::Receiver<Option<Arc<Served>>> {
        self.served.subscribe()
    }

    pub(crate) fn served_fingerprint(&self) -> Option<String> {
        self.served.borrow().as_ref().map(|served| served.fingerprint.clone())
    }

    /// The authorities that new connections are checked against.
    pub(super) fn served_trust(&self) -> Option<Arc<Trust>> {
        self.served.borrow().as_ref().map(|served| Arc::clone(&served.trust))
    }

    /// Lets new connections come in the configuration's mode, and checks them against its authorities and revocations; on
    /// names within the domain of its tunnels visitors are let in without a certificate.
    pub(crate) fn trust(&self, config: &Config) -> Result<(), String> {
        let domain = config.tunnels.as_ref().map(|tunnels| tunnels.domain());
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = parts.trust.as_ref().filter(|trust| trust.is_of(config));
        if kept.is_some() && parts.domain.as_ref() == domain && parts.policy == config.tls {
            return Ok(());
        }
        let trust = match kept {
            Some(trust) => Arc::clone(trust),
            None => Arc::new(Trust::new(config)?),
        };
        let (domain, policy) = (domain.cloned(), config.tls);
        let next = Parts { trust: Some(trust), domain, policy, ..parts.clone() };
        self.publish(next, &mut parts)
    }

    /// Shows new connections this certificate.
    pub(crate) fn present(&self, pair: KeyPair) -> Result<(), String> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.shows(pair.not_after);
        self.codes.set_key(&pair.secret);
        self.passes.set_key(&pair.secret);
        let next = Parts { pair: Some(Arc::new(pair)), ..parts.clone() };
        self.publish(next, &mut parts)
    }

    /// Shows visitors of public names this certificate, or the server's own.
    pub(crate) fn present_public(&self, pair: Option<KeyPair>) -> Result<(), String> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.shows_public(pair.as_ref().map(|pair| pair.not_after));
        let next = Parts { public_pair: pair.map(Arc::new), ..parts.clone() };
        self.publish(next, &mut parts)
    }

    /// Serves these parts from now on, or leaves everything as it is.
    fn publish(&self, next: Parts, parts: &mut Parts) -> Result<(), String> {
        if let (Some(pair), Some(trust)) = (&next.pair, &next.trust) {
            let tls = tls(pair, trust, &next).map_err(|error| error.to_string())?;
            self.served.send_replace(Some(Arc::new(Served {
                tls: (trust.mode() != Mode::Plaintext).then(|| Arc::new(tls)),
                mode: trust.mode(),
                trust: Arc::clone(trust),
                fingerprint: pair.fingerprint.clone(),
            })));
        }
        *parts = next;
        Ok(())
    }
}

/// What the server name of a handshake picks from.
fn tls(pair: &KeyPair, trust: &Trust, parts: &Parts) -> Result<Tls, rustls::Error> {
    let mut own = server_config(pair, trust.verifier(), parts.policy)?;
    let Some(domain) = &parts.domain else { return Ok(Tls { own: Arc::new(own), public: None }) };
    own.alpn_protocols.push(portcullis_protocol::ALPN.to_vec());
    let public_pair = parts.public_pair.as_deref().unwrap_or(pair);
    let config = Arc::new(server_config(public_pair, WebPkiClientVerifier::no_client_auth(), parts.policy)?);
    Ok(Tls { own: Arc::new(own), public: Some(Public { domain: domain.clone(), config }) })
}

impl Tls {
    /// What a caller is shown who asks for this name, and the door that it comes in by.
    pub(super) fn pick(&self, server_name: Option<&str>) -> (Door, &Arc<ServerConfig>) {
        let name = server_name.and_then(|name| name.parse::<Hostname>().ok());
        match (&self.public, name) {
            (Some(public), Some(name)) if name.is_within(&public.domain) => (Door::Public, &public.config),
            _ => (Door::Own, &self.own),
        }
    }
}

/// A fresh configuration with fresh ticket keys: a session never outlives a change of trust.
fn server_config(
    pair: &KeyPair,
    verifier: Arc<dyn ClientCertVerifier>,
    policy: TlsPolicy,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(policy::provider(policy))
        .with_protocol_versions(&policy::versions(policy))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(&pair.certified))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

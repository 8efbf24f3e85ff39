//! The TLS configuration that new connections get: the server's certificate and key, and who signs clients. Either
//! changes without touching connections that are open.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::auth::fingerprint;
use crate::metrics::Metrics;

/// What new connections are shown.
pub(crate) struct Served {
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, 64 lower-case hexadecimal digits.
    pub(crate) fingerprint: String,
}

/// The server's certificate chain with the key that fits it.
pub(crate) struct KeyPair {
    certified: Arc<CertifiedKey>,
    pub(crate) fingerprint: String,
    /// Seconds since the epoch.
    pub(crate) not_after: i64,
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
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(KeyPairError::Mismatch)?;
        Ok(Self { certified: Arc::new(certified), fingerprint, not_after })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Parts {
    pair: Option<KeyPair>,
    trust: Vec<CertificateDer<'static>>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// The parts that came last, and the configuration made of them.
pub(crate) struct Certificates {
    parts: Mutex<Parts>,
    served: watch::Sender<Option<Arc<Served>>>,
    metrics: Arc<Metrics>,
}

impl Certificates {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { parts: Mutex::default(), served: watch::Sender::new(None), metrics }
    }

    /// What new connections are shown, and every change of it.
    pub(crate) fn served(&self) -> watch::Receiver<Option<Arc<Served>>> {
        self.served.subscribe()
    }

    pub(crate) fn served_fingerprint(&self) -> Option<String> {
        self.served.borrow().as_ref().map(|served| served.fingerprint.clone())
    }

    /// Checks new connections against these authorities.
    pub(crate) fn trust(&self, trust: &[CertificateDer<'static>]) -> Result<(), String> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.verifier.is_some() && parts.trust == trust {
            return Ok(());
        }
        let mut roots = RootCertStore::empty();
        for authority in trust {
            roots
                .add(authority.clone())
                .map_err(|error| format!("an authority cannot be trusted: {error}"))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| format!("clients cannot be verified: {error}"))?;
        parts.trust = trust.to_vec();
        parts.verifier = Some(verifier);
        self.publish(&parts)
    }

    /// Shows new connections this certificate.
    pub(crate) fn present(&self, pair: KeyPair) -> Result<(), String> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.certificate_expiry.set(pair.not_after);
        parts.pair = Some(pair);
        self.publish(&parts)
    }

    fn publish(&self, parts: &Parts) -> Result<(), String> {
        let (Some(pair), Some(verifier)) = (&parts.pair, &parts.verifier) else { return Ok(()) };
        let config = server_config(pair, Arc::clone(verifier)).map_err(|error| error.to_string())?;
        let served = Served { config: Arc::new(config), fingerprint: pair.fingerprint.clone() };
        self.served.send_replace(Some(Arc::new(served)));
        Ok(())
    }
}

/// A fresh configuration with fresh ticket keys: a session never outlives a change of trust.
fn server_config(
    pair: &KeyPair,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(&pair.certified))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

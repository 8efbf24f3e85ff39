//! Certificates that one of several authorities has signed, each with revocations of its own.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// What the first believes, or else one of the others.
pub(super) struct AnyOf {
    own: Arc<dyn ClientCertVerifier>,
    others: Vec<Arc<dyn ClientCertVerifier>>,
    /// By these, callers choose among their certificates.
    hints: Vec<DistinguishedName>,
}

impl AnyOf {
    pub(super) fn new(own: Arc<dyn ClientCertVerifier>, others: Vec<Arc<dyn ClientCertVerifier>>) -> Self {
        let all = std::iter::once(&own).chain(&others);
        let hints = all.flat_map(|verifier| verifier.root_hint_subjects().iter().cloned()).collect();
        Self { own, others, hints }
    }
}

impl fmt::Debug for AnyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyOf").field("others", &self.others.len()).finish_non_exhaustive()
    }
}

fn is_revoked(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Revoked))
}

impl ClientCertVerifier for AnyOf {
    fn offer_client_auth(&self) -> bool {
        self.own.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.own.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut first = match self.own.verify_client_cert(leaf, intermediates, now) {
            // What one takes back is not for another to give, though both be below one root.
            Err(error) if !is_revoked(&error) => error,
            verdict => return verdict,
        };
        for other in &self.others {
            match other.verify_client_cert(leaf, intermediates, now) {
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) if !is_revoked(&error) => first = error,
                verdict => return verdict,
            }
        }
        Err(first)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.own.supported_verify_schemes()
    }
}

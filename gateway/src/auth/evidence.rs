//! What a caller shows. Read once per connection, judged per request.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use portcullis_contract::identity::Identity;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::identified::Identified;
use super::token::TokenFault;

/// All that a caller has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence<'a> {
    /// The certificate that the TLS handshake verified.
    pub(crate) certificate: Option<&'a ClientCertificate>,
    /// The token of the edge in front.
    pub(crate) edge: Shown,
    /// The bearer token.
    pub(crate) bearer: Shown,
    /// It was shown at a public name, where nobody is asked for a certificate: tokens say who visits, in every mode.
    pub(crate) at_public_name: bool,
}

/// A token that was shown, or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shown {
    /// There was none.
    #[default]
    Nothing,
    /// It is believed.
    Believed(Arc<Identified>),
    /// It is not.
    Refused(TokenFault),
}

/// What a connection's TLS handshake has shown.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// The certificate that the handshake verified.
    pub(crate) certificate: Option<ClientCertificate>,
    /// What came with it to lead to an authority.
    pub(crate) intermediates: Vec<CertificateDer<'static>>,
}

/// A client certificate whose chain and key the TLS handshake has verified.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// Whose word it is.
    pub(crate) signer: Signer,
    /// The one URI that it names; without one, why.
    pub(crate) uri: Result<String, &'static str>,
    /// Lower-case hexadecimal digits, without leading zeros' bytes.
    pub(crate) serial: String,
    /// Key identifier of the authority that has signed it, lower-case hexadecimal digits; empty where it names none.
    pub(crate) authority: String,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub(crate) fingerprint: String,
    /// Seconds since the epoch.
    pub(crate) not_before: i64,
    /// Seconds since the epoch.
    pub(crate) not_after: i64,
    pub(crate) der: CertificateDer<'static>,
    header: OnceLock<HeaderValue>,
}

/// Who has signed a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    /// The gateway's own authority.
    Own,
    /// An authority of somebody else's, by its name in the configuration.
    Other(Arc<str>),
    /// Nobody who is believed.
    Nobody,
}

impl Chain {
    /// What a verified chain shows, leaf first.
    pub(crate) fn read(chain: Option<&[CertificateDer<'static>]>) -> Self {
        match chain.and_then(<[_]>::split_first) {
            Some((leaf, intermediates)) => Self {
                certificate: Some(ClientCertificate::read(leaf)),
                intermediates: intermediates.to_vec(),
            },
            None => Self::default(),
        }
    }
}

/// The serial of a certificate: lower-case hexadecimal digits.
pub(crate) fn serial(der: &CertificateDer<'_>) -> Option<String> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| digits(certificate.raw_serial()))
}

/// As those who issue certificates write serials: without the zeros in front that DER has.
fn digits(serial: &[u8]) -> String {
    let leading = serial.iter().take_while(|byte| **byte == 0).count();
    hex(&serial[leading..])
}

impl ClientCertificate {
    fn read(der: &CertificateDer<'static>) -> Self {
        let fingerprint = fingerprint(der);
        let header = OnceLock::new();
        match X509Certificate::from_der(der) {
            Ok((_, certificate)) => Self {
                signer: Signer::Own,
                uri: uri(&certificate),
                serial: digits(certificate.raw_serial()),
                authority: authority(&certificate).unwrap_or_default(),
                not_before: certificate.validity().not_before.timestamp(),
                not_after: certificate.validity().not_after.timestamp(),
                fingerprint,
                header,
                der: der.clone(),
            },
            // The handshake has read it, so this is next to impossible; it must deny all the same.
            Err(_) => Self {
                signer: Signer::Own,
                uri: Err("the certificate cannot be read"),
                serial: String::new(),
                authority: String::new(),
                not_before: 0,
                not_after: 0,
                fingerprint,
                header,
                der: der.clone(),
            },
        }
    }

    /// Whom it speaks for, as this gateway's authority says it; without one, why it speaks for nobody.
    pub(crate) fn identity(&self) -> Result<Identity, &'static str> {
        let uri = self.uri.as_ref().map_err(|why| *why)?;
        uri.parse().map_err(|_| "the certificate's URI is no identity of a gateway's client")
    }

    /// The `Client-Cert` field of RFC 9440.
    pub(crate) fn header(&self) -> &HeaderValue {
        self.header.get_or_init(|| {
            let text = format!(":{}:", STANDARD.encode(&self.der));
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
        })
    }
}

/// The one URI among the certificate's alternative names.
fn uri(certificate: &X509Certificate<'_>) -> Result<String, &'static str> {
    let names = match certificate.subject_alternative_name() {
        Ok(Some(names)) => names,
        Ok(None) => return Err("the certificate has no subject alternative name"),
        Err(_) => return Err("the certificate's subject alternative names cannot be read"),
    };
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let uri = uris.next().ok_or("the certificate names no URI")?;
    if uris.next().is_some() {
        return Err("the certificate names more than one URI");
    }
    Ok(uri.to_owned())
}

/// Who has signed it, by the identifier of the key.
fn authority(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(named) => named.key_identifier.as_ref().map(|id| hex(id.0)),
        _ => None,
    })
}

/// SHA-256 of a certificate, 64 lower-case hexadecimal digits.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    hex(&Sha256::digest(der))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
impl ClientCertificate {
    pub(crate) fn for_test(uri: Result<String, &'static str>, not_before: i64, not_after: i64) -> Self {
        Self {
            signer: Signer::Own,
            uri,
            serial: "01".to_owned(),
            authority: "a1".to_owned(),
            fingerprint: "00".repeat(32),
            not_before,
            not_after,
            der: CertificateDer::from(vec![1, 2, 3]),
            header: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_chain_is_no_evidence() {
        assert!(Chain::read(None).certificate.is_none());
        assert!(Chain::read(Some(&[])).certificate.is_none());
    }

    #[test]
    fn bytes_that_are_no_certificate_speak_for_nobody() {
        let chain = Chain::read(Some(&[CertificateDer::from(vec![0x30, 0x03, 1, 1, 1])]));
        assert!(chain.certificate.unwrap().identity().is_err());
    }

    #[test]
    fn the_certificate_is_passed_on_as_a_byte_sequence() {
        let certificate = ClientCertificate::for_test(Err("none"), 0, 0);
        assert_eq!(certificate.header(), ":AQID:");
    }
}

//! What somebody asks a certificate for: a PKCS #10 request, read strictly. Its signature shows that whoever asks holds the
//! key; what the certificate says comes from a profile, and nothing of it from here.

use rcgen::SubjectPublicKeyInfo;
use sha2::{Digest as _, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo as Spki;

use crate::{KeyAlgorithm, pem};

/// Bytes that a request may have: one with an RSA key of 4096 bits and names has less than half of that, PEM or not.
const LARGEST: usize = 8 * 1024;

/// A public key whose private half somebody has shown to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    /// Its kind.
    pub key: KeyAlgorithm,
    /// SHA-256 of the key (its SubjectPublicKeyInfo), lower-case hex.
    pub key_digest: String,
    /// Every subject alternative name that is asked for, such as `spiffe://…` or `DNS:door.example`.
    pub names: Vec<String>,
    pub(crate) public_key: SubjectPublicKeyInfo,
}

/// Why a request is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Nothing was sent.
    #[error("there is no certificate request in it")]
    Empty,
    /// More than any request has.
    #[error("it is longer than {LARGEST} bytes, which no certificate request is")]
    TooLarge,
    /// A PEM block of another kind: most often a certificate or, worse, a key.
    #[error("a PEM block {label:?} was sent where a CERTIFICATE REQUEST belongs")]
    WrongBlock {
        /// The label of the block that was found.
        label: String,
    },
    /// No PKCS #10 request can be read.
    #[error("it cannot be read as a PKCS #10 request: {detail}")]
    Unreadable {
        /// What the parser says.
        detail: String,
    },
    /// A key of a kind that no certificate of ours has.
    #[error(
        "its key is of a kind that is not issued for: P256, P384, Ed25519 and RSA of 2048, 3072 or 4096 bits are"
    )]
    Key,
    /// Whoever made it does not hold the key, or it was changed on its way.
    #[error("its signature does not verify with its own key")]
    Signature,
}

/// Reads a request, PEM or DER, and verifies its signature.
///
/// # Errors
/// Where it is none, or its key is not held by whoever made it.
pub fn read_request(bytes: &[u8]) -> Result<SigningRequest, BadRequest> {
    if bytes.len() > LARGEST {
        return Err(BadRequest::TooLarge);
    }
    let der = der(bytes)?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|error| unreadable(&error))?;
    if !rest.is_empty() {
        return Err(BadRequest::Unreadable { detail: "bytes follow it".to_owned() });
    }
    let info = &request.certification_request_info;
    let key = kind(&info.subject_pki).ok_or(BadRequest::Key)?;
    if !signs(key, &request.signature_algorithm.algorithm.to_id_string()) {
        return Err(BadRequest::Signature);
    }
    request.verify_signature().map_err(|_| BadRequest::Signature)?;
    Ok(SigningRequest {
        key,
        key_digest: key_digest(&info.subject_pki),
        names: names(&request),
        public_key: SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| BadRequest::Key)?,
    })
}

/// SHA-256 of a public key, lower-case hex.
pub(crate) fn key_digest(key: &Spki<'_>) -> String {
    pem::hex(&Sha256::digest(key.raw))
}

fn der(bytes: &[u8]) -> Result<Vec<u8>, BadRequest> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(BadRequest::Empty);
    }
    // DER begins with a sequence, and no text does.
    if bytes.first() == Some(&0x30) {
        return Ok(bytes.to_vec());
    }
    let (_, block) = x509_parser::pem::parse_x509_pem(bytes)
        .map_err(|_| BadRequest::Unreadable { detail: "it is neither DER nor a PEM block".to_owned() })?;
    if matches!(block.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
        Ok(block.contents)
    } else {
        Err(BadRequest::WrongBlock { label: block.label })
    }
}

fn unreadable<E: std::fmt::Display>(error: &x509_parser::nom::Err<E>) -> BadRequest {
    let detail = match error {
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error.to_string(),
        x509_parser::nom::Err::Incomplete(_) => "it is cut short".to_owned(),
    };
    BadRequest::Unreadable { detail }
}

/// The kind of a key, by its identifiers and by what it looks like: both must say the same.
fn kind(key: &Spki<'_>) -> Option<KeyAlgorithm> {
    let curve = || key.algorithm.parameters.as_ref()?.as_oid().ok().map(|oid| oid.to_id_string());
    let bytes = key.subject_public_key.data.as_ref();
    match (key.algorithm.algorithm.to_id_string().as_str(), bytes.first()) {
        ("1.2.840.10045.2.1", Some(4)) => match (curve()?.as_str(), bytes.len()) {
            ("1.2.840.10045.3.1.7", 65) => Some(KeyAlgorithm::P256),
            ("1.3.132.0.34", 97) => Some(KeyAlgorithm::P384),
            _ => None,
        },
        ("1.3.101.112", _) if bytes.len() == 32 => Some(KeyAlgorithm::Ed25519),
        ("1.2.840.113549.1.1.1", _) => match key.parsed().ok()? {
            PublicKey::RSA(rsa) if rsa.try_exponent().ok()? == 65537 => KeyAlgorithm::of_rsa(rsa.key_size()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a signature of this algorithm can be of such a key; none by SHA-1 is.
fn signs(key: KeyAlgorithm, signature: &str) -> bool {
    match key {
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => {
            matches!(signature, "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3")
        }
        KeyAlgorithm::Ed25519 => signature == "1.3.101.112",
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => matches!(
            signature,
            "1.2.840.113549.1.1.10"
                | "1.2.840.113549.1.1.11"
                | "1.2.840.113549.1.1.12"
                | "1.2.840.113549.1.1.13"
        ),
    }
}

fn names(request: &X509CertificationRequest<'_>) -> Vec<String> {
    let extensions = request.requested_extensions().into_iter().flatten();
    let named = extensions.filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    named.flatten().map(name).collect()
}

fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::RFC822Name(name) => format!("email:{name}"),
        GeneralName::IPAddress(_) => "an IP address".to_owned(),
        _ => "a name of another kind".to_owned(),
    }
}

#[cfg(test)]
mod tests;

//! From PEM text to certificate and key pair, or to what is wrong with the text.

use rcgen::{KeyPair, PublicKeyData as _};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::PEMError;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use crate::Unusable;

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";

/// The DER of the first certificate in `text`.
pub(crate) fn certificate_der(text: &str) -> Result<Vec<u8>, Unusable> {
    let block = block(text, CERTIFICATE, |label| label == "CERTIFICATE")?;
    Ok(block.contents)
}

/// A certificate's PEM block, and what it says.
pub(crate) struct Block {
    /// From its first line to its last, with a line break after it.
    pub(crate) text: String,
    /// Its bytes.
    pub(crate) der: Vec<u8>,
}

/// Every certificate in `text`, each read; what stands around them counts for nothing.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, Unusable> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END CERTIFICATE-----";
    let (mut blocks, mut rest) = (Vec::new(), text);
    while let Some(begin) = rest.find(BEGIN) {
        let from = &rest[begin..];
        let end = from.find(END).map_or(from.len(), |end| end + END.len());
        let text = format!("{}\n", &from[..end].replace('\r', ""));
        let der = certificate_der(&text)?;
        certificate(&der)?;
        blocks.push(Block { text, der });
        rest = &from[end..];
    }
    Ok(blocks)
}

/// Reads exactly one certificate.
pub(crate) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, Unusable> {
    if announces_more_than(der) {
        return Err(Unusable::Truncated { part: CERTIFICATE });
    }
    let unreadable = |detail: String| Unusable::Certificate { detail };
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| match error {
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => {
            unreadable(error.to_string())
        }
        x509_parser::nom::Err::Incomplete(_) => Unusable::Truncated { part: CERTIFICATE },
    })?;
    if rest.is_empty() {
        Ok(certificate)
    } else {
        Err(unreadable("bytes follow it in the same block".to_owned()))
    }
}

/// Reads a private key: PKCS #8, SEC 1 or PKCS #1, unencrypted.
pub(crate) fn key(text: &str) -> Result<KeyPair, Unusable> {
    let is_key = |label: &str| matches!(label, "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY");
    let der = Zeroizing::new(block(text, KEY, is_key)?.contents);
    if announces_more_than(&der) {
        return Err(Unusable::Truncated { part: KEY });
    }
    KeyPair::try_from(der.as_slice()).map_err(|error| Unusable::Key { detail: error.to_string() })
}

/// Whether both halves are of one key pair.
pub(crate) fn check_pair(certificate: &X509Certificate<'_>, key: &KeyPair) -> Result<(), Unusable> {
    if certificate.public_key().raw == key.subject_public_key_info() {
        Ok(())
    } else {
        Err(Unusable::KeyMismatch)
    }
}

/// SHA-256 of the DER, lower-case hex: what TLS peers can compare with what they were shown.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    hex(&Sha256::digest(der))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn block(text: &str, part: &'static str, wanted: impl Fn(&str) -> bool) -> Result<Pem, Unusable> {
    if text.trim().is_empty() {
        return Err(Unusable::Empty { part });
    }
    let (_, block) = x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|error| match error {
        x509_parser::nom::Err::Error(PEMError::IncompletePEM) | x509_parser::nom::Err::Incomplete(_) => {
            Unusable::Truncated { part }
        }
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => {
            let detail = error.to_string();
            if part == KEY { Unusable::Key { detail } } else { Unusable::Certificate { detail } }
        }
    })?;
    if wanted(&block.label) { Ok(block) } else { Err(Unusable::WrongBlock { part, label: block.label }) }
}

/// Whether the outermost DER sequence is longer than `der`.
fn announces_more_than(der: &[u8]) -> bool {
    let length_of_length = match der {
        [0x30, length, ..] if *length < 0x80 => return der.len() < 2 + usize::from(*length),
        [0x30, 0x81..=0x84, ..] => usize::from(der[1] & 0x7f),
        [] | [0x30] => return true,
        _ => return false,
    };
    let Some(length) = der.get(2..2 + length_of_length) else { return true };
    let announced = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    der.len() - 2 - length_of_length < announced
}

#[cfg(test)]
mod tests;

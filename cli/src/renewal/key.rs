//! Which kinds of keys a gateway's certificates have, as the stored ones tell, and making one. Pure but for that.

use rcgen::{KeyPair, RsaKeySize};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa(usize),
}

impl Kind {
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let key = certificate.public_key();
        match (key.parsed().ok()?, key.algorithm.algorithm.to_id_string().as_str()) {
            (PublicKey::RSA(rsa), _) => Some(Self::Rsa(rsa.key_size())),
            (PublicKey::EC(_), _) => match key.subject_public_key.data.len() {
                65 => Some(Self::P256),
                97 => Some(Self::P384),
                _ => None,
            },
            (_, "1.3.101.112") => Some(Self::Ed25519),
            _ => None,
        }
    }

    /// A new key pair.
    pub(super) fn make(self) -> Result<KeyPair, rcgen::Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        match self {
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            Self::Rsa(3072) => rsa(RsaKeySize::_3072),
            Self::Rsa(4096) => rsa(RsaKeySize::_4096),
            Self::Rsa(_) => rsa(RsaKeySize::_2048),
        }
    }
}

/// The kinds to try, each once: that of what is shown, then those of the roots, the newest first.
pub(super) fn kinds(chain: &[u8], ca: Option<&[u8]>) -> Vec<Kind> {
    let own = CertificateDer::from_pem_slice(chain).ok();
    let roots = CertificateDer::pem_slice_iter(ca.unwrap_or_default()).filter_map(Result::ok);
    let mut roots: Vec<_> = roots.collect();
    roots.reverse();
    let mut kinds = Vec::new();
    for kind in own.iter().chain(&roots).filter_map(Kind::of) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_what_is_stored_are_tried_the_own_one_first_and_each_once() {
        let made = |kind: Kind| {
            let certificate = rcgen::CertificateParams::default().self_signed(&kind.make().unwrap());
            certificate.unwrap().pem().into_bytes()
        };
        let (old, new) = (made(Kind::P256), made(Kind::Ed25519));
        let ca = [old.clone(), new].concat();
        assert_eq!(kinds(&old, Some(&ca)), [Kind::P256, Kind::Ed25519]);
        assert_eq!(kinds(&made(Kind::Rsa(2048)), None), [Kind::Rsa(2048)]);
        assert_eq!(kinds(&made(Kind::P384), Some(&made(Kind::P384))), [Kind::P384]);
        assert!(kinds(b"no PEM", None).is_empty());
    }
}

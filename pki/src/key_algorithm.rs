//! Which keys certificates are made with. What signs what, and when a key is replaced, is decided elsewhere.

use rcgen::{KeyPair, RsaKeySize};
use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;

/// The kind of a key. A leaf's is that of its authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256, with SHA-256.
    #[default]
    P256,
    /// ECDSA on P-384, with SHA-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits, with SHA-256 (PKCS #1 1.5).
    Rsa2048,
    /// RSA of 3072 bits, with SHA-256 (PKCS #1 1.5).
    Rsa3072,
    /// RSA of 4096 bits, with SHA-256 (PKCS #1 1.5).
    Rsa4096,
}

impl KeyAlgorithm {
    /// Every one of them.
    pub const ALL: [Self; 6] =
        [Self::P256, Self::P384, Self::Ed25519, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// Its name, such as `RSA2048`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "P256",
            Self::P384 => "P384",
            Self::Ed25519 => "Ed25519",
            Self::Rsa2048 => "RSA2048",
            Self::Rsa3072 => "RSA3072",
            Self::Rsa4096 => "RSA4096",
        }
    }

    /// A new key pair.
    pub(crate) fn generate(self) -> Result<KeyPair, rcgen::Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        match self {
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            Self::Rsa2048 => rsa(RsaKeySize::_2048),
            Self::Rsa3072 => rsa(RsaKeySize::_3072),
            Self::Rsa4096 => rsa(RsaKeySize::_4096),
        }
    }

    /// Of an RSA key of so many bits; None for one that we never make.
    pub(crate) fn of_rsa(bits: usize) -> Option<Self> {
        [(2048, Self::Rsa2048), (3072, Self::Rsa3072), (4096, Self::Rsa4096)]
            .into_iter()
            .find_map(|(known, algorithm)| (known == bits).then_some(algorithm))
    }

    /// Of a certificate and its key; None for one that we never make.
    pub(crate) fn of(certificate: &X509Certificate<'_>, key: &KeyPair) -> Option<Self> {
        if let Ok(PublicKey::RSA(rsa)) = certificate.public_key().parsed() {
            return Self::of_rsa(rsa.key_size());
        }
        [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Self::P256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Self::P384),
            (&rcgen::PKCS_ED25519, Self::Ed25519),
        ]
        .into_iter()
        .find_map(|(known, algorithm)| key.is_compatible(known).then_some(algorithm))
    }
}

#[cfg(test)]
mod tests {
    use crate::examples::{NOW, authority_profile, client};
    use crate::{
        AuthorityProfile, KeyAlgorithm, RandomMint, issue_authority, issue_leaf, pem, read_authority,
    };

    #[test]
    fn an_authority_of_every_algorithm_is_read_back_as_such_and_its_leaves_are_of_it_too() {
        for key in KeyAlgorithm::ALL {
            let profile = AuthorityProfile { key, ..authority_profile() };
            let authority = issue_authority(&profile, 1, NOW, &RandomMint).unwrap();
            assert_eq!(authority.facts.key, Some(key));
            let read = read_authority(1, &authority.certificate_pem, authority.key.expose()).unwrap();
            assert_eq!(read.facts, authority.facts);
            let leaf = issue_leaf(&authority, &client(), NOW, &RandomMint).unwrap();
            let der = pem::certificate_der(&leaf.certificate_pem).unwrap();
            let pair = pem::key(leaf.key.expose()).unwrap();
            assert_eq!(KeyAlgorithm::of(&pem::certificate(&der).unwrap(), &pair), Some(key));
        }
    }
}

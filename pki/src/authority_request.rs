//! What is asked of somebody who is to issue an authority: a key that is made here and stays here, and a PKCS #10 request
//! for a certificate of it. What comes back is read as any authority that somebody else has issued: `brought.rs`.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, PublicKeyData as _};
use sha2::{Digest as _, Sha256};

use crate::authority::{distinguished_name, subject_of};
use crate::{Error, KeyAlgorithm, Mint, PrivateKey, pem};

/// A request for an authority, and the key that it is for.
#[derive(Clone, Debug)]
pub struct AuthorityRequest {
    /// PKCS #8; it is in no other place.
    pub key: PrivateKey,
    /// PKCS #10, PEM: basic constraints and key usages of an authority.
    pub request_pem: String,
    /// SHA-256 of the public key (its SubjectPublicKeyInfo), lower-case hex.
    pub key_digest: String,
}

/// Asks for a generation, with a new key.
///
/// # Errors
/// Where there is no key, or it does not sign.
pub fn request_authority(
    common_name: &str,
    key: KeyAlgorithm,
    generation: u32,
    mint: &dyn Mint,
) -> Result<AuthorityRequest, Error> {
    let subject = subject_of(common_name, generation);
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&subject);
    // No length of the path: some issuers know none, and whoever signs may shorten it.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = mint.key(key)?;
    let request = params.serialize_request(&key).and_then(|request| request.pem());
    Ok(AuthorityRequest {
        request_pem: request.map_err(|source| Error::Sign { subject, source })?,
        key_digest: pem::hex(&Sha256::digest(key.subject_public_key_info())),
        key: PrivateKey::from_pem(key.serialize_pem()),
    })
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::extensions::ParsedExtension;
    use x509_parser::prelude::FromDer as _;

    use super::*;
    use crate::{RandomMint, read_request};

    #[test]
    fn a_request_of_every_kind_of_key_asks_for_an_authority_and_is_signed_with_its_key() {
        for algorithm in
            [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048]
        {
            let asked = request_authority("portcullis shop/door", algorithm, 3, &RandomMint).unwrap();
            let read = read_request(asked.request_pem.as_bytes()).unwrap();
            assert_eq!((read.key, &read.key_digest), (algorithm, &asked.key_digest));
            let pem = x509_parser::pem::parse_x509_pem(asked.request_pem.as_bytes()).unwrap().1;
            let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
            assert_eq!(request.certification_request_info.subject.to_string(), "CN=portcullis shop/door G3");
            let mut said = Vec::new();
            for extension in request.requested_extensions().unwrap() {
                match extension {
                    ParsedExtension::BasicConstraints(it) => said.push(format!("ca={}", it.ca)),
                    ParsedExtension::KeyUsage(it) => said.push(it.to_string()),
                    other => panic!("{other:?}"),
                }
            }
            said.sort();
            assert_eq!(said, ["Key Cert Sign, CRL Sign", "ca=true"]);
        }
    }
}

//! Certificate authorities: issuing a generation of one, and reading a stored one back. Which
//! generation signs, and when one is retired, is the operator's rotation.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose,
};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::extensions::ParsedExtension;
use x509_parser::x509::{RelativeDistinguishedName, X509Name};

use crate::validity::Validity;
use crate::{
    Above, AuthorityProfile, Error, KeyAlgorithm, Mint, NameConstraints, PrivateKey, Unusable, mint, pem,
};

/// The longest common name that a certificate may bear, in characters (RFC 5280, appendix A).
const LONGEST_COMMON_NAME: usize = 64;

/// One generation of a certificate authority.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Counts from 1, or from wherever the caller does; no two generations share a key.
    pub generation: u32,
    /// One PEM block; self-signed, where we issued it.
    pub certificate_pem: String,
    /// PKCS #8, where we issued it.
    pub key: PrivateKey,
    /// What the certificate says.
    pub facts: AuthorityFacts,
    /// What stands above it, where somebody else issued it.
    pub above: Option<Above>,
}

/// What the certificate of an authority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// As in [`Authority`].
    pub generation: u32,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint: String,
    /// Subject key identifier, lower-case hex; its leaves name it as their issuer's.
    pub key_id: String,
    /// Start of the span in which it holds, with all that stands above it.
    pub not_before: OffsetDateTime,
    /// Last second in which it does.
    pub not_after: OffsetDateTime,
    /// Distinguished name, such as `CN=portcullis demo/door G1`.
    pub subject: String,
    /// Which names it may certify.
    pub name_constraints: NameConstraints,
    /// Its key's kind; None for a foreign one of a kind that we make none of.
    pub key: Option<KeyAlgorithm>,
}

/// Issues a new, self-signed generation with a key of its own: `pathlen:0`, and key usages for
/// signing certificates and revocation lists alone.
pub fn issue_authority(
    profile: &AuthorityProfile,
    generation: u32,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Authority, Error> {
    let subject = subject_of(&profile.common_name, generation);
    let Some(validity) = Validity::starting(now, profile.lifetime, None) else {
        return Err(Error::Lifetime { subject, seconds: profile.lifetime.whole_seconds() });
    };
    let mut params = CertificateParams::default();
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.serial_number = Some(mint::serial(mint));
    params.distinguished_name = distinguished_name(&subject);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = profile.name_constraints.extension()?;
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::Sha256;

    let key = mint.key(profile.key)?;
    let certificate_pem =
        params.self_signed(&key).map_err(|source| Error::Sign { subject: subject.clone(), source })?.pem();
    let key_pem = key.serialize_pem();
    read_authority(generation, &certificate_pem, &key_pem)
        .map_err(|source| Error::Unreadable { subject, source })
}

/// Reads a stored authority, ours or a foreign one. Expiry is no fault here: see the facts.
pub fn read_authority(generation: u32, certificate_pem: &str, key_pem: &str) -> Result<Authority, Unusable> {
    let der = pem::certificate_der(certificate_pem)?;
    let certificate = pem::certificate(&der)?;
    let key = pem::key(key_pem)?;
    pem::check_pair(&certificate, &key)?;
    check_may_sign(&certificate)?;
    check_repeatable(certificate.subject())?;
    Issuer::from_ca_cert_der(&der.as_slice().into(), &key)
        .map_err(|error| Unusable::Certificate { detail: error.to_string() })?;
    let facts = AuthorityFacts {
        generation,
        fingerprint: pem::fingerprint(&der),
        key_id: key_id(&certificate),
        not_before: certificate.validity().not_before.to_datetime(),
        not_after: certificate.validity().not_after.to_datetime(),
        subject: certificate.subject().to_string(),
        name_constraints: NameConstraints::of(&certificate),
        key: KeyAlgorithm::of(&certificate, &key),
    };
    Ok(Authority {
        generation,
        certificate_pem: certificate_pem.to_owned(),
        key: PrivateKey::from_pem(key_pem.to_owned()),
        facts,
        above: None,
    })
}

pub(crate) fn check_may_sign(certificate: &X509Certificate<'_>) -> Result<(), Unusable> {
    if !certificate.is_ca() {
        return Err(Unusable::NotAnAuthority { detail: "its basic constraints do not say so" });
    }
    let usage = certificate.key_usage();
    if !usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign())) {
        return Err(Unusable::NotAnAuthority {
            detail: "its key usage does not allow it to sign certificates",
        });
    }
    Ok(())
}

/// The signer repeats the subject as its leaves' issuer; it panics where it cannot, so ask first.
fn check_repeatable(subject: &X509Name<'_>) -> Result<(), Unusable> {
    let is_registered = |oid: &Oid<'_>| {
        let arcs: Vec<u64> = oid.iter().into_iter().flatten().take(2).collect();
        matches!(arcs[..], [0 | 1, 0..=39] | [2, _])
    };
    let repeatable = |rdn: &RelativeDistinguishedName<'_>| {
        rdn.iter().count() == 1 && rdn.iter().all(|attribute| is_registered(attribute.attr_type()))
    };
    if subject.iter_rdn().all(repeatable) {
        Ok(())
    } else {
        Err(Unusable::Certificate {
            detail: "its subject has a part of several values, or of no valid type".to_owned(),
        })
    }
}

/// The stored subject key identifier; without one, what the signer writes into leaves instead.
fn key_id(certificate: &X509Certificate<'_>) -> String {
    let stored = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(pem::hex(id.0)),
        _ => None,
    });
    stored.unwrap_or_else(|| pem::fingerprint(certificate.public_key().raw)[..40].to_owned())
}

pub(crate) fn subject_of(common_name: &str, generation: u32) -> String {
    let suffix = format!(" G{generation}");
    format!("{}{suffix}", clip(common_name, LONGEST_COMMON_NAME - suffix.len()))
}

/// A subject of one common name; an empty one for the empty name.
pub(crate) fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    let common_name = clip(common_name, LONGEST_COMMON_NAME);
    if !common_name.is_empty() {
        name.push(DnType::CommonName, common_name);
    }
    name
}

fn clip(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests;

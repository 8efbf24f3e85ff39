//! Leaves: issuing one, for a key of our own or somebody else's, and telling what a stored one says. When one is issued anew is
//! `policy.rs`.

use std::net::IpAddr;

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use crate::authority::distinguished_name;
use crate::names::{self, Name};
use crate::validity::Validity;
use crate::{
    Authority, Error, LeafProfile, Mint, PrivateKey, SigningRequest, Unusable, Usage, mint, name_constraints,
    pem, request,
};

/// A certificate for a server or a client, and its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its own block and, where the authority is below a root that somebody else holds, those that lead there ([`Above`]).
    ///
    /// [`Above`]: crate::Above
    pub certificate_pem: String,
    /// PKCS #8.
    pub key: PrivateKey,
    /// What the certificate says.
    pub facts: LeafFacts,
}

/// What the certificate of a leaf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafFacts {
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint: String,
    /// Serial number, lower-case hex without leading zeros bytes.
    pub serial: String,
    /// Authority key identifier, lower-case hex; empty where there is none.
    pub issuer_key_id: String,
    /// `None` where it is for neither or for both sides; none of ours is.
    pub usage: Option<Usage>,
    /// Sorted.
    pub dns_names: Vec<String>,
    /// Sorted.
    pub ip_addresses: Vec<IpAddr>,
    /// Sorted.
    pub uris: Vec<String>,
    /// Start of the span in which it holds.
    pub not_before: OffsetDateTime,
    /// Last second in which it holds.
    pub not_after: OffsetDateTime,
}

/// A certificate whose key somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its own block, and those that lead to the root as in [`Leaf`].
    pub pem: String,
    /// What it says.
    pub facts: LeafFacts,
}

/// Issues a certificate for the key of a request; what it says is the profile's. It ends with the authority where that ends
/// first.
pub fn issue_certificate(
    authority: &Authority,
    profile: &LeafProfile,
    request: &SigningRequest,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Certificate, Error> {
    let pem = sign(authority, profile, &request.public_key, now, mint)?;
    let unreadable = |source| Error::Unreadable { subject: profile.common_name.clone(), source };
    let der = pem::certificate_der(&pem).map_err(unreadable)?;
    let facts = facts(&der, &pem::certificate(&der).map_err(unreadable)?);
    Ok(Certificate { pem, facts })
}

/// Issues a leaf with a key of its own, of the same kind as the authority's. It ends with the authority where that ends first.
pub fn issue_leaf(
    authority: &Authority,
    profile: &LeafProfile,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Leaf, Error> {
    let key = mint.key(authority.facts.key.unwrap_or_default())?;
    let certificate_pem = sign(authority, profile, &key, now, mint)?;
    let key_pem = key.serialize_pem();
    let facts = read_leaf(&certificate_pem, &key_pem)
        .map_err(|source| Error::Unreadable { subject: profile.common_name.clone(), source })?;
    Ok(Leaf { certificate_pem, key: PrivateKey::from_pem(key_pem), facts })
}

fn sign(
    authority: &Authority,
    profile: &LeafProfile,
    key: &impl PublicKeyData,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<String, Error> {
    let params = params(authority, profile, now, mint)?;
    let issuer = KeyPair::from_pem(authority.key.expose())
        .and_then(|key| Issuer::from_ca_cert_pem(&authority.certificate_pem, key))
        .map_err(|source| Error::Authority { subject: authority.facts.subject.clone(), source })?;
    let signed = params.signed_by(key, &issuer);
    let signed = signed.map_err(|source| Error::Sign { subject: profile.common_name.clone(), source })?;
    Ok(signed.pem() + authority.chain())
}

/// What a stored leaf says; of several certificates, the first.
pub fn read_leaf(certificate_pem: &str, key_pem: &str) -> Result<LeafFacts, Unusable> {
    let der = pem::certificate_der(certificate_pem)?;
    let certificate = pem::certificate(&der)?;
    pem::check_pair(&certificate, &pem::key(key_pem)?)?;
    Ok(facts(&der, &certificate))
}

/// What a certificate says that somebody has shown, and the SHA-256 of its key, lower-case hex.
pub fn read_certificate(der: &[u8]) -> Result<(LeafFacts, String), Unusable> {
    let certificate = pem::certificate(der)?;
    Ok((facts(der, &certificate), request::key_digest(certificate.public_key())))
}

fn params(
    authority: &Authority,
    profile: &LeafProfile,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<CertificateParams, Error> {
    let subject = || profile.common_name.clone();
    let names = names::wanted(profile);
    if names.is_empty() {
        return Err(Error::NoNames { subject: subject() });
    }
    names.iter().try_for_each(names::check)?;
    authority.facts.name_constraints.check(profile)?;
    if authority.facts.not_after <= now {
        return Err(Error::AuthorityExpired { subject: subject(), not_after: authority.facts.not_after });
    }
    let validity = Validity::starting(now, profile.lifetime, Some(authority.facts.not_after))
        .ok_or_else(|| Error::Lifetime { subject: subject(), seconds: profile.lifetime.whole_seconds() })?;
    let distinguished_name = distinguished_name(&profile.common_name);
    if authority.facts.subject == format!("CN={}", profile.common_name) {
        return Err(Error::SubjectIsIssuer { subject: subject() });
    }

    let mut params = CertificateParams::default();
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.serial_number = Some(mint::serial(mint));
    params.distinguished_name = distinguished_name;
    params.subject_alt_names = names.into_iter().map(san).collect::<Result<_, _>>()?;
    // Explicit, so that the subject key identifier is written too.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match profile.usage {
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::Sha256;
    Ok(params)
}

fn san(name: Name) -> Result<SanType, Error> {
    match name {
        Name::Dns(name) => name.as_str().try_into().map(SanType::DnsName).map_err(|_| ("DNS name", name)),
        Name::Uri(name) => name.as_str().try_into().map(SanType::URI).map_err(|_| ("URI", name)),
        Name::Ip(address) => Ok(SanType::IpAddress(address)),
    }
    .map_err(|(kind, name)| Error::InvalidName { kind, name })
}

fn facts(der: &[u8], certificate: &X509Certificate<'_>) -> LeafFacts {
    let mut facts = LeafFacts {
        fingerprint: pem::fingerprint(der),
        serial: serial(certificate.raw_serial()),
        issuer_key_id: String::new(),
        usage: usage(certificate),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        uris: Vec::new(),
        not_before: certificate.validity().not_before.to_datetime(),
        not_after: certificate.validity().not_after.to_datetime(),
    };
    for extension in certificate.iter_extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                facts.issuer_key_id = id.key_identifier.as_ref().map(|id| pem::hex(id.0)).unwrap_or_default();
            }
            ParsedExtension::SubjectAlternativeName(san) => {
                san.general_names.iter().for_each(|name| facts.note(name));
            }
            _ => {}
        }
    }
    facts.dns_names.sort();
    facts.ip_addresses.sort();
    facts.uris.sort();
    facts
}

impl LeafFacts {
    fn note(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::IPAddress(bytes) => self.ip_addresses.extend(name_constraints::address_of(bytes)),
            _ => {}
        }
    }
}

fn usage(certificate: &X509Certificate<'_>) -> Option<Usage> {
    let usage = certificate.extended_key_usage().ok()??;
    match (usage.value.server_auth, usage.value.client_auth) {
        (true, false) => Some(Usage::Server),
        (false, true) => Some(Usage::Client),
        _ => None,
    }
}

fn serial(bytes: &[u8]) -> String {
    let leading = bytes.iter().take_while(|byte| **byte == 0).count();
    pem::hex(&bytes[leading..])
}

#[cfg(test)]
mod tests;

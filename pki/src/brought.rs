//! An authority that somebody else has issued and brings along: an intermediate with what leads to its root, or a root.
//! Read and tried here; whether it is taken, and when, is the operator's rotation.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;

use crate::authority::{check_may_sign, distinguished_name, read_authority};
use crate::{Authority, Unusable, pem};

/// What stands above an authority that was brought along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Above {
    /// What is served after a leaf, PEM: the authority's own certificate and those above it, without the root. Empty where
    /// the authority is a root itself.
    pub chain: String,
    /// The root that everybody is to trust, one PEM block.
    pub root: String,
}

impl Authority {
    /// What is served after its leaves, PEM; empty for a root.
    pub fn chain(&self) -> &str {
        self.above.as_ref().map_or("", |above| above.chain.as_str())
    }

    /// The root that those who are shown its leaves are to trust, one PEM block.
    pub fn root(&self) -> &str {
        self.above.as_ref().map_or(&self.certificate_pem, |above| &above.root)
    }

    /// SHA-256 of the root's certificate, lower-case hex; empty where it cannot be read.
    pub fn root_fingerprint(&self) -> String {
        pem::certificate_der(self.root()).map(|der| pem::fingerprint(&der)).unwrap_or_default()
    }

    /// Whether it is the same authority by the same way to the same root, whatever number it has.
    pub fn is_same(&self, other: &Self) -> bool {
        self.facts.fingerprint == other.facts.fingerprint && self.above == other.above
    }

    /// The same as this generation.
    #[must_use]
    pub fn numbered(mut self, generation: u32) -> Self {
        (self.generation, self.facts.generation) = (generation, generation);
        self
    }
}

/// Reads an authority that was brought along: its certificate first, with those above it after it or among `roots`, in any
/// order, and its key. It signs a leaf for each side on trial, which must hold as far as its root. It begins with the
/// last of the chain to begin and ends with the first to end; whether that is now is no question here.
pub fn read_brought(
    generation: u32,
    certificates: &str,
    roots: &str,
    key: &str,
) -> Result<Authority, Unusable> {
    let mut blocks = pem::blocks(certificates)?;
    if blocks.is_empty() {
        return Err(Unusable::Empty { part: "certificate" });
    }
    let own = blocks.remove(0);
    let mut authority = read_authority(generation, &own.text, key)?;
    blocks.extend(pem::blocks(roots)?);
    let (below, root) = path(&own, &blocks)?;
    for block in below.iter().copied().chain([root]) {
        let certificate = pem::certificate(&block.der)?;
        authority.facts.not_before =
            authority.facts.not_before.max(certificate.validity().not_before.to_datetime());
        authority.facts.not_after =
            authority.facts.not_after.min(certificate.validity().not_after.to_datetime());
    }
    let facts = &authority.facts;
    if facts.not_after <= facts.not_before {
        return Err(chain("there is no time at which all of it holds".to_owned()));
    }
    let intermediates: Vec<_> =
        below.iter().map(|block| CertificateDer::from(block.der.as_slice())).collect();
    try_out(&authority, &intermediates, &root.der, facts.not_before)?;
    authority.above = Some(Above {
        chain: below.iter().map(|block| block.text.as_str()).collect(),
        root: root.text.clone(),
    });
    Ok(authority)
}

/// Roots that others are to be believed by, PEM, each once: at least one, and all of them certificates of authorities.
pub fn read_roots(text: &str) -> Result<String, Unusable> {
    let mut roots: Vec<String> = Vec::new();
    for block in pem::blocks(text)? {
        check_may_sign(&pem::certificate(&block.der)?)?;
        if !roots.contains(&block.text) {
            roots.push(block.text);
        }
    }
    if roots.is_empty() { Err(Unusable::Empty { part: "certificate" }) } else { Ok(roots.concat()) }
}

/// All below the root, the authority first, and the root.
fn path<'a>(
    own: &'a pem::Block,
    others: &'a [pem::Block],
) -> Result<(Vec<&'a pem::Block>, &'a pem::Block), Unusable> {
    let (mut below, mut last) = (Vec::new(), own);
    loop {
        let certificate = pem::certificate(&last.der)?;
        if certificate.subject().as_raw() == certificate.issuer().as_raw() {
            return Ok((below, last));
        }
        let is_above = |block: &&pem::Block| {
            let signer = pem::certificate(&block.der);
            !below.iter().any(|known: &&pem::Block| known.der == block.der)
                && block.der != last.der
                && signer.is_ok_and(|signer| is_signed_by(&certificate, &signer))
        };
        let Some(above) = others.iter().find(is_above) else {
            return Err(chain(format!(
                "{} was signed by {}, whose certificate is not there",
                certificate.subject(),
                certificate.issuer()
            )));
        };
        below.push(last);
        last = above;
    }
}

/// By name, and by key identifier where both say one: what the signature says is tried afterwards.
fn is_signed_by(certificate: &X509Certificate<'_>, signer: &X509Certificate<'_>) -> bool {
    use x509_parser::extensions::ParsedExtension::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
    let named = certificate.iter_extensions().find_map(|it| match it.parsed_extension() {
        AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    let borne = signer.iter_extensions().find_map(|it| match it.parsed_extension() {
        SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    certificate.issuer().as_raw() == signer.subject().as_raw()
        && named.zip(borne).is_none_or(|(named, borne)| named == borne)
}

/// Signs a leaf and verifies it as peers will: length of the path, usages, constraints, algorithms and every signature.
fn try_out(
    authority: &Authority,
    intermediates: &[CertificateDer<'_>],
    root: &[u8],
    at: OffsetDateTime,
) -> Result<(), Unusable> {
    let leaf = trial(authority)?;
    let leaf = CertificateDer::from(pem::certificate_der(&leaf)?);
    let root = CertificateDer::from(root);
    let anchor = anchor_from_trusted_cert(&root).map_err(|error| chain(words(&error)))?;
    let leaf = EndEntityCert::try_from(&leaf).map_err(|error| chain(words(&error)))?;
    let since = u64::try_from(at.unix_timestamp()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(since));
    for usage in [KeyUsage::client_auth(), KeyUsage::server_auth()] {
        let anchors = std::slice::from_ref(&anchor);
        leaf.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, intermediates, at, usage, None, None)
            .map_err(|error| chain(words(&error)))?;
    }
    Ok(())
}

/// A leaf for both sides that bears an identity, of the authority's own key: it leaves this function for a verifier only.
fn trial(authority: &Authority) -> Result<String, Unusable> {
    let detail = |error: rcgen::Error| chain(format!("it cannot sign: {error}"));
    let key = KeyPair::from_pem(authority.key.expose()).map_err(detail)?;
    let signer = KeyPair::from_pem(authority.key.expose()).map_err(detail)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate_pem, signer).map_err(detail)?;
    let mut params = CertificateParams::default();
    params.not_before = authority.facts.not_before;
    params.not_after = authority.facts.not_after;
    params.distinguished_name = distinguished_name("trial");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names =
        vec![SanType::URI("spiffe://trial.invalid/client".try_into().map_err(detail)?)];
    Ok(params.signed_by(&key, &issuer).map_err(detail)?.pem())
}

fn chain(detail: String) -> Unusable {
    Unusable::Chain { detail }
}

fn words(error: &Error) -> String {
    match error {
        Error::PathLenConstraintViolated => {
            "one above allows no authority below it, or fewer (pathlen)".to_owned()
        }
        Error::EndEntityUsedAsCa => "one above is no certificate authority".to_owned(),
        Error::NameConstraintViolation => {
            "its name constraints leave no room for clients' identities, which are URIs (spiffe://…)"
                .to_owned()
        }
        Error::RequiredEkuNotFoundContext(_) => {
            "its extended key usage leaves out servers or clients".to_owned()
        }
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => {
            "a signature in it is not of the certificate above".to_owned()
        }
        Error::UnsupportedCertVersion => "one of them is no X.509 version 3 certificate".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;

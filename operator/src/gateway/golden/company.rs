//! Authorities that somebody else has issued.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DnType,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::NOW;
use crate::world::Referred;

/// A company with a root that is ten years old at most.
pub(crate) struct Company {
    root: Certificate,
    key: KeyPair,
    name: String,
}

/// An intermediate of a company's.
pub(crate) struct Issuing {
    certificate: String,
    key: String,
}

fn params(name: &str, begins: OffsetDateTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (begins, begins + life);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}

impl Company {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let root = params(&format!("{name} Root"), datetime!(2025-01-01 00:00 UTC), Duration::days(3650));
        Self { root: root.self_signed(&key).unwrap(), key, name: name.to_owned() }
    }

    /// An intermediate that began so long ago, lives for so long, and may certify these names alone.
    pub(crate) fn issue(&self, number: u32, ago: Duration, life: Duration, names: &[&str]) -> Issuing {
        let mut params = params(&format!("{} Issuing CA {number}", self.name), NOW - ago, life);
        let permitted = names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned()));
        params.name_constraints = (!names.is_empty()).then(|| NameConstraints {
            permitted_subtrees: permitted.collect(),
            excluded_subtrees: Vec::new(),
        });
        let signer = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        let signer = Issuer::from_ca_cert_pem(&self.root.pem(), signer).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &signer).unwrap().pem();
        Issuing { certificate, key: key.serialize_pem() }
    }

    /// One that holds for years.
    pub(crate) fn issuing(&self, number: u32) -> Issuing {
        self.issue(number, Duration::days(30), Duration::days(1825), &[])
    }

    /// What an issuer of cert-manager answers to a request: status and conditions. It begins now.
    pub(crate) fn answers(
        &self,
        request_pem: &str,
        life: Duration,
        authority: bool,
        now: OffsetDateTime,
    ) -> Value {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).unwrap();
        (request.params.not_before, request.params.not_after) = (now, now + life);
        if !authority {
            request.params.is_ca = IsCa::ExplicitNoCa;
        }
        request.params.use_authority_key_identifier_extension = true;
        let signer = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        let signer = Issuer::from_ca_cert_pem(&self.root.pem(), signer).unwrap();
        let encoded = |text: String| serde_json::to_value(ByteString(text.into_bytes())).unwrap();
        json!({
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Issued", "message": "Certificate fetched from issuer successfully" }],
            "certificate": encoded(request.signed_by(&signer).unwrap().pem()),
            "ca": encoded(self.root.pem()),
        })
    }

    /// A certificate for public names, and its key.
    pub(crate) fn public(&self, name: &str) -> Referred {
        let mut params = params(name, NOW - Duration::days(10), Duration::days(90));
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        let signer = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        let signer = Issuer::from_ca_cert_pem(&self.root.pem(), signer).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &signer).unwrap().pem();
        Referred::Certificate(portcullis_pki::read_leaf(&certificate, &key.serialize_pem()))
    }

    /// A ConfigMap with the root.
    pub(crate) fn roots(&self, key: &str) -> Referred {
        Referred::Data([(key.to_owned(), self.root.pem())].into())
    }

    /// As the Secret that it is brought along in is seen.
    pub(crate) fn referred(&self, issuing: &Issuing) -> Referred {
        secret(&issuing.certificate, &issuing.key, &self.root.pem())
    }
}

impl Issuing {
    /// Without its root.
    pub(crate) fn alone(&self) -> Referred {
        secret(&self.certificate, &self.key, "")
    }
}

fn secret(certificates: &str, key: &str, root: &str) -> Referred {
    let data = [("tls.crt", certificates), ("tls.key", key), ("ca.crt", root)];
    let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.as_bytes().to_vec())));
    Referred::authority(&Secret { data: Some(data.into()), ..Secret::default() })
}

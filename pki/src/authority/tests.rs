use time::Duration;
use time::macros::datetime;

use super::*;
use crate::RandomMint;
use crate::examples::{NOW, authority, authority_profile, client, issue};

#[test]
fn an_authority_says_what_was_asked_for_and_reads_back_the_same() {
    let issued = authority();
    let der = pem::certificate_der(&issued.certificate_pem).unwrap();
    let certificate = pem::certificate(&der).unwrap();
    assert_eq!(
        issued.facts,
        AuthorityFacts {
            generation: 1,
            fingerprint: pem::fingerprint(&der),
            key_id: pem::fingerprint(certificate.public_key().raw)[..40].to_owned(),
            not_before: datetime!(2026-01-01 11:55:00 UTC),
            not_after: datetime!(2035-12-30 12:00:00 UTC),
            subject: "CN=portcullis demo/door G1".to_owned(),
            name_constraints: NameConstraints::default(),
            key: Some(crate::KeyAlgorithm::P256),
        }
    );
    let stored = read_authority(1, &issued.certificate_pem, issued.key.expose()).unwrap();
    assert_eq!(stored.facts, issued.facts);
}

#[test]
fn an_authority_may_sign_certificates_and_revocation_lists_one_level_deep_and_nothing_else() {
    let der = pem::certificate_der(&authority().certificate_pem).unwrap();
    let certificate = pem::certificate(&der).unwrap();
    let extensions: Vec<(String, bool)> =
        certificate.extensions().iter().map(|it| (it.oid.to_id_string(), it.critical)).collect();
    let named = |oid: &str, critical| (oid.to_owned(), critical);
    // AKI, key usage, SKI, basic constraints.
    assert_eq!(
        extensions,
        [
            named("2.5.29.35", false),
            named("2.5.29.15", true),
            named("2.5.29.14", false),
            named("2.5.29.19", true)
        ]
    );
    assert_eq!(certificate.key_usage().unwrap().unwrap().value.flags, 1 << 5 | 1 << 6);
    let constraints = certificate.basic_constraints().unwrap().unwrap().value;
    assert_eq!((constraints.ca, constraints.path_len_constraint), (true, Some(0)));
    assert_eq!(certificate.raw_serial().len(), 16);
}

#[test]
fn generations_share_neither_subject_nor_key_however_long_the_name_is() {
    let profile = AuthorityProfile { common_name: "ü".repeat(80), ..authority_profile() };
    let [one, two] =
        [1, 20].map(|generation| issue_authority(&profile, generation, NOW, &RandomMint).unwrap());
    assert_eq!(one.facts.subject, format!("CN={} G1", "ü".repeat(61)));
    assert_eq!(two.facts.subject, format!("CN={} G20", "ü".repeat(60)));
    assert_ne!(one.facts.key_id, two.facts.key_id);
}

#[test]
fn a_lifetime_that_no_certificate_can_say_is_refused() {
    for lifetime in [Duration::ZERO, Duration::MIN, Duration::MAX] {
        let profile = AuthorityProfile { lifetime, ..authority_profile() };
        let refused = issue_authority(&profile, 1, NOW, &RandomMint).unwrap_err();
        assert!(matches!(refused, Error::Lifetime { seconds, .. } if seconds == lifetime.whole_seconds()));
    }
}

#[test]
fn a_leaf_is_not_an_authority() {
    let leaf = issue(&authority(), &client());
    assert_eq!(
        read_authority(1, &leaf.certificate_pem, leaf.key.expose()).unwrap_err(),
        Unusable::NotAnAuthority { detail: "its basic constraints do not say so" }
    );
}

#[test]
fn a_foreign_authority_is_read_if_it_may_sign() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = datetime!(2030-01-01 00:00:00 UTC);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, "Example Root");
    let read = |params: &CertificateParams| {
        read_authority(7, &params.self_signed(&key).unwrap().pem(), &key.serialize_pem())
    };

    let authority = read(&params).unwrap();
    assert_eq!((authority.generation, authority.facts.generation), (7, 7));
    assert_eq!(authority.facts.subject, "O=Example, CN=Example Root");
    assert_eq!(issue(&authority, &client()).facts.issuer_key_id, authority.facts.key_id);

    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert_eq!(
        read(&params).unwrap_err(),
        Unusable::NotAnAuthority { detail: "its key usage does not allow it to sign certificates" }
    );
}

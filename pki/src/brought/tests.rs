use rcgen::{BasicConstraints, Certificate, GeneralSubtree, NameConstraints, RsaKeySize, SignatureAlgorithm};
use time::Duration;
use time::macros::datetime;

use super::*;
use crate::examples::{NOW, client};
use crate::{KeyAlgorithm, RandomMint, issue_leaf};

/// Somebody else's authorities: each is signed by the one before.
struct Company {
    certificates: Vec<Certificate>,
    keys: Vec<KeyPair>,
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(name);
    params.not_before = datetime!(2025-06-01 00:00 UTC);
    params.not_after = datetime!(2035-06-01 00:00 UTC);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn company_of(params: Vec<CertificateParams>, kind: &'static SignatureAlgorithm) -> Company {
    let mut company = Company { certificates: Vec::new(), keys: Vec::new() };
    for params in params {
        let key = if kind == &rcgen::PKCS_RSA_SHA256 {
            KeyPair::generate_rsa_for(kind, RsaKeySize::_2048).unwrap()
        } else {
            KeyPair::generate_for(kind).unwrap()
        };
        let certificate = match (company.certificates.last(), company.keys.last()) {
            (Some(above), Some(signer)) => {
                let signer = KeyPair::from_pem(&signer.serialize_pem()).unwrap();
                params.signed_by(&key, &Issuer::from_ca_cert_pem(&above.pem(), signer).unwrap()).unwrap()
            }
            _ => params.self_signed(&key).unwrap(),
        };
        company.certificates.push(certificate);
        company.keys.push(key);
    }
    company
}

fn company(params: Vec<CertificateParams>) -> Company {
    company_of(params, &rcgen::PKCS_ECDSA_P256_SHA256)
}

impl Company {
    fn three() -> Self {
        company(vec![ca("root"), ca("middle"), ca("issuing")])
    }

    fn pem(&self, at: usize) -> String {
        self.certificates[at].pem().replace('\r', "")
    }

    /// With all above the last in `tls.crt`, the root too.
    fn read(&self) -> Result<Authority, Unusable> {
        let last = self.keys.len() - 1;
        let certificates: String = (0..=last).rev().map(|at| self.pem(at)).collect();
        read_brought(3, &certificates, "", &self.keys[last].serialize_pem())
    }

    fn refused(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

#[test]
fn an_intermediate_serves_all_below_its_root_with_every_leaf() {
    let company = Company::three();
    let authority = company.read().unwrap();
    assert_eq!((authority.generation, authority.facts.generation), (3, 3));
    assert_eq!(authority.certificate_pem, company.pem(2));
    assert_eq!(authority.chain(), company.pem(2) + &company.pem(1));
    assert_eq!(authority.root(), company.pem(0));
    let leaf = issue_leaf(&authority, &client(), NOW, &RandomMint).unwrap();
    assert!(leaf.certificate_pem.ends_with(authority.chain()));
    assert_eq!(leaf.certificate_pem.matches("BEGIN").count(), 3);
    assert_eq!(leaf.facts.issuer_key_id, authority.facts.key_id);
}

#[test]
fn what_is_above_is_found_in_any_order_and_on_both_sides() {
    let company = Company::three();
    let key = company.keys[2].serialize_pem();
    let straight = company.read().unwrap();
    let shuffled = format!("{}\nwords\n{}", company.pem(2), company.pem(0).replace('\n', "\r\n"));
    let other = read_brought(4, &shuffled, &company.pem(1), &key).unwrap();
    assert!(straight.is_same(&other));
    assert!(straight.is_same(&straight.clone().numbered(9)));
    let root_apart = read_brought(3, &(company.pem(2) + &company.pem(1)), &company.pem(0), &key).unwrap();
    assert_eq!(root_apart.above, straight.above);
}

#[test]
fn a_root_that_is_brought_along_is_trusted_itself_and_serves_no_chain() {
    let company = company(vec![ca("root")]);
    let authority = company.read().unwrap();
    assert_eq!((authority.chain(), authority.root()), ("", company.pem(0).as_str()));
}

#[test]
fn it_ends_with_the_first_of_its_chain_and_begins_with_the_last() {
    let mut root = ca("root");
    root.not_after = datetime!(2030-01-01 00:00 UTC);
    let mut issuing = ca("issuing");
    issuing.not_before = datetime!(2025-12-01 00:00 UTC);
    let authority = company(vec![root, issuing]).read().unwrap();
    assert_eq!(authority.facts.not_before, datetime!(2025-12-01 00:00 UTC));
    assert_eq!(authority.facts.not_after, datetime!(2030-01-01 00:00 UTC));
    let leaf = issue_leaf(&authority, &client(), datetime!(2029-12-31 00:00 UTC), &RandomMint).unwrap();
    assert_eq!(leaf.facts.not_after, datetime!(2030-01-01 00:00 UTC));
}

#[test]
fn a_gap_in_the_chain_is_named_by_both_of_its_ends() {
    let company = Company::three();
    let gap = read_brought(1, &company.pem(2), &company.pem(0), &company.keys[2].serialize_pem());
    assert_eq!(
        gap.unwrap_err().to_string(),
        "its chain does not hold: CN=issuing was signed by CN=middle, whose certificate is not there"
    );
}

#[test]
fn a_root_of_the_right_name_and_the_wrong_key_is_found_out() {
    let (mut one, mut other) = (ca("root"), ca("root"));
    one.use_authority_key_identifier_extension = false;
    other.use_authority_key_identifier_extension = false;
    let mut issuing = ca("issuing");
    issuing.use_authority_key_identifier_extension = false;
    let (ours, theirs) = (company(vec![one, issuing]), company(vec![other]));
    let read = read_brought(1, &ours.pem(1), &theirs.pem(0), &ours.keys[1].serialize_pem());
    assert_eq!(
        read.unwrap_err().to_string(),
        "its chain does not hold: a signature in it is not of the certificate above"
    );
}

#[test]
fn a_path_that_may_not_be_so_long_is_refused() {
    let mut middle = ca("middle");
    middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    assert_eq!(
        company(vec![ca("root"), middle, ca("issuing")]).refused(),
        "its chain does not hold: one above allows no authority below it, or fewer (pathlen)"
    );
    let mut issuing = ca("issuing");
    issuing.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    assert!(company(vec![ca("root"), issuing]).read().is_ok(), "it allows leaves");
}

#[test]
fn what_may_not_sign_certificates_is_refused() {
    let mut issuing = ca("issuing");
    issuing.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert_eq!(
        company(vec![ca("root"), issuing]).refused(),
        "the certificate is not a certificate authority: its key usage does not allow it to sign certificates"
    );
    let mut leaf = ca("leaf");
    leaf.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(
        company(vec![ca("root"), leaf]).refused(),
        "the certificate is not a certificate authority: its basic constraints do not say so"
    );
}

#[test]
fn usages_and_constraints_that_leave_our_leaves_out_are_refused() {
    let mut issuing = ca("issuing");
    issuing.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert_eq!(
        company(vec![ca("root"), issuing]).refused(),
        "its chain does not hold: its extended key usage leaves out servers or clients"
    );
    let mut issuing = ca("issuing");
    let permitted_subtrees = vec![GeneralSubtree::DnsName("example.com".to_owned())];
    issuing.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    let authority = company(vec![ca("root"), issuing]).read().unwrap();
    assert_eq!(authority.facts.name_constraints.dns, Some(["example.com".to_owned()].into()));
}

#[test]
fn the_key_of_another_one_is_found_out() {
    let company = Company::three();
    let read = read_brought(1, &company.pem(2), &company.pem(1), &company.keys[0].serialize_pem());
    assert_eq!(read.unwrap_err(), Unusable::KeyMismatch);
}

#[test]
fn authorities_of_every_kind_of_key_that_can_be_signed_with_are_taken() {
    for kind in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let authority = company_of(vec![ca("root"), ca("issuing")], kind).read().unwrap();
        issue_leaf(&authority, &client(), NOW, &RandomMint).unwrap();
    }
    let other = company_of(vec![ca("root")], &rcgen::PKCS_ECDSA_P521_SHA512).read().unwrap();
    assert_eq!(other.facts.key, None);
    let leaf = issue_leaf(&other, &client(), NOW, &RandomMint).unwrap();
    let der = pem::certificate_der(&leaf.certificate_pem).unwrap();
    let pair = pem::key(leaf.key.expose()).unwrap();
    assert_eq!(KeyAlgorithm::of(&pem::certificate(&der).unwrap(), &pair), Some(KeyAlgorithm::P256));
}

#[test]
fn a_chain_that_never_holds_all_at_once_is_refused() {
    let mut root = ca("root");
    root.not_after = datetime!(2025-06-02 00:00 UTC);
    let mut issuing = ca("issuing");
    issuing.not_before = root.not_after + Duration::DAY;
    assert_eq!(
        company(vec![root, issuing]).refused(),
        "its chain does not hold: there is no time at which all of it holds"
    );
}

#[test]
fn roots_are_certificates_of_authorities_each_once_and_nothing_else() {
    let company = Company::three();
    let twice = format!("words\n{}{}\n{}", company.pem(0), company.pem(1), company.pem(0));
    assert_eq!(read_roots(&twice).unwrap(), company.pem(0) + &company.pem(1));
    assert_eq!(read_roots("words").unwrap_err(), Unusable::Empty { part: "certificate" });
    let leaf = issue_leaf(&company.read().unwrap(), &client(), NOW, &RandomMint).unwrap();
    assert!(matches!(read_roots(&leaf.certificate_pem), Err(Unusable::NotAnAuthority { .. })));
    assert!(read_roots(&company.keys[0].serialize_pem()).is_err());
}

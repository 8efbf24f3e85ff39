use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;
use crate::examples::{CLIENT, NOW, authority, client};
use crate::{Mint as _, RandomMint, issue_certificate, read_certificate};

fn pair(kind: KeyAlgorithm) -> KeyPair {
    RandomMint.key(kind).unwrap()
}

fn asking(key: &KeyPair, names: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.serialize_request(key).unwrap().der().to_vec()
}

#[test]
fn a_request_with_a_key_of_every_kind_is_read_and_what_is_issued_for_it_says_what_the_profile_does() {
    let authority = authority();
    for kind in KeyAlgorithm::ALL {
        let key = pair(kind);
        let request = read_request(&asking(&key, Vec::new())).unwrap();
        assert_eq!((request.key, request.names.len()), (kind, 0));
        let issued = issue_certificate(&authority, &client(), &request, NOW, &RandomMint).unwrap();
        let der = pem::certificate_der(&issued.pem).unwrap();
        let (facts, digest) = read_certificate(&der).unwrap();
        assert_eq!((&facts, &digest), (&issued.facts, &request.key_digest), "{kind:?}");
        assert_eq!(facts.uris, [CLIENT]);
        pem::check_pair(&pem::certificate(&der).unwrap(), &key).unwrap();
    }
}

#[test]
fn pem_and_der_are_the_same_request_and_every_name_in_it_is_told() {
    let key = pair(KeyAlgorithm::P256);
    let uri = SanType::URI(CLIENT.try_into().unwrap());
    let dns = SanType::DnsName("door.example".try_into().unwrap());
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri, dns, SanType::IpAddress([10, 0, 0, 1].into())];
    let request = params.serialize_request(&key).unwrap();
    let read = read_request(request.der()).unwrap();
    assert_eq!(read_request(request.pem().unwrap().as_bytes()), Ok(read.clone()));
    assert_eq!(read.names, [CLIENT, "DNS:door.example", "an IP address"]);
}

#[test]
fn what_is_no_request_is_told_from_one_whose_key_is_not_held() {
    let der = asking(&pair(KeyAlgorithm::P256), Vec::new());
    let mut forged = der.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(read_request(&forged), Err(BadRequest::Signature));
    // The key of somebody else, in a request that is signed with one's own.
    let (own, other) = (pair(KeyAlgorithm::P256), pair(KeyAlgorithm::P256));
    let mut stolen = asking(&own, Vec::new());
    let (at, length) = (own.public_key_raw(), own.public_key_raw().len());
    let at = stolen.windows(length).position(|window| window == at).unwrap();
    stolen[at..at + length].copy_from_slice(other.public_key_raw());
    assert_eq!(read_request(&stolen), Err(BadRequest::Signature));
    assert_eq!(read_request(b" \n"), Err(BadRequest::Empty));
    assert_eq!(read_request(&vec![0x30; LARGEST + 1]), Err(BadRequest::TooLarge));
    let certificate = crate::examples::issue(&authority(), &client()).certificate_pem;
    let wrong = BadRequest::WrongBlock { label: "CERTIFICATE".to_owned() };
    assert_eq!(read_request(certificate.as_bytes()), Err(wrong));
    for (what, bytes) in [
        ("text", b"please".to_vec()),
        ("cut short", der[..der.len() - 9].to_vec()),
        ("with more behind it", [der.as_slice(), b"x"].concat()),
        ("an empty sequence", vec![0x30, 0]),
    ] {
        let bad = read_request(&bytes).unwrap_err();
        assert!(matches!(bad, BadRequest::Unreadable { .. }), "{what}: {bad}");
    }
}

#[test]
fn a_key_that_nothing_is_issued_for_is_refused_even_where_its_signature_verifies() {
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    assert_eq!(read_request(&asking(&p521, Vec::new())), Err(BadRequest::Key));
    assert!(!signs(KeyAlgorithm::P256, "1.3.101.112"), "another kind's signature shows nothing");
    assert!(!signs(KeyAlgorithm::Rsa2048, "1.2.840.113549.1.1.5"), "SHA-1");
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read_request(&bytes).is_err());
    }

    /// Bits that say how what follows is written (as that of a constructed string) are not all looked at.
    #[test]
    fn a_request_with_any_bit_changed_is_none_or_says_the_same(at in 0usize..200, bit in 0u8..8) {
        let mut der = asking(&KeyPair::generate().unwrap(), Vec::new());
        let before = read_request(&der);
        let at = at % der.len();
        der[at] ^= 1 << bit;
        let after = read_request(&der);
        prop_assert!(after.is_err() || after == before);
    }
}

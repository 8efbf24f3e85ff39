use time::Duration;
use time::macros::datetime;

use super::*;
use crate::examples::{CLIENT, NOW, authority, authority_profile, client, issue, server};
use crate::{AuthorityProfile, NameConstraints, RandomMint, issue_authority};

#[test]
fn a_leaf_says_what_was_asked_for_in_order_and_reads_back_the_same() {
    let authority = authority();
    let mut profile = server();
    profile.dns_names = vec!["door.demo.svc".to_owned(), "DOOR.demo.svc.".to_owned(), "a.example".to_owned()];
    profile.ip_addresses.push("::ffff:10.2.3.4".parse().unwrap());
    let leaf = issue(&authority, &profile);
    let der = pem::certificate_der(&leaf.certificate_pem).unwrap();
    assert_eq!(
        leaf.facts,
        LeafFacts {
            fingerprint: pem::fingerprint(&der),
            serial: pem::hex(pem::certificate(&der).unwrap().raw_serial()),
            issuer_key_id: authority.facts.key_id.clone(),
            usage: Some(Usage::Server),
            dns_names: vec!["a.example".to_owned(), "door.demo.svc".to_owned()],
            ip_addresses: vec!["10.2.3.4".parse().unwrap(), "fd00::1".parse().unwrap()],
            uris: vec!["spiffe://cluster.local/ns/demo/gateway/door".to_owned()],
            not_before: datetime!(2026-01-01 11:55:00 UTC),
            not_after: datetime!(2026-01-08 12:00:00 UTC),
        }
    );
    assert_eq!(leaf.facts.serial.len(), 32);
    assert_eq!(read_leaf(&leaf.certificate_pem, leaf.key.expose()), Ok(leaf.facts));
}

#[test]
fn a_leaf_may_sign_handshakes_on_one_side_and_nothing_else() {
    for (profile, usage) in [(server(), Usage::Server), (client(), Usage::Client)] {
        let der = pem::certificate_der(&issue(&authority(), &profile).certificate_pem).unwrap();
        let certificate = pem::certificate(&der).unwrap();
        let extensions: Vec<(String, bool)> =
            certificate.extensions().iter().map(|it| (it.oid.to_id_string(), it.critical)).collect();
        let named = |oid: &str, critical| (oid.to_owned(), critical);
        // AKI, SAN, key usage, extended key usage, SKI, basic constraints.
        assert_eq!(
            extensions,
            [
                named("2.5.29.35", false),
                named("2.5.29.17", false),
                named("2.5.29.15", true),
                named("2.5.29.37", false),
                named("2.5.29.14", false),
                named("2.5.29.19", true)
            ]
        );
        assert_eq!(certificate.key_usage().unwrap().unwrap().value.flags, 1);
        let sides = certificate.extended_key_usage().unwrap().unwrap().value;
        assert_eq!(
            (sides.server_auth, sides.client_auth, sides.any, sides.other.len()),
            (usage == Usage::Server, usage == Usage::Client, false, 0)
        );
        assert!(!certificate.is_ca());
    }
}

#[test]
fn two_leaves_of_one_profile_share_neither_key_nor_serial() {
    let authority = authority();
    let [one, other] = [issue(&authority, &client()), issue(&authority, &client())];
    assert_ne!(one.key.expose(), other.key.expose());
    assert_ne!(one.facts.serial, other.facts.serial);
}

#[test]
fn a_leaf_ends_with_its_authority_and_none_is_issued_after_it() {
    let authority = authority();
    let end = authority.facts.not_after;
    let late = issue_leaf(&authority, &client(), end - Duration::days(1), &RandomMint).unwrap();
    assert_eq!(late.facts.not_after, end);
    let refused = issue_leaf(&authority, &client(), end, &RandomMint).unwrap_err();
    assert!(matches!(refused, Error::AuthorityExpired { not_after, .. } if not_after == end));
}

#[test]
fn what_no_verifier_would_accept_is_not_issued() {
    let authority = authority();
    let refused =
        |profile: &LeafProfile| issue_leaf(&authority, profile, NOW, &RandomMint).unwrap_err().to_string();
    let none = LeafProfile { uris: Vec::new(), ..client() };
    assert_eq!(
        refused(&none),
        r#"failed to issue "alice": no DNS name, IP address or URI to identify it by"#
    );
    let underscore = LeafProfile { dns_names: vec!["a_b.example".to_owned()], ..server() };
    assert_eq!(refused(&underscore), r#"failed to issue: "a_b.example" is not a valid DNS name"#);
    let plain = LeafProfile { uris: vec!["alice".to_owned()], ..client() };
    assert_eq!(refused(&plain), r#"failed to issue: "alice" is not a valid URI"#);
    let posing = LeafProfile { common_name: "portcullis demo/door G1".to_owned(), ..client() };
    assert_eq!(
        refused(&posing),
        r#"failed to issue: the common name "portcullis demo/door G1" is the authority's own"#
    );
    let instant = LeafProfile { lifetime: Duration::ZERO, ..client() };
    assert_eq!(
        refused(&instant),
        r#"failed to issue "alice": a lifetime of 0 s cannot be written into a certificate"#
    );
}

#[test]
fn a_leaf_needs_no_common_name_and_a_long_one_is_clipped() {
    let authority = authority();
    let subject = |common_name: &str| {
        let leaf = issue(&authority, &LeafProfile { common_name: common_name.to_owned(), ..client() });
        let der = pem::certificate_der(&leaf.certificate_pem).unwrap();
        assert_eq!(leaf.facts.uris, [CLIENT]);
        pem::certificate(&der).unwrap().subject().to_string()
    };
    assert_eq!(subject(""), "");
    assert_eq!(subject(&"é".repeat(65)), format!("CN={}", "é".repeat(64)));
}

#[test]
fn a_name_beyond_the_authoritys_constraints_is_not_issued() {
    let name_constraints = NameConstraints::covering(["door.demo.svc"], []);
    let profile = AuthorityProfile { name_constraints, ..authority_profile() };
    let authority = issue_authority(&profile, 1, NOW, &RandomMint).unwrap();
    let refused = issue_leaf(&authority, &server(), NOW, &RandomMint).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"failed to issue "door.demo": the authority's name constraints do not permit "*.example.com""#
    );
    assert!(issue_leaf(&authority, &client(), NOW, &RandomMint).is_ok());
}

use portcullis_pki::{
    Authority, AuthorityProfile, KeyAlgorithm, LeafProfile, NameConstraints, RandomMint, Usage,
    issue_authority, issue_leaf,
};
use time::{Duration, OffsetDateTime};

use super::*;

fn der(uris: &[&str]) -> Vec<u8> {
    let profile = AuthorityProfile {
        common_name: "door".to_owned(),
        lifetime: Duration::days(10),
        name_constraints: NameConstraints::default(),
        key: KeyAlgorithm::P256,
    };
    let authority: Authority = issue_authority(&profile, 1, OffsetDateTime::UNIX_EPOCH, &RandomMint).unwrap();
    let leaf = LeafProfile {
        common_name: "ci".to_owned(),
        usage: Usage::Client,
        dns_names: vec!["ci.example".to_owned()],
        ip_addresses: Vec::new(),
        uris: uris.iter().map(ToString::to_string).collect(),
        lifetime: Duration::days(1),
        renew_before: Duration::hours(8),
    };
    let leaf = issue_leaf(&authority, &leaf, OffsetDateTime::UNIX_EPOCH, &RandomMint).unwrap();
    x509_parser::pem::parse_x509_pem(leaf.certificate_pem.as_bytes()).unwrap().1.contents
}

#[test]
fn a_certificate_is_a_client_s_of_this_very_gateway_or_nobody_s() {
    let door = Key::new("shop", "door");
    let ci = "spiffe://cluster.local/ns/shop/gateway/door/client/ci";
    assert_eq!(shown(&door, "cluster.local", &der(&[ci])).map_err(drop).unwrap().client, "ci");
    for uris in [
        &["spiffe://other.local/ns/shop/gateway/door/client/ci"][..],
        &["spiffe://cluster.local/ns/other/gateway/door/client/ci"],
        &["spiffe://cluster.local/ns/shop/gateway/other/client/ci"],
        &["spiffe://cluster.local/ns/shop/gateway/door"],
        &["spiffe://cluster.local/ns/shop/gateway/door/tunnel/shop/web"],
        &["https://example.com"],
        &[ci, "spiffe://cluster.local/ns/shop/gateway/door/client/boss"],
        &[],
    ] {
        let refused = shown(&door, "cluster.local", &der(uris)).map(drop).unwrap_err();
        assert_eq!(refused.code, Code::PermissionDenied, "{uris:?}");
    }
    for bytes in [&b""[..], b"rubbish", &[0x30, 0x82, 0xff, 0xff]] {
        assert_eq!(shown(&door, "cluster.local", bytes).map(drop).unwrap_err().code, Code::PermissionDenied);
    }
}

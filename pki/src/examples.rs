//! What the tests of this crate issue, and when.

use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::{
    Authority, AuthorityProfile, Leaf, LeafProfile, NameConstraints, RandomMint, Usage, issue_authority,
    issue_leaf,
};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-01-01 12:00:00 UTC);
pub(crate) const CLIENT: &str = "spiffe://cluster.local/ns/demo/gateway/door/client/alice";

pub(crate) fn authority_profile() -> AuthorityProfile {
    AuthorityProfile {
        common_name: "portcullis demo/door".to_owned(),
        lifetime: Duration::days(3650),
        name_constraints: NameConstraints::default(),
        key: crate::KeyAlgorithm::P256,
    }
}

pub(crate) fn authority() -> Authority {
    issue_authority(&authority_profile(), 1, NOW, &RandomMint).unwrap()
}

pub(crate) fn server() -> LeafProfile {
    LeafProfile {
        common_name: "door.demo".to_owned(),
        usage: Usage::Server,
        dns_names: vec!["door.demo.svc".to_owned(), "*.example.com".to_owned()],
        ip_addresses: vec!["10.2.3.4".parse().unwrap(), "fd00::1".parse().unwrap()],
        uris: vec!["spiffe://cluster.local/ns/demo/gateway/door".to_owned()],
        lifetime: Duration::days(7),
        renew_before: Duration::hours(56),
    }
}

pub(crate) fn client() -> LeafProfile {
    LeafProfile {
        common_name: "alice".to_owned(),
        usage: Usage::Client,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        uris: vec![CLIENT.to_owned()],
        lifetime: Duration::days(30),
        renew_before: Duration::days(10),
    }
}

pub(crate) fn issue(authority: &Authority, profile: &LeafProfile) -> Leaf {
    issue_leaf(authority, profile, NOW, &RandomMint).unwrap()
}

use super::*;
use crate::examples::{NOW, authority_profile, server};
use crate::{AuthorityProfile, RandomMint, issue_authority};

fn covering(dns: &[&str], ip: &[&str]) -> NameConstraints {
    NameConstraints::covering(dns.iter().copied(), ip.iter().map(|address| address.parse().unwrap()))
}

#[test]
fn constraints_are_read_back_as_they_were_written() {
    let free = NameConstraints::default();
    for constraints in [
        free.clone(),
        covering(&[], &[]),
        covering(&["*.example.com", "Door.demo.svc."], &["10.2.3.4", "fd00::1", "::ffff:10.2.3.5"]),
        NameConstraints { dns: Some(BTreeSet::from(["svc".to_owned()])), ..free.clone() },
        NameConstraints { ip: Some(BTreeSet::from(["10.0.0.0/8".parse().unwrap()])), ..free.clone() },
        NameConstraints { ip: Some(BTreeSet::new()), ..free },
    ] {
        let profile = AuthorityProfile { name_constraints: constraints.clone(), ..authority_profile() };
        let authority = issue_authority(&profile, 1, NOW, &RandomMint).unwrap();
        assert_eq!(authority.facts.name_constraints, constraints);
    }
}

#[test]
fn a_subtree_permits_its_own_name_and_all_below_it() {
    let constraints = covering(&["*.example.com", "door.demo.svc"], &["10.2.3.4"]);
    let permitted = |name: &str| {
        let mut profile = server();
        (profile.dns_names, profile.ip_addresses) = match name.parse() {
            Ok(address) => (Vec::new(), vec![address]),
            Err(_) => (vec![name.to_owned()], Vec::new()),
        };
        constraints.check(&profile).is_ok()
    };
    let names =
        ["example.com", "a.b.EXAMPLE.com.", "*.example.com", "door.demo.svc", "10.2.3.4", "::ffff:10.2.3.4"];
    for name in names {
        assert!(permitted(name), "{name}");
    }
    for name in ["badexample.com", "com", "*.com", "demo.svc", "10.2.3.5", "::1", "localhost"] {
        assert!(!permitted(name), "{name}");
    }
}

#[test]
fn uris_are_free_under_any_constraints() {
    let profile = LeafProfile { dns_names: Vec::new(), ip_addresses: Vec::new(), ..server() };
    assert!(covering(&[], &[]).check(&profile).is_ok());
}

#[test]
fn what_covers_a_profile_permits_it() {
    let profile = server();
    let constraints = NameConstraints::covering(
        profile.dns_names.iter().map(String::as_str),
        profile.ip_addresses.iter().copied(),
    );
    assert!(constraints.check(&profile).is_ok());
}

#[test]
fn a_subtree_that_is_no_name_is_refused() {
    for base in ["", ".example.com", "*.example.com", "a b"] {
        let constraints = NameConstraints { dns: Some(BTreeSet::from([base.to_owned()])), ip: None };
        let refused = constraints.extension().unwrap_err().to_string();
        assert_eq!(refused, format!("failed to issue: {base:?} is not a valid DNS subtree"));
    }
}

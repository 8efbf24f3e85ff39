use std::sync::LazyLock;

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::examples::{CLIENT, NOW, authority, client, issue, server};
use crate::{Authority, RandomMint, issue_leaf};

static AUTHORITY: LazyLock<Authority> = LazyLock::new(authority);

fn reason(facts: &LeafFacts, profile: &LeafProfile, now: OffsetDateTime) -> Option<Reissue> {
    reissue_reason(Ok(facts), profile, &AUTHORITY.facts, now)
}

/// Says the reason and the message.
fn told(reissue: Option<Reissue>) -> (&'static str, String) {
    let reissue = reissue.expect("a reason to reissue");
    (reissue.reason(), reissue.to_string())
}

#[test]
fn what_cannot_be_used_is_issued_anew() {
    let found = reissue_reason(Err(&Unusable::KeyMismatch), &server(), &AUTHORITY.facts, NOW);
    assert_eq!(found, Some(Reissue::Unusable(Unusable::KeyMismatch)));
    assert_eq!(
        told(found),
        ("CertificateUnusable", "the private key does not match the certificate".to_owned())
    );
}

#[test]
fn another_authority_means_another_leaf() {
    let leaf = issue(&AUTHORITY, &server());
    let next = authority().facts;
    let found = reissue_reason(Ok(&leaf.facts), &server(), &next, NOW);
    let (old, new) = (AUTHORITY.facts.key_id.clone(), next.key_id);
    let message = format!("the authority that signed it ({old}) is not the one that signs now ({new})");
    assert_eq!(told(found), ("AuthorityChanged", message));
}

#[test]
fn another_side_means_another_leaf() {
    let leaf = issue(&AUTHORITY, &server());
    let profile = LeafProfile { usage: Usage::Client, ..server() };
    assert_eq!(
        told(reason(&leaf.facts, &profile, NOW)),
        ("UsageChanged", "it is for a server, not for a client".to_owned())
    );
    let both = LeafFacts { usage: None, ..leaf.facts };
    assert_eq!(
        told(reason(&both, &server(), NOW)),
        ("UsageChanged", "it is not for a server alone".to_owned())
    );
}

#[test]
fn a_change_of_names_says_which() {
    let leaf = issue(&AUTHORITY, &server());
    let changed = |profile: &LeafProfile| told(reason(&leaf.facts, profile, NOW));
    let mut profile = server();
    profile.dns_names.push("new.example".to_owned());
    profile.ip_addresses.push("10.9.9.9".parse().unwrap());
    assert_eq!(changed(&profile), ("NamesChanged", "it lacks new.example, 10.9.9.9".to_owned()));
    profile.uris.clear();
    assert_eq!(
        changed(&profile),
        (
            "NamesChanged",
            "it lacks new.example, 10.9.9.9 and still bears spiffe://cluster.local/ns/demo/gateway/door"
                .to_owned()
        )
    );
    let fewer = LeafProfile { dns_names: vec!["door.demo.svc".to_owned()], ..server() };
    assert_eq!(changed(&fewer), ("NamesChanged", "it still bears *.example.com".to_owned()));
}

#[test]
fn one_name_for_another_is_a_change_too() {
    let leaf = issue(&AUTHORITY, &client());
    let bob = "spiffe://cluster.local/ns/demo/gateway/door/client/bob";
    let found = reason(&leaf.facts, &LeafProfile { uris: vec![bob.to_owned()], ..client() }, NOW);
    let (added, removed) = (vec![bob.to_owned()], vec![CLIENT.to_owned()]);
    assert_eq!(found, Some(Reissue::NamesChanged { added, removed }));
}

#[test]
fn a_shorter_lifetime_is_enforced_at_once_and_a_longer_one_at_renewal() {
    let leaf = issue(&AUTHORITY, &server());
    let with = |lifetime| LeafProfile { lifetime, renew_before: Duration::hours(1), ..server() };
    assert_eq!(
        told(reason(&leaf.facts, &with(Duration::days(1)), NOW)),
        ("LifetimeShortened", "it lives for 7d5m, longer than the 1d5m that are allowed".to_owned())
    );
    assert_eq!(reason(&leaf.facts, &with(Duration::days(8)), NOW), None);
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_of_its_life_and_not_a_second_earlier() {
    let leaf = issue(&AUTHORITY, &server());
    let due = datetime!(2026-01-06 04:00:00 UTC);
    assert_eq!(renewal_time(&leaf.facts, &server()), due);
    assert_eq!(reason(&leaf.facts, &server(), due - Duration::seconds(1)), None);
    assert_eq!(
        told(reason(&leaf.facts, &server(), due)),
        ("Expiring", "it expires at 2026-01-08 12:00:00.0 +00:00:00 and its renewal is due".to_owned())
    );
}

#[test]
fn an_expired_leaf_says_so() {
    let leaf = issue(&AUTHORITY, &server());
    assert_eq!(
        told(reason(&leaf.facts, &server(), leaf.facts.not_after)),
        ("Expired", "it expired at 2026-01-08 12:00:00.0 +00:00:00".to_owned())
    );
}

#[test]
fn a_leaf_from_the_future_is_issued_anew() {
    let leaf = issue(&AUTHORITY, &server());
    assert_eq!(reason(&leaf.facts, &server(), NOW - BACKDATE), None);
    assert_eq!(
        told(reason(&leaf.facts, &server(), NOW - BACKDATE - Duration::seconds(1))),
        ("NotYetValid", "it does not hold before 2026-01-01 11:55:00.0 +00:00:00".to_owned())
    );
}

#[test]
fn the_end_of_an_authority_causes_no_storm_of_leaves_that_end_with_it() {
    let late = AUTHORITY.facts.not_after - Duration::hours(1);
    let leaf = issue_leaf(&AUTHORITY, &client(), late, &RandomMint).unwrap();
    assert_eq!(leaf.facts.not_after, AUTHORITY.facts.not_after);
    assert_eq!(reason(&leaf.facts, &client(), late + Duration::minutes(30)), None);
    assert_eq!(told(reason(&leaf.facts, &client(), leaf.facts.not_after)).0, "Expired");
}

#[test]
fn a_renewal_period_that_makes_no_sense_counts_as_a_third_of_the_life() {
    let leaf = issue(&AUTHORITY, &server());
    for renew_before in [Duration::days(7), Duration::days(900), Duration::ZERO, Duration::MIN, Duration::MAX]
    {
        let profile = LeafProfile { renew_before, ..server() };
        assert_eq!(renewal_time(&leaf.facts, &profile), datetime!(2026-01-06 04:00:00 UTC), "{renew_before}");
    }
}

/// Profiles of any names, side and times, sensible or not.
fn profiles() -> impl Strategy<Value = LeafProfile> {
    let dns =
        proptest::collection::vec("(\\*\\.)?[a-zA-Z]([-a-z0-9]{0,8}[a-z0-9])?(\\.[a-z]{2,5}){0,2}\\.?", 1..5);
    let ip = proptest::collection::vec(any::<std::net::IpAddr>(), 0..4);
    let uri = proptest::collection::vec("spiffe://[a-z]{1,5}/[a-z/]{0,9}[a-z]", 0..3);
    let usage = prop_oneof![Just(Usage::Server), Just(Usage::Client)];
    (dns, ip, uri, usage, 1..10_000_000_i64, -5..20_000_000_i64).prop_map(
        |(dns_names, ip_addresses, uris, usage, lifetime, renew_before)| LeafProfile {
            common_name: "any".to_owned(),
            usage,
            dns_names,
            ip_addresses,
            uris,
            lifetime: Duration::seconds(lifetime),
            renew_before: Duration::seconds(renew_before),
        },
    )
}

/// Any time in the life of the authority, to the nanosecond.
fn times() -> impl Strategy<Value = OffsetDateTime> {
    let life = (AUTHORITY.facts.not_after - NOW).whole_seconds();
    (0..life, 0..1_000_000_000_i64).prop_map(|(s, ns)| NOW + Duration::seconds(s) + Duration::nanoseconds(ns))
}

proptest! {
    #[test]
    fn a_leaf_is_never_reissued_at_once(profile in profiles(), now in times()) {
        let leaf = issue_leaf(&AUTHORITY, &profile, now, &RandomMint);
        prop_assume!(leaf.is_ok() || now + Duration::seconds(1) < AUTHORITY.facts.not_after);
        let leaf = leaf.unwrap();
        prop_assert_eq!(reason(&leaf.facts, &profile, now), None);
        let stored = crate::read_leaf(&leaf.certificate_pem, leaf.key.expose());
        prop_assert_eq!(reissue_reason(stored.as_ref(), &profile, &AUTHORITY.facts, now), None);
    }

    #[test]
    fn a_leaf_is_reissued_from_its_renewal_time_on_for_as_long_as_that_gains_time(
        profile in profiles(), later in 0..20_000_000_i64,
    ) {
        let leaf = issue(&AUTHORITY, &profile);
        let due = renewal_time(&leaf.facts, &profile);
        prop_assert!(NOW < due && due < leaf.facts.not_after);
        prop_assert_eq!(reason(&leaf.facts, &profile, due - Duration::nanoseconds(1)), None);
        let now = due + Duration::seconds(later);
        let wanted = if now < leaf.facts.not_after { "Expiring" } else { "Expired" };
        let found = reason(&leaf.facts, &profile, now).map(|reissue| reissue.reason());
        // Within its first second, another leaf would end in the same second.
        prop_assert_eq!(found, if now < NOW + Duration::seconds(1) { None } else { Some(wanted) });
    }

    #[test]
    fn the_same_input_gets_the_same_answer(
        profile in profiles(), other in profiles(), now in times(),
    ) {
        let leaf = issue(&AUTHORITY, &other);
        let answer = reason(&leaf.facts, &profile, now);
        prop_assert_eq!(reason(&leaf.facts.clone(), &profile.clone(), now), answer);
    }

    #[test]
    fn a_change_of_names_is_noticed_and_a_change_of_their_order_is_not(
        profile in profiles(), which in any::<proptest::sample::Index>(),
    ) {
        let leaf = issue(&AUTHORITY, &profile);
        let mut same = profile.clone();
        same.dns_names.reverse();
        same.ip_addresses.reverse();
        same.uris.reverse();
        same.dns_names.push(which.get(&profile.dns_names).to_uppercase());
        prop_assert_eq!(reason(&leaf.facts, &same, NOW), None);

        let mut more = same.clone();
        more.dns_names.insert(0, "another.example.org".to_owned());
        let added = vec!["another.example.org".to_owned()];
        prop_assert_eq!(
            reason(&leaf.facts, &more, NOW),
            Some(Reissue::NamesChanged { added: added.clone(), removed: Vec::new() })
        );
        let leaf = issue(&AUTHORITY, &more);
        prop_assert_eq!(
            reason(&leaf.facts, &same, NOW),
            Some(Reissue::NamesChanged { added: Vec::new(), removed: added })
        );
    }
}

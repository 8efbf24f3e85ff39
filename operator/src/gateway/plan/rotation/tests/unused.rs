//! An authority that nobody goes by any more goes before its last certificate has ended: who must have been seen, who must
//! not, and what an operator that was gone in between still knows of it.

use super::*;
use crate::gateway::plan::rotation::unused::noted;

const QUIET: Duration = Duration::hours(8);

/// A Gateway whose old authority may go early, in the middle of a rotation: everything is signed by the new one.
fn retiring() -> Site {
    let mut site = Site::new();
    // As the API server does: conditions that hold for it stay as they are.
    site.gateway.metadata.generation = Some(1);
    site.gateway.spec.pki.ca.publish_for = "0s".to_owned();
    site.gateway.spec.pki.ca.retire_unused_after = Some("8h".to_owned());
    site.annotate("portcullis.dev/rotate", "one");
    until(&mut site, Retiring);
    site
}

fn until(site: &mut Site, phase: RotationPhase) {
    for _ in 0..20 {
        if site.ca().phase == phase {
            return;
        }
        site.visit();
        site.everyone_takes();
        site.everyone_is_told();
        site.everyone_mounts();
    }
    panic!("it is {:?} and waits for {:?}", site.ca().phase, site.ca().waiting_for);
}

/// The keys of the authority that goes and of the one that stays.
fn keys(site: &Site) -> [String; 2] {
    let roots = site.observed.remembered_authority.as_ref().unwrap();
    [roots.other.as_ref().unwrap(), &roots.signing].map(|it| it.facts.key_id.clone())
}

/// Visits until nothing is left to write at this time.
fn visits(site: &mut Site) {
    for _ in 0..8 {
        site.visit();
    }
}

fn at(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}

#[test]
fn it_goes_once_every_client_came_with_another_and_nobody_with_it_for_so_long() {
    let mut site = retiring();
    let [_, new] = keys(&site);
    assert_eq!(site.ca().unseen, CLIENTS);
    site.come("alice", &new);
    visits(&mut site);
    assert_eq!(site.ca().unseen, ["bob"]);
    assert!(at(&site.ca().phase_until.unwrap()) >= NOW + Duration::days(30), "bob was not seen");
    site.now += Duration::hours(3);
    site.come("bob", &new);
    visits(&mut site);
    let ca = site.ca();
    assert_eq!((ca.unseen.len(), at(&ca.phase_until.unwrap())), (0, NOW + QUIET));
    site.settle();
    assert_eq!((site.ca().phase, site.ca().generation, site.now), (Stable, 2, NOW + QUIET));
    let snapshot: Value = serde_json::from_str(&site.published.as_ref().unwrap().json).unwrap();
    assert_eq!(snapshot["retired"].as_array().unwrap().len(), 1, "what is open goes on");
}

#[test]
fn whoever_comes_with_it_from_another_machine_keeps_it_for_as_long_again() {
    let mut site = retiring();
    let [old, new] = keys(&site);
    for client in CLIENTS {
        site.come(client, &new);
    }
    for hours in [2, 7, 12] {
        site.now = NOW + Duration::hours(hours);
        site.come("alice", &old);
        visits(&mut site);
        assert_eq!(site.ca().phase, Retiring);
        let ends = at(&site.ca().phase_until.unwrap()) - site.now;
        assert!(ends >= QUIET && ends <= QUIET * 9 / 8, "{ends} after hour {hours}");
    }
    site.settle();
    assert!(site.now >= NOW + Duration::hours(20) && site.now <= NOW + Duration::hours(21), "{}", site.now);
}

#[test]
fn what_is_used_all_the_time_is_written_down_now_and_then() {
    let mut site = retiring();
    let [old, new] = keys(&site);
    for client in CLIENTS {
        site.come(client, &new);
    }
    visits(&mut site);
    let before = site.writes;
    for _ in 0..240 {
        site.now += Duration::minutes(1);
        site.come("alice", &old);
        site.visit();
    }
    // The authority's Secret and the status, once an hour, and when the client was seen.
    let writes = site.writes - before;
    assert!(writes <= 4 * (2 + 6), "{writes} writes in four hours");
    assert_eq!(site.ca().phase, Retiring);
}

#[test]
fn a_replica_that_does_not_tell_by_which_authority_keeps_it() {
    let mut site = retiring();
    let [_, new] = keys(&site);
    for client in CLIENTS {
        site.come(client, &new);
    }
    site.now += Duration::hours(7);
    site.come("alice", "");
    visits(&mut site);
    assert!(at(&site.ca().phase_until.unwrap()) >= site.now + QUIET);
}

#[test]
fn who_was_never_seen_is_waited_for_until_its_certificates_have_ended_or_it_is_gone() {
    let mut site = retiring();
    let [_, new] = keys(&site);
    site.come("alice", &new);
    visits(&mut site);
    site.now += Duration::days(29);
    visits(&mut site);
    assert_eq!((site.ca().phase, site.ca().unseen), (Retiring, vec!["bob".to_owned()]));
    site.gateway.spec.clients.retain(|client| client.name != "bob");
    for _ in 0..2 {
        site.everyone_is_told();
        site.everyone_mounts();
        visits(&mut site);
    }
    assert_eq!((site.ca().phase, site.ca().generation), (Stable, 2), "who is gone is not waited for");
}

#[test]
fn what_was_seen_before_it_signed_counts_for_nothing_after_a_rollback() {
    let mut site = retiring();
    let [first, _] = keys(&site);
    site.now -= Duration::hours(1);
    for client in CLIENTS {
        site.come(client, &first);
    }
    site.now += Duration::hours(1);
    site.annotate("portcullis.dev/rotate-rollback", "one");
    site.visit();
    until(&mut site, Retiring);
    assert_eq!((site.ca().generation, site.ca().unseen), (1, CLIENTS.map(str::to_owned).into()));
    for client in CLIENTS {
        site.come(client, &first);
    }
    site.settle();
    assert_eq!((site.ca().generation, site.now), (1, NOW + QUIET));
}

#[test]
fn a_connector_is_waited_for_as_a_client_is() {
    let mut site = Site::new();
    site.gateway.spec.pki.ca.publish_for = "0s".to_owned();
    site.gateway.spec.pki.ca.retire_unused_after = Some("8h".to_owned());
    site.annotate("portcullis.dev/rotate", "one");
    for _ in 0..20 {
        // Of a connector's bundle, no more counts than of a client's.
        let bundle = site.observed.children[&(Kind::Secret, "door-client-alice".to_owned())].clone();
        site.observed.connectors.insert(Key::new("shop", "web"), bundle);
        site.visit();
        site.everyone_takes();
        site.everyone_is_told();
        site.everyone_mounts();
    }
    assert_eq!(
        (site.ca().phase, site.ca().unseen),
        (Retiring, ["alice", "bob", "tunnel/shop/web"].map(str::to_owned).into())
    );
    let [_, new] = keys(&site);
    for who in ["alice", "bob", "tunnel/shop/web"] {
        site.come(who, &new);
    }
    site.settle();
    assert_eq!((site.ca().generation, site.now), (2, NOW + QUIET));
}

#[test]
fn without_the_field_nobody_is_watched_and_with_it_what_nobody_watched_for_is_not_taken_for_seen() {
    let mut site = Site::new();
    site.comes = true;
    site.annotate("portcullis.dev/rotate", "one");
    site.settle();
    assert!(site.now - NOW >= Duration::days(30), "{}", site.now);
    // A Secret of an earlier version says nothing of those who hold certificates.
    let mut site = retiring();
    let roots = site.observed.remembered_authority.clone().unwrap();
    let mut course = roots.course.clone();
    course.holders = None;
    let earlier = Roots { course, ..Roots::clone(&roots) };
    let policy = site.plan().0.rotation;
    assert_eq!(ends(&earlier, &policy), earlier.course.until);
    assert_eq!(noted(&site.plan().0, &site.observed, &earlier, site.now).map(|it| it.1), None);
    site.comes = true;
    site.settle();
}

#[test]
fn wherever_the_operator_is_gone_what_was_seen_is_known_to_the_next_one_or_seen_again() {
    let rotation = |dies_after: Option<usize>| {
        let mut site = Site::new();
        site.gateway.spec.pki.ca.retire_unused_after = Some("8h".to_owned());
        site.comes = true;
        site.annotate("portcullis.dev/rotate", "one");
        site.dies_after = dies_after;
        site.settle();
        assert_eq!(site.dies_after, None, "it was not gone after write {dies_after:?}");
        assert_eq!((site.ca().generation, site.ca().phase), (2, Stable), "after {dies_after:?}");
        assert!(site.now - NOW < Duration::days(2), "after {dies_after:?}: at {}", site.now);
        site.writes
    };
    let whole = rotation(None);
    assert!(whole > 20, "{whole} writes");
    for dies_after in 0..whole {
        let writes = rotation(Some(dies_after));
        assert!(writes <= whole + 3, "after {dies_after}: {writes} instead of {whole} writes");
    }
}

#[test]
fn who_was_seen_once_is_not_forgotten_with_the_operator_and_the_replica_that_saw_it() {
    let mut site = retiring();
    let [old, new] = keys(&site);
    for client in CLIENTS {
        site.come(client, &new);
    }
    site.now += Duration::hours(2);
    site.come("bob", &old);
    visits(&mut site);
    site.forget();
    site.now += Duration::hours(1);
    site.settle();
    let left = site.now - NOW;
    assert!(left >= Duration::hours(10) && left <= Duration::hours(11), "{left}");
}

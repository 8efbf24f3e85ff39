//! Rotations to authorities that somebody else has issued: from one Secret's content to the next.

use super::*;
use crate::gateway::golden::company::{Company, Issuing as Intermediate};
use crate::world::{Purpose, Referred};

fn hold(site: &mut Site, referred: Referred) {
    let named = serde_json::from_value(json!({ "name": "corp" })).unwrap();
    site.gateway.spec.pki.ca.secret_ref = Some(named);
    site.observed.referred.insert((Purpose::Authority, "corp".to_owned()), referred.into());
}

pub(super) fn bring(site: &mut Site, company: &Company, issuing: &Intermediate) {
    hold(site, company.referred(issuing));
}

fn warning(site: &Site) -> Option<(String, String)> {
    let conditions = &site.gateway.status.as_ref().unwrap().conditions;
    let warning = conditions.iter().find(|it| it.type_ == "Warning")?;
    Some((warning.reason.clone(), warning.message.clone()))
}

fn subject(site: &Site) -> Option<String> {
    site.ca().brought.map(|brought| brought.subject)
}

#[test]
fn from_ours_to_theirs_and_on_to_another_of_theirs_and_back_nobody_is_locked_out() {
    let (one, other) = (Company::new("Example"), Company::new("Other"));
    let mut site = Site::new();
    bring(&mut site, &one, &one.issuing(1));
    site.settle();
    assert_eq!(site.phases, [Publishing, Issuing, Retiring, Stable]);
    assert_eq!(subject(&site).unwrap(), "CN=Example Issuing CA 1");
    assert_eq!(
        site.secrets["door-ca"]["data"].as_object().unwrap().len(),
        5,
        "one generation, and how far it is"
    );
    let (server, _) = site.in_secret("door-server");
    assert_ne!(server.signed_by, server.rooted_in);
    assert_eq!(server.believes, BTreeSet::from([server.rooted_in]));
    bring(&mut site, &other, &other.issuing(1));
    site.settle();
    assert_eq!((site.ca().generation, subject(&site).unwrap()), (3, "CN=Other Issuing CA 1".to_owned()));
    site.gateway.spec.pki.ca.secret_ref = None;
    site.settle();
    assert_eq!((site.ca().generation, subject(&site), warning(&site)), (4, None, None));
}

#[test]
fn a_successor_below_the_same_root_changes_nothing_that_clients_trust_and_every_leaf() {
    let company = Company::new("Example");
    let mut site = Site::new();
    bring(&mut site, &company, &company.issuing(1));
    site.settle();
    let (before, _) = site.in_secret("door-client-alice");
    bring(&mut site, &company, &company.issuing(2));
    site.settle();
    let (after, _) = site.in_secret("door-client-alice");
    assert_eq!(before.believes, after.believes);
    assert_ne!(before.signed_by, after.signed_by);
    let snapshot: Value = serde_json::from_str(&site.published.as_ref().unwrap().json).unwrap();
    let trusted = key_ids(snapshot["trust"][0].as_str().unwrap());
    assert_eq!(trusted, BTreeSet::from([after.signed_by]), "others below that root are let in by nobody");
}

#[test]
fn wherever_the_operator_is_gone_the_next_one_ends_it_though_the_secret_is_gone_too() {
    let company = Company::new("Example");
    let whole = {
        let mut site = Site::new();
        bring(&mut site, &company, &company.issuing(1));
        site.settle();
        site.writes
    };
    for dies_after in 0..whole {
        let mut site = Site::new();
        bring(&mut site, &company, &company.issuing(1));
        site.dies_after = Some(dies_after);
        site.visit();
        if dies_after > 0 {
            hold(&mut site, Referred::Missing);
        }
        site.settle();
        assert_eq!((site.ca().generation, site.ca().phase), (2, Stable), "after {dies_after}");
        assert_eq!(subject(&site).unwrap(), "CN=Example Issuing CA 1");
    }
}

#[test]
fn what_cannot_sign_is_refused_in_words_and_the_last_good_one_signs_on() {
    let company = Company::new("Example");
    let mut site = Site::new();
    bring(&mut site, &company, &company.issuing(1));
    site.settle();
    let good = site.ca();
    let (month, year) = (Duration::days(30), Duration::days(365));
    for (referred, said) in [
        (Referred::Missing, "Secret corp, which spec.pki.ca.secretRef names, is not there. Write"),
        (Referred::Forbidden("no".to_owned()), "Secret corp cannot be read: no"),
        (
            company.issuing(2).alone(),
            "CN=Example Issuing CA 2 was signed by CN=Example Root, whose certificate is not there. Write",
        ),
        (company.referred(&company.issue(2, year, month, &[])), "has ended, or what is above it, at 2025-"),
        (company.referred(&company.issue(2, -year, year, &[])), "does not hold before 2027-"),
        (
            company.referred(&company.issue(2, month, year * 9, &["example.com"])),
            "may not certify this Gateway's names: ",
        ),
    ] {
        hold(&mut site, referred);
        site.settle();
        let (reason, message) = warning(&site).unwrap();
        let missing = message.contains("is not there. Write") && !message.contains("CN=Example Issuing CA 2");
        assert_eq!(reason, if missing { "SecretNotFound" } else { "AuthorityRefused" });
        assert!(message.contains(said), "{message}");
        assert!(message.ends_with("The authority before it (CN=Example Issuing CA 1) signs on"), "{message}");
        assert_eq!(site.ca(), good);
    }
    site.now += Duration::days(20);
    site.settle();
    let renewed = site.in_secret("door-client-alice").0;
    assert_eq!(renewed, site.in_secret("door-client-bob").0, "what is due is issued all the same");
    bring(&mut site, &company, &company.issuing(3));
    site.settle();
    assert_eq!((subject(&site).unwrap(), warning(&site)), ("CN=Example Issuing CA 3".to_owned(), None));
}

#[test]
fn a_secret_that_changes_again_before_anything_is_signed_is_followed() {
    let company = Company::new("Example");
    let first = company.issuing(1);
    let mut site = Site::new();
    bring(&mut site, &company, &first);
    site.settle();
    bring(&mut site, &company, &company.issuing(2));
    site.visit();
    assert_eq!(site.ca().phase, Publishing);
    let other = site.ca().other.unwrap();
    bring(&mut site, &company, &company.issuing(3));
    site.visit();
    assert_eq!(site.ca().phase, Publishing);
    assert_ne!(site.ca().other.unwrap().fingerprint, other.fingerprint);
    bring(&mut site, &company, &first);
    site.visit();
    assert_eq!((site.ca().phase, subject(&site).unwrap()), (Stable, "CN=Example Issuing CA 1".to_owned()));
}

#[test]
fn what_was_rolled_back_does_not_come_again_by_itself_and_another_one_does() {
    let company = Company::new("Example");
    let mut site = Site::new();
    bring(&mut site, &company, &company.issuing(1));
    site.settle();
    bring(&mut site, &company, &company.issuing(2));
    site.visit();
    site.annotate("portcullis.dev/rotate-rollback", "one");
    site.settle();
    assert_eq!(subject(&site).unwrap(), "CN=Example Issuing CA 1");
    bring(&mut site, &company, &company.issuing(3));
    site.settle();
    assert_eq!(subject(&site).unwrap(), "CN=Example Issuing CA 3");
}

#[test]
fn an_emergency_takes_what_the_secret_holds_at_once_and_waits_for_it() {
    let company = Company::new("Example");
    let mut site = Site::new();
    bring(&mut site, &company, &company.issuing(1));
    site.settle();
    let before = site.ca();
    site.annotate("portcullis.dev/rotate-emergency", "stolen");
    site.visit();
    assert_eq!(site.ca(), before, "there is no other one yet");
    site.emergency = true;
    bring(&mut site, &company, &company.issuing(2));
    site.visit();
    assert_eq!((subject(&site).unwrap(), site.ca().other), ("CN=Example Issuing CA 2".to_owned(), None));
}

#[test]
fn one_that_ends_is_warned_of_and_once_it_has_ended_nothing_is_issued_until_there_is_another() {
    let company = Company::new("Example");
    let mut site = Site::new();
    bring(&mut site, &company, &company.issue(1, Duration::days(1), Duration::days(400), &[]));
    site.settle();
    assert_eq!(warning(&site), None);
    site.now = NOW + Duration::days(300);
    site.settle();
    let (reason, message) = warning(&site).unwrap();
    assert_eq!(reason, "AuthorityEnds");
    assert!(message.contains("(CN=Example Issuing CA 1) ends at 2027-"), "{message}");
    site.now = NOW + Duration::days(400);
    let (_, plan) = site.plan();
    let trouble = plan.certificates.trouble.unwrap();
    assert_eq!(trouble.reason, Reason::AuthorityRefused);
    assert!(
        trouble.message.starts_with("The authority (CN=Example Issuing CA 1) ended at 2027-"),
        "{}",
        trouble.message
    );
    assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
    // Everybody's certificates have ended with it.
    site.emergency = true;
    site.now = NOW + Duration::days(401);
    bring(&mut site, &company, &company.issue(2, -Duration::days(350), Duration::days(900), &[]));
    site.settle();
    assert_eq!(subject(&site).unwrap(), "CN=Example Issuing CA 2");
}

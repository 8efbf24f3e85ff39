//! Authorities that an issuer of cert-manager is asked for: made, answered, denied, answered with something else, and not
//! answered, write by write.

use super::*;
use crate::gateway::golden::company::Company;
use crate::world::{Purpose, Requests};

/// Whoever answers requests.
pub(super) struct Issuer {
    company: Company,
    mood: Mood,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    /// Issues for so long.
    Issues(Duration),
    /// The same by a clock that is so far ahead.
    Ahead(Duration),
    /// Issues what is no authority.
    Leaf,
    Denies,
    Fails,
    /// Says why it does not yet.
    Ponders,
    Silent,
}

const YEAR: Duration = Duration::days(365);

fn issuer(name: &str, mood: Mood) -> Arc<Issuer> {
    Arc::new(Issuer { company: Company::new(name), mood })
}

fn asks(site: &mut Site, name: &str, issuer: Arc<Issuer>) {
    site.gateway.spec.pki.ca.secret_ref = None;
    site.gateway.spec.pki.ca.issuer_ref = serde_json::from_value(json!({ "name": name })).unwrap();
    site.issuer = Some(issuer);
}

impl Site {
    /// Every request that nobody has spoken of is answered, as cert-manager does where its approver approves all.
    pub(super) fn issuer_answers(&mut self) {
        let Some(issuer) = self.issuer.clone() else { return };
        let now = self.now;
        for (name, object) in &mut self.requests {
            let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({ "conditions": [{ "type": kind, "status": status, "reason": reason, "message": message }] });
            let status = match issuer.mood {
                // What is decided is final.
                _ if object["status"]["certificate"].is_string() => continue,
                _ if ["Denied", "Failed"].iter().any(|it| object["status"].to_string().contains(it)) => {
                    continue;
                }
                Mood::Silent => continue,
                Mood::Denies => condition("Denied", "True", "Policy", "no authorities in this house"),
                Mood::Fails => condition("Ready", "False", "Failed", "Error signing certificate"),
                Mood::Ponders => condition("Ready", "False", "Pending", "Referenced \"Issuer\" not found"),
                Mood::Leaf | Mood::Issues(_) | Mood::Ahead(_) => {
                    let text = object["spec"]["request"].clone();
                    let text: k8s_openapi::ByteString = serde_json::from_value(text).unwrap();
                    let life = if let Mood::Issues(life) = issuer.mood { life } else { YEAR };
                    let request = String::from_utf8(text.0).unwrap();
                    let now = if let Mood::Ahead(ahead) = issuer.mood { now + ahead } else { now };
                    issuer.company.answers(&request, life, issuer.mood != Mood::Leaf, now)
                }
            };
            object["status"] = status;
            let (_, child) = Child::from_value(Kind::CertificateRequest, object).unwrap();
            self.observed.children.insert((Kind::CertificateRequest, name.clone()), child.into());
        }
    }

    fn alarm(&self) -> Option<(String, String)> {
        let conditions = &self.gateway.status.as_ref().unwrap().conditions;
        let said =
            |kind: &str, status: &str| conditions.iter().find(|it| it.type_ == kind && it.status == status);
        let said = said("Warning", "True").or_else(|| said("CertificatesReady", "False"))?;
        Some((said.reason.clone(), said.message.clone()))
    }

    fn issued_by(&self) -> Option<String> {
        self.ca().brought?.issuer_ref.map(|it| it.name)
    }

    /// The one request that there is.
    fn request(&self) -> &str {
        assert_eq!(self.requests.len(), 1, "{:?}", self.requests.keys());
        self.requests.keys().next().unwrap()
    }

    fn has_open_key(&self) -> bool {
        self.observed.children.contains_key(&(Kind::Secret, "door-request".to_owned()))
    }
}

#[test]
fn from_ours_to_an_issuers_to_another_issuers_and_back_nobody_is_locked_out() {
    let mut site = Site::new();
    asks(&mut site, "corp", issuer("Example", Mood::Issues(YEAR)));
    site.settle();
    assert_eq!(site.phases, [Publishing, Issuing, Retiring, Stable]);
    assert_eq!((site.issued_by().unwrap(), site.ca().generation), ("corp".to_owned(), 2));
    let first = site.ca().brought.unwrap().request.unwrap();
    assert_eq!((site.request(), site.has_open_key(), site.alarm()), (&*first, false, None));
    let (server, _) = site.in_secret("door-server");
    assert_ne!(server.signed_by, server.rooted_in);
    asks(&mut site, "other", issuer("Other", Mood::Issues(YEAR)));
    site.settle();
    assert_eq!((site.issued_by().unwrap(), site.ca().generation), ("other".to_owned(), 3));
    assert_ne!(site.request(), first);
    site.gateway.spec.pki.ca.issuer_ref = None;
    site.settle();
    assert_eq!((site.ca().brought, site.ca().generation, site.requests.len()), (None, 4, 0));
}

#[test]
fn between_a_secret_and_an_issuer_it_goes_in_phases_both_ways() {
    let company = Company::new("Brought");
    let mut site = Site::new();
    super::brought::bring(&mut site, &company, &company.issuing(1));
    site.settle();
    asks(&mut site, "corp", issuer("Example", Mood::Issues(YEAR)));
    site.phases.clear();
    site.settle();
    assert_eq!(
        (site.phases.clone(), site.issued_by().unwrap()),
        (vec![Publishing, Issuing, Retiring, Stable], "corp".to_owned())
    );
    site.gateway.spec.pki.ca.issuer_ref = None;
    super::brought::bring(&mut site, &company, &company.issuing(2));
    site.phases.clear();
    site.settle();
    assert_eq!(site.phases, [Publishing, Issuing, Retiring, Stable]);
    assert_eq!((site.issued_by(), site.requests.len()), (None, 0));
    assert_eq!(site.ca().brought.unwrap().subject, "CN=Brought Issuing CA 2");
}

#[test]
fn a_gateway_that_never_had_one_waits_for_its_first_in_words() {
    let mut site = Site::bare();
    asks(&mut site, "corp", issuer("Example", Mood::Silent));
    site.visit();
    assert!(site.has_open_key());
    site.visit();
    let (reason, message) = site.alarm().unwrap();
    assert_eq!(reason, "RequestPending");
    assert_eq!(
        message,
        format!(
            "CertificateRequest {0} to Issuer corp is not answered yet: nobody has said anything of it: is cert-manager running? More is told by kubectl -n shop describe certificaterequest {0}",
            site.request()
        )
    );
    site.issuer = Some(issuer("Example", Mood::Issues(YEAR)));
    site.settle();
    assert_eq!(
        (site.issued_by().unwrap(), site.ca().generation, site.asked.len()),
        ("corp".to_owned(), 1, 1)
    );
    assert_eq!((site.has_open_key(), site.alarm()), (false, None));
}

#[test]
fn wherever_the_operator_is_gone_the_next_one_goes_on_with_the_same_request() {
    for first in [true, false] {
        let begin = || {
            let mut site = if first { Site::bare() } else { Site::new() };
            asks(&mut site, "corp", issuer("Example", Mood::Issues(YEAR)));
            site
        };
        let whole = {
            let mut site = begin();
            site.settle();
            site.writes
        };
        assert!(whole > if first { 8 } else { 20 }, "{whole} writes");
        for dies_after in 0..whole {
            let mut site = begin();
            site.dies_after = Some(dies_after);
            site.settle();
            assert_eq!(site.dies_after, None, "it was not gone after write {dies_after}");
            assert_eq!(site.issued_by().as_deref(), Some("corp"), "after {dies_after}");
            assert_eq!(site.ca().generation, if first { 1 } else { 2 });
            assert_eq!(site.asked.len(), 1, "after {dies_after} it was asked for again: {:?}", site.asked);
            assert_eq!((site.has_open_key(), site.requests.len()), (false, 1));
        }
    }
}

#[test]
fn wherever_the_operator_is_gone_while_one_that_was_denied_is_replaced_it_is_replaced_once() {
    let denied = || {
        let mut site = Site::new();
        asks(&mut site, "corp", issuer("Example", Mood::Denies));
        site.settle();
        assert_eq!(site.alarm().unwrap().0, "RequestDenied");
        site.issuer = Some(issuer("Example", Mood::Issues(YEAR)));
        site.now += Duration::minutes(1);
        site.writes = 0;
        site
    };
    let whole = {
        let mut site = denied();
        // The one that was denied stays so.
        site.visit();
        site.settle();
        site.writes
    };
    for dies_after in 0..whole {
        let mut site = denied();
        site.dies_after = Some(dies_after);
        site.visit();
        site.settle();
        assert_eq!(site.dies_after, None, "it was not gone after write {dies_after}");
        assert_eq!((site.issued_by().as_deref(), site.asked.len()), (Some("corp"), 2), "after {dies_after}");
        assert_eq!((site.has_open_key(), site.requests.len()), (false, 1), "after {dies_after}");
    }
}

#[test]
fn age_an_annotation_and_another_kind_of_key_each_ask_once_with_a_new_key() {
    let mut site = Site::new();
    asks(&mut site, "corp", issuer("Example", Mood::Issues(YEAR)));
    site.settle();
    let begins = site.now;
    let mut last = 2;
    let mut asked_once = |site: &mut Site| {
        site.phases.clear();
        site.settle();
        last += 1;
        assert_eq!((site.ca().generation, site.asked.len()), (last, usize::try_from(last - 1).unwrap()));
        assert!(site.phases.ends_with(&[Publishing, Issuing, Retiring, Stable]), "{:?}", site.phases);
    };
    site.annotate("portcullis.dev/rotate", "one");
    asked_once(&mut site);
    assert_eq!(site.ca().done, ["rotate=one"]);
    site.gateway.spec.pki.key_algorithm = portcullis_api::KeyAlgorithm::P384;
    asked_once(&mut site);
    let (_, plan) = site.plan();
    assert_eq!(plan.certificates.roots.unwrap().signing.facts.key, Some(portcullis_pki::KeyAlgorithm::P384));
    site.now = begins + YEAR - Duration::days(20);
    asked_once(&mut site);
}

#[test]
fn what_is_refused_is_said_is_asked_for_again_ever_less_often_and_the_last_good_one_signs_on() {
    let good = issuer("Example", Mood::Issues(YEAR));
    for (mood, reason, said) in [
        (Mood::Denies, "RequestDenied", "was denied: no authorities in this house. Let whoever approves"),
        (
            Mood::Fails,
            "RequestFailed",
            "failed: Error signing certificate. More is told by kubectl -n shop describe certificaterequest door-ca-3-",
        ),
        (Mood::Leaf, "AuthorityRefused", "was answered with what cannot be used as authority: "),
    ] {
        let mut site = Site::new();
        asks(&mut site, "corp", good.clone());
        site.settle();
        let before = site.ca();
        site.asked.clear();
        site.issuer = Some(issuer("Example", mood));
        site.annotate("portcullis.dev/rotate", "one");
        for _ in 0..24 * 60 {
            site.now += Duration::minutes(1);
            site.issuer_answers();
            site.visit();
            assert!(site.requests.len() <= 2, "{mood:?}: {:?}", site.requests.keys());
        }
        let attempts = site.asked.len();
        assert!((20..=32).contains(&attempts), "{mood:?}: {attempts} requests in a day");
        site.issuer_answers();
        site.visit();
        let (found, message) = site.alarm().unwrap();
        assert_eq!(found, reason);
        assert!(message.contains(said), "{message}");
        assert!(
            message.ends_with("The authority before it (CN=portcullis shop/door G2) signs on"),
            "{message}"
        );
        assert_eq!(site.ca(), before);
        site.issuer = Some(good.clone());
        site.annotate("portcullis.dev/rotate", "two");
        site.settle();
        assert_eq!((site.ca().generation, site.alarm()), (3, None), "another wish is asked for at once");
    }
}

#[test]
fn an_issuer_that_takes_its_time_is_warned_of_after_a_minute_and_never_asked_twice() {
    let mut site = Site::new();
    asks(&mut site, "corp", issuer("Example", Mood::Ponders));
    site.settle();
    assert_eq!(site.alarm(), None);
    let (_, plan) = site.plan();
    assert_eq!(plan.certificates.rotation, Some(site.now + Duration::minutes(1)));
    for _ in 0..50 {
        site.now += Duration::hours(3);
        site.settle();
    }
    assert_eq!(site.asked.len(), 1);
    let (reason, message) = site.alarm().unwrap();
    assert_eq!(reason, "RequestPending");
    assert!(message.contains("is not answered yet: Referenced \"Issuer\" not found. More"), "{message}");
    site.issuer = Some(issuer("Example", Mood::Issues(YEAR)));
    site.settle();
    assert_eq!((site.ca().generation, site.asked.len(), site.alarm()), (2, 1, None));
}

#[test]
fn where_nobody_can_be_asked_that_is_said_nothing_is_kept_and_it_goes_on_once_somebody_can() {
    for missing in [Requests::Missing, Requests::Forbidden("no".to_owned())] {
        let mut site = Site::new();
        site.observed.requests = missing;
        asks(&mut site, "corp", issuer("Example", Mood::Issues(YEAR)));
        site.settle();
        let (reason, message) = site.alarm().unwrap();
        assert_eq!(
            (reason.as_str(), site.has_open_key(), site.asked.len()),
            ("CertManagerMissing", false, 0)
        );
        assert!(
            message.starts_with("Issuer corp, which spec.pki.ca.issuerRef names, cannot be asked"),
            "{message}"
        );
        site.observed.requests = Requests::There;
        site.settle();
        assert_eq!((site.issued_by().as_deref(), site.alarm()), (Some("corp"), None));
        site.observed.requests = Requests::Missing;
        site.settle();
        assert_eq!(site.alarm(), None, "what it has is its issuer's, and nothing is wanted");
        site.annotate("portcullis.dev/rotate", "one");
        site.settle();
        assert_eq!(site.alarm().unwrap().0, "CertManagerMissing", "now something is");
    }
}

#[test]
fn an_issuer_whose_clock_is_ahead_is_waited_for_and_not_asked_again() {
    let mut site = Site::bare();
    asks(&mut site, "corp", issuer("Example", Mood::Ahead(Duration::minutes(20))));
    site.settle();
    for _ in 0..19 {
        let (_, plan) = site.plan();
        assert!(plan.certificates.rotation.unwrap() <= NOW + Duration::minutes(20));
        let (reason, message) = site.alarm().unwrap();
        assert_eq!(reason, "RequestPending");
        assert!(
            message.ends_with("does not hold before 2026-03-01T12:20:00Z: it is taken then"),
            "{message}"
        );
        site.now += Duration::minutes(1);
        site.settle();
    }
    let (_, plan) = site.plan();
    assert_eq!(plan.certificates.rotation, Some(NOW + Duration::minutes(20)));
    site.now += Duration::minutes(1);
    site.settle();
    assert_eq!((site.issued_by().as_deref(), site.asked.len(), site.alarm()), (Some("corp"), 1, None));
}

#[test]
fn an_emergency_waits_for_the_issuer_and_a_rollback_asks_for_nothing() {
    let mut site = Site::new();
    asks(&mut site, "corp", issuer("Example", Mood::Issues(YEAR)));
    site.settle();
    site.issuer = Some(issuer("Example", Mood::Silent));
    site.annotate("portcullis.dev/rotate-emergency", "stolen");
    site.settle();
    assert_eq!(site.ca().generation, 2, "there is no other one yet");
    site.emergency = true;
    site.issuer = Some(issuer("Example", Mood::Issues(YEAR)));
    site.settle();
    assert_eq!((site.ca().generation, site.ca().other), (3, None));
    site.emergency = false;
    site.annotate("portcullis.dev/rotate", "two");
    site.visit();
    site.issuer_answers();
    site.visit();
    assert_eq!(site.ca().phase, Publishing);
    let asked = site.asked.len();
    site.annotate("portcullis.dev/rotate-rollback", "two");
    site.settle();
    assert_eq!((site.ca().generation, site.asked.len()), (3, asked));
}

#[test]
fn an_issuer_that_grants_less_than_an_hour_is_not_asked_over_and_over() {
    let mut site = Site::new();
    asks(&mut site, "corp", issuer("Example", Mood::Issues(Duration::minutes(41))));
    site.gateway.spec.pki.ca.publish_for = "0s".to_owned();
    site.gateway.spec.pki.ca.retire_after = Some("1s".to_owned());
    site.emergency = true;
    site.settle();
    let begins = site.now;
    while site.now < begins + Duration::hours(4) {
        site.now += Duration::minutes(1);
        site.settle();
    }
    assert!((4..=8).contains(&site.asked.len()), "{} requests in four hours", site.asked.len());
}

#[test]
fn a_key_that_was_deleted_is_made_anew_and_asked_for_by_another_name() {
    let mut site = Site::new();
    asks(&mut site, "corp", issuer("Example", Mood::Silent));
    site.visit();
    let first = site.request().to_owned();
    site.observed.children.remove(&(Kind::Secret, "door-request".to_owned()));
    site.visit();
    assert_ne!(site.request(), first);
    // A request that somebody deletes is made again as it was.
    let second = site.request().to_owned();
    let request = site.requests.remove(&second).unwrap()["spec"]["request"].clone();
    site.observed.children.remove(&(Kind::CertificateRequest, second.clone()));
    site.visit();
    assert_eq!((site.request(), &site.requests[&second]["spec"]["request"]), (&*second, &request));
    site.gateway.spec.pki.ca.issuer_ref = None;
    site.observed.referred.remove(&(Purpose::Authority, "corp".to_owned()));
    site.issuer = None;
    site.settle();
    assert_eq!((site.has_open_key(), site.requests.len()), (false, 0), "what is asked no more is taken back");
}

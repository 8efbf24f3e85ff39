//! Rotations, write by write: an operator that may be gone after any of them, replicas and clients that take up what there
//! is when they like. After every single thing that happens, nobody shows a certificate to somebody who does not believe it.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_api::{AuthorityStatus, Client, Gateway, GatewaySpec};
use portcullis_pki::RandomMint;
use proptest::prelude::*;
use serde_json::{Value, json};
use time::Duration;
use time::format_description::well_known::Rfc3339;

use super::*;
use crate::children::Step as Write;
use crate::control::Session;
use crate::control::seen::Sight;
use crate::gateway::apply::Applied;
use crate::gateway::golden::{NOW, settings, stored, surroundings};
use crate::gateway::plan::renewals::tests::asked;
use crate::gateway::plan::{Plan, plan};
use crate::gateway::status::{Outcome, status};
use crate::gateway::validate::validate;
use crate::moment;
use crate::world::{Child, Kind, Pod};
use portcullis_api::condition::Reason;

mod asked;
mod brought;
mod unused;

use RotationPhase::{Issuing, Publishing, Retiring, Stable};

const CLIENTS: [&str; 2] = ["alice", "bob"];
const PODS: [&str; 2] = ["door-1", "door-2"];

/// What somebody shows and whom they believe: key identifiers.
#[derive(Clone, Debug, PartialEq)]
struct Holder {
    signed_by: String,
    /// The root that what is shown leads to.
    rooted_in: String,
    believes: BTreeSet<String>,
}

/// A replica: what it mounted, and what it was told.
#[derive(Clone, Debug, Default)]
struct Replica {
    mounted: Option<(Holder, String)>,
    told: Option<(String, BTreeSet<String>)>,
}

struct Site {
    gateway: Gateway,
    observed: Observed,
    secrets: BTreeMap<String, Value>,
    /// CertificateRequests that there are, and the names of all that there ever were.
    requests: BTreeMap<String, Value>,
    asked: BTreeSet<String>,
    /// Answers them.
    issuer: Option<Arc<asked::Issuer>>,
    /// What the ConfigMap or the channel hands to replicas.
    published: Option<Published>,
    replicas: BTreeMap<&'static str, Replica>,
    /// What clients have taken from their Secrets.
    clients: BTreeMap<&'static str, Holder>,
    now: OffsetDateTime,
    /// Writes that were carried out.
    writes: usize,
    /// The operator is gone after so many.
    dies_after: Option<usize>,
    phases: Vec<RotationPhase>,
    /// Clients are only promised an overlap where there is one.
    emergency: bool,
    /// Whoever takes a bundle comes with it at once.
    comes: bool,
}

fn key_ids(pem: &str) -> BTreeSet<String> {
    x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes())
        .map(|pem| {
            let pem = pem.unwrap();
            let certificate = pem.parse_x509().unwrap();
            let ids = certificate.extensions().iter().find_map(|it| match it.parsed_extension() {
                x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            });
            ids.unwrap().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
        })
        .collect()
}

/// Who signed the last of a chain.
fn above(chain: &str) -> Option<String> {
    use x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier;
    let last = x509_parser::pem::Pem::iter_from_buffer(chain.as_bytes()).last()?.unwrap();
    let last = last.parse_x509().unwrap();
    last.extensions().iter().find_map(|it| match it.parsed_extension() {
        AuthorityKeyIdentifier(id) => {
            let id = id.key_identifier.as_ref()?.0;
            Some(id.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
        }
        _ => None,
    })
}

impl Site {
    fn new() -> Self {
        let mut site = Self::bare();
        site.settle();
        assert_eq!(site.ca().phase, RotationPhase::Stable);
        site.writes = 0;
        site.phases.clear();
        site
    }

    /// Nothing was planned yet.
    fn bare() -> Self {
        let clients = CLIENTS.map(|name| Client {
            name: name.to_owned(),
            user: None,
            roles: Vec::new(),
            scopes: None,
            duration: "720h".to_owned(),
            revoke: Vec::new(),
        });
        let mut gateway = Gateway::new(
            "door",
            GatewaySpec { clients: clients.into(), replicas: 2, ..GatewaySpec::default() },
        );
        gateway.metadata.namespace = Some("shop".to_owned());
        gateway.metadata.uid = Some("c0ffee".to_owned());
        let mut site = Self {
            gateway,
            observed: surroundings(BTreeMap::new()),
            secrets: BTreeMap::new(),
            requests: BTreeMap::new(),
            asked: BTreeSet::new(),
            issuer: None,
            published: None,
            replicas: PODS.map(|pod| (pod, Replica::default())).into(),
            clients: BTreeMap::new(),
            now: NOW,
            writes: 0,
            dies_after: None,
            phases: Vec::new(),
            emergency: false,
            comes: false,
        };
        for pod in PODS {
            site.observed.pods.insert(pod.to_owned(), Pod { ready: true, ..Pod::default() }.into());
        }
        site.observed.requests = crate::world::Requests::There;
        site
    }

    fn annotate(&mut self, annotation: &str, id: &str) {
        let annotations = self.gateway.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation.to_owned(), id.to_owned());
    }

    fn ca(&self) -> AuthorityStatus {
        self.gateway.status.clone().unwrap().ca.unwrap()
    }

    fn plan(&self) -> (Accepted, Plan) {
        let accepted = validate(&self.gateway, &self.observed, &settings()).unwrap();
        let before = self.gateway.status.as_ref();
        let plan = plan(&accepted, &self.observed, &settings(), before, self.now, &RandomMint).unwrap();
        (accepted, plan)
    }

    /// One visit; false where the operator was gone before it was done. A new one remembers nothing, and nobody is attached
    /// to it yet.
    fn visit(&mut self) -> bool {
        let (accepted, plan) = self.plan();
        let awaits = self.issuer.is_some() && self.gateway.status.as_ref().is_none_or(|it| it.ca.is_none());
        assert!(awaits || plan.certificates.trouble.is_none(), "{:?}", plan.certificates.trouble);
        for step in &plan.steps {
            self.carry_out(step);
            self.check();
            if self.died() {
                return false;
            }
        }
        self.published.clone_from(&plan.snapshot);
        let applied = Applied { plan, failures: Vec::new(), unwritten: BTreeSet::new(), again: false };
        let outcome = Outcome::Applied(Box::new(accepted), Box::new(applied));
        let said = status(&self.gateway, &self.observed, &outcome, moment::timestamp(self.now).unwrap());
        if self.gateway.status.as_ref() != Some(&said) {
            let phase = said.ca.as_ref().map(|ca| ca.phase);
            if self.phases.last() != phase.as_ref() {
                self.phases.extend(phase);
            }
            self.gateway.status = Some(said);
            self.writes += 1;
            if self.died() {
                return false;
            }
        }
        true
    }

    fn died(&mut self) -> bool {
        let dies = self.dies_after.is_some_and(|after| self.writes > after);
        if dies {
            self.dies_after = None;
            self.forget();
        }
        dies
    }

    /// The operator is gone, and the replicas that saw somebody with it.
    fn forget(&mut self) {
        self.observed.remembered_authority = None;
        self.observed.sessions.clear();
        self.observed.seen.clear();
        self.published = None;
    }

    fn carry_out(&mut self, step: &Write) {
        self.writes += 1;
        let (kind, name, object) = match step {
            Write::Create(kind, name, object) | Write::Update(kind, name, object) => {
                (kind, name, object.clone())
            }
            Write::Amend(kind, name, object) | Write::Relabel(kind, name, object) => {
                let mut whole = object.clone();
                whole["data"] = self.secrets[name]["data"].clone();
                for (key, value) in object["data"].as_object().into_iter().flatten() {
                    whole["data"][key] = value.clone();
                }
                (kind, name, whole)
            }
            Write::Delete(kind, name) => {
                self.observed.children.remove(&(*kind, name.clone()));
                if *kind == Kind::CertificateRequest {
                    self.requests.remove(name);
                }
                return;
            }
        };
        let (_, child) = Child::from_value(*kind, &stored(&object)).unwrap();
        if let Content::Authority(Ok(roots)) = &child.content {
            self.observed.remembered_authority = Some(roots.clone());
        }
        self.observed.children.insert((*kind, name.clone()), child.into());
        match kind {
            Kind::Secret => drop(self.secrets.insert(name.clone(), object)),
            Kind::CertificateRequest => {
                self.asked.insert(name.clone());
                self.requests.insert(name.clone(), stored(&object));
            }
            _ => {}
        }
    }

    /// What is in a Secret that is handed out.
    fn in_secret(&self, name: &str) -> (Holder, String) {
        let (leaf, chain, trusted) = match &self.observed.children[&(Kind::Secret, name.to_owned())].content {
            Content::Bundle(bundle) => (bundle.leaf.clone(), &bundle.chain, &bundle.ca),
            Content::Server(served) => (served.server.clone(), &served.chain, &served.ca),
            _ => panic!("{name} is no bundle"),
        };
        let leaf = leaf.unwrap();
        let rooted_in = above(chain).unwrap_or_else(|| leaf.issuer_key_id.clone());
        let holder = Holder { signed_by: leaf.issuer_key_id, rooted_in, believes: key_ids(trusted) };
        (holder, leaf.fingerprint)
    }

    fn is_there(&self, secret: &str) -> bool {
        self.observed.children.contains_key(&(Kind::Secret, secret.to_owned()))
    }

    /// A client reads its Secret.
    fn take(&mut self, client: &'static str) {
        if !self.is_there(&format!("door-client-{client}")) {
            return;
        }
        let (holder, _) = self.in_secret(&format!("door-client-{client}"));
        if self.comes {
            self.come(client, &holder.signed_by);
        }
        self.clients.insert(client, holder);
        self.check();
    }

    /// A replica lets somebody in with a certificate of this authority.
    fn come(&mut self, who: &str, signed_by: &str) {
        let sight = Sight { at: self.now.unix_timestamp(), ..Sight::default() };
        self.observed.seen.entry(who.to_owned()).or_default().insert(signed_by.to_owned(), sight);
    }

    fn everyone_takes(&mut self) {
        for client in CLIENTS {
            self.take(client);
        }
    }

    fn everyone_mounts(&mut self) {
        for pod in PODS {
            self.mount(pod);
        }
    }

    fn everyone_is_told(&mut self) {
        for pod in PODS {
            self.tell(pod);
        }
    }

    /// The kubelet brings a replica its Secret.
    fn mount(&mut self, pod: &'static str) {
        if !self.is_there("door-server") {
            return;
        }
        let mounted = self.in_secret("door-server");
        self.replicas.get_mut(pod).unwrap().mounted = Some(mounted);
        self.acknowledge(pod);
        self.check();
    }

    /// A replica applies what it is told.
    fn tell(&mut self, pod: &'static str) {
        let Some(published) = &self.published else { return };
        let snapshot: Value = serde_json::from_str(&published.json).unwrap();
        let trust = snapshot["trust"].as_array().unwrap().iter().flat_map(|it| key_ids(it.as_str().unwrap()));
        self.replicas.get_mut(pod).unwrap().told = Some((published.version.clone(), trust.collect()));
        self.acknowledge(pod);
        self.check();
    }

    fn acknowledge(&mut self, pod: &str) {
        // Whoever leads now has told something; before, nobody is attached.
        if self.published.is_none() {
            return;
        }
        let replica = &self.replicas[pod];
        if let (Some((_, fingerprint)), Some((version, _))) = (&replica.mounted, &replica.told) {
            let acknowledged = Some((version.clone(), fingerprint.clone()));
            self.observed.sessions.insert(pod.to_owned(), Session { acknowledged, ..Session::default() });
        }
    }

    /// Everybody who shows something is believed by everybody who is shown it.
    fn check(&self) {
        if self.emergency {
            return;
        }
        for (pod, replica) in &self.replicas {
            let (Some((served, _)), Some((_, trusted))) = (&replica.mounted, &replica.told) else { continue };
            for (client, holder) in &self.clients {
                assert!(holder.believes.contains(&served.rooted_in), "{client} does not believe {pod}");
                assert!(trusted.contains(&holder.signed_by), "{pod} does not believe {client}");
            }
            for (other, peer) in
                self.replicas.iter().filter_map(|(pod, it)| Some((pod, it.mounted.as_ref()?)))
            {
                assert!(peer.0.believes.contains(&served.rooted_in), "{other} does not believe {pod}");
            }
        }
    }

    /// Everybody takes up what there is, until nothing changes any more; time passes where only time is waited for.
    fn settle(&mut self) {
        for _ in 0..60 {
            let state =
                |site: &Self| (site.writes, site.gateway.status.clone(), site.observed.sessions.clone());
            let before = state(self);
            self.issuer_answers();
            self.visit();
            self.everyone_is_told();
            self.everyone_mounts();
            self.everyone_takes();
            if before != state(self) {
                continue;
            }
            let ca = self.gateway.status.as_ref().and_then(|it| it.ca.clone()).unwrap_or_default();
            if ca.phase == RotationPhase::Stable {
                let (_, plan) = self.plan();
                assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
                return;
            }
            let until = ca.phase_until.unwrap_or_else(|| panic!("it waits for {:?}", ca.waiting_for));
            self.now = OffsetDateTime::parse(&until, &Rfc3339).unwrap().max(self.now);
        }
        panic!("it never settles: {:#?}", self.ca());
    }
}

#[test]
fn a_rotation_goes_through_its_phases_once_for_each_id_and_ends_with_the_new_generation_alone() {
    let mut site = Site::new();
    let before = site.ca();
    site.annotate("portcullis.dev/rotate", "one");
    site.settle();
    assert_eq!(site.phases, [Publishing, Issuing, Retiring, Stable]);
    let after = site.ca();
    assert_eq!((before.generation, after.generation), (1, 2));
    assert_eq!((after.done, after.other, after.waiting_for), (vec!["rotate=one".to_owned()], None, None));
    let age = site.now - NOW;
    assert!(age >= Duration::days(30), "the old one stayed for as long as a bundle of its lived: {age}");
    for holder in site.clients.values() {
        assert_eq!(holder.believes, BTreeSet::from([holder.signed_by.clone()]));
    }
}

#[test]
fn the_old_generation_stays_for_what_it_has_signed_last_for_a_client_that_renewed() {
    let mut site = Site::new();
    let alice = |site: &Site| site.gateway.status.as_ref().unwrap().clients[0].clone();
    let shown = alice(&site).certificate;
    site.annotate("portcullis.dev/rotate", "one");
    site.observed.renewals = vec![asked("alice", &shown)];
    site.visit();
    assert!(alice(&site).renewed.is_empty(), "the authority's step is not known to be written yet");
    site.visit();
    assert_eq!((alice(&site).renewed.len(), site.ca().phase), (1, Publishing));
    site.observed.renewals.clear();
    site.now += Duration::hours(20);
    site.observed.renewals = vec![asked("alice", &shown)];
    site.visit();
    site.observed.renewals.clear();
    let last = alice(&site).renewed.last().unwrap().not_after.clone();
    assert_eq!(last, moment::text(NOW + Duration::hours(20) + Duration::days(30)));
    site.settle();
    assert_eq!(site.phases, [Publishing, Issuing, Retiring, Stable]);
    assert!(
        moment::text(site.now) >= last,
        "it went at {}, and {last} is when the last of its ends",
        site.now
    );
}

#[test]
fn wherever_the_operator_is_gone_the_next_one_ends_the_rotation() {
    let whole = {
        let mut site = Site::new();
        site.annotate("portcullis.dev/rotate", "one");
        site.settle();
        site.writes
    };
    assert!(whole > 20, "{whole} writes");
    for dies_after in 0..whole {
        let mut site = Site::new();
        site.annotate("portcullis.dev/rotate", "one");
        site.dies_after = Some(dies_after);
        site.settle();
        assert_eq!(site.dies_after, None, "it was not gone after write {dies_after}");
        assert_eq!((site.ca().generation, site.ca().phase), (2, RotationPhase::Stable), "after {dies_after}");
        assert!(site.writes <= whole + 2, "after {dies_after}: {} instead of {whole} writes", site.writes);
    }
}

#[test]
fn a_replica_that_is_away_and_a_bundle_that_is_not_written_are_waited_for_by_name() {
    let mut site = Site::new();
    site.annotate("portcullis.dev/rotate", "one");
    site.visit();
    site.tell("door-1");
    site.mount("door-1");
    for _ in 0..3 {
        site.visit();
    }
    let ca = site.ca();
    assert_eq!(ca.phase, RotationPhase::Publishing);
    assert_eq!(
        ca.waiting_for.as_deref(),
        Some("replica door-2 has not acknowledged the current configuration yet")
    );
    let since = ca.waiting_since.unwrap();
    site.now += Duration::days(3);
    site.visit();
    assert_eq!(site.ca().waiting_since.unwrap(), since, "it is waited for since then");
    site.observed.pods.insert("door-2".to_owned(), Pod { running: true, ..Pod::default() }.into());
    site.visit();
    assert_eq!(site.ca().phase, RotationPhase::Publishing, "whoever is not ready may serve all the same");
    site.observed.pods.remove("door-2");
    site.observed.sessions.remove("door-2");
    site.replicas.remove("door-2");
    site.visit();
    assert_eq!(site.ca().waiting_for, None, "one that is gone is not");
}

#[test]
fn a_rotation_that_is_rolled_back_leaves_the_old_generation_and_does_not_begin_again_by_itself() {
    for (visits, wanted) in
        [(1, vec![Publishing, Stable]), (6, vec![Publishing, Issuing, Issuing, Retiring, Stable])]
    {
        let mut site = Site::new();
        site.gateway.spec.pki.ca.publish_for = "0s".to_owned();
        let fingerprint = site.ca().fingerprint;
        site.annotate("portcullis.dev/rotate", "one");
        for _ in 0..visits {
            site.visit();
            site.everyone_takes();
            site.everyone_is_told();
            site.everyone_mounts();
            if site.ca().phase == Issuing {
                break;
            }
        }
        site.annotate("portcullis.dev/rotate-rollback", "one");
        site.visit();
        if visits > 1 {
            site.phases.push(Issuing);
        }
        site.settle();
        let mut seen = site.phases.clone();
        seen.dedup();
        let mut wanted = wanted;
        wanted.dedup();
        assert_eq!(seen, wanted);
        assert_eq!((site.ca().fingerprint, site.ca().generation), (fingerprint, 1));
        site.annotate("portcullis.dev/rotate", "two");
        site.settle();
        assert_eq!(site.ca().generation, 3, "no number is used twice");
    }
}

#[test]
fn an_emergency_trusts_one_generation_at_once_and_says_whom_it_locks_out() {
    let mut site = Site::new();
    site.emergency = true;
    let before = site.ca();
    site.annotate("portcullis.dev/rotate-emergency", "stolen");
    site.visit();
    let after = site.ca();
    assert_eq!((after.generation, after.other.clone()), (2, None));
    assert_ne!(after.fingerprint, before.fingerprint);
    let snapshot: Value = serde_json::from_str(&site.published.as_ref().unwrap().json).unwrap();
    assert_eq!(key_ids(snapshot["trust"][0].as_str().unwrap()).len(), 1);
    let conditions = site.gateway.status.clone().unwrap().conditions;
    let warning = conditions.iter().find(|it| it.type_ == "Warning").unwrap();
    assert_eq!(warning.reason, "AuthorityReplaced");
    site.settle();
    let conditions = site.gateway.status.clone().unwrap().conditions;
    assert!(conditions.iter().all(|it| it.type_ != "Warning"), "{conditions:#?}");
}

#[test]
fn age_begins_a_rotation_after_two_thirds_and_a_bound_ends_it_before_the_last_certificate_does() {
    let mut site = Site::new();
    site.gateway.spec.pki.ca.retire_after = Some("48h".to_owned());
    site.now = NOW + Duration::days(2400);
    site.settle();
    assert_eq!(site.ca().generation, 1);
    site.now = NOW + Duration::days(2434);
    let before = site.now;
    site.settle();
    assert_eq!(site.ca().generation, 2);
    // A day until it is known, two until the old one goes.
    assert_eq!((site.now - before).whole_days(), 3);
    let vouched_for = |site: &Site| {
        let snapshot: Value = serde_json::from_str(&site.published.as_ref().unwrap().json).unwrap();
        snapshot["retired"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(vouched_for(&site), 1, "what is open goes on");
    site.now += Duration::days(31);
    site.settle();
    assert_eq!(vouched_for(&site), 0, "until the last certificate has ended");
}

#[test]
fn a_secret_from_before_the_last_steps_does_not_let_the_old_generation_sign_again() {
    let mut site = Site::new();
    site.annotate("portcullis.dev/rotate", "one");
    site.visit();
    let slot = (Kind::Secret, "door-ca".to_owned());
    let (backup, content) = (site.observed.children[&slot].clone(), site.secrets["door-ca"].clone());
    site.settle();
    let fingerprint = site.ca().fingerprint;
    site.observed.children.insert(slot, backup);
    site.secrets.insert("door-ca".to_owned(), content);
    site.settle();
    assert_eq!((site.ca().fingerprint, site.ca().phase), (fingerprint, Stable));
}

#[test]
fn a_connectors_bundle_is_waited_for_by_its_tunnel() {
    let mut site = Site::new();
    site.gateway.spec.pki.ca.publish_for = "0s".to_owned();
    // Of a connector's bundle, no more counts than of a client's.
    let bundle =
        |site: &Site| site.observed.children[&(Kind::Secret, "door-client-alice".to_owned())].clone();
    let before = bundle(&site);
    site.annotate("portcullis.dev/rotate", "one");
    for (phase, generation) in [(Publishing, 1), (Issuing, 2)] {
        for _ in 0..4 {
            site.observed.connectors.insert(Key::new("shop", "web"), before.clone());
            site.visit();
            site.everyone_takes();
            site.everyone_is_told();
            site.everyone_mounts();
        }
        let ca = site.ca();
        assert_eq!((ca.phase, ca.generation), (phase, generation));
        assert_eq!(ca.waiting_for.as_deref(), Some("the bundle of Tunnel shop/web's connector"));
        let current = bundle(&site);
        site.observed.connectors.insert(Key::new("shop", "web"), current);
        site.visit();
    }
    assert_eq!(site.ca().phase, Retiring);
}

#[test]
fn another_kind_of_key_is_a_rotation_and_not_one_that_begins_again_after_a_rollback() {
    use portcullis_api::KeyAlgorithm;
    let mut site = Site::new();
    site.gateway.spec.pki.key_algorithm = KeyAlgorithm::P384;
    site.settle();
    assert_eq!((site.ca().generation, site.phases.len()), (2, 4));
    let kinds = |site: &Site| site.observed.remembered_authority.as_ref().unwrap().signing.facts.key;
    assert_eq!(kinds(&site), Some(portcullis_pki::KeyAlgorithm::P384));
    site.gateway.spec.pki.key_algorithm = KeyAlgorithm::Ed25519;
    site.visit();
    site.annotate("portcullis.dev/rotate-rollback", "one");
    site.visit();
    site.settle();
    assert_eq!((site.ca().generation, kinds(&site)), (2, Some(portcullis_pki::KeyAlgorithm::P384)));
}

#[test]
fn an_operator_whose_clock_is_behind_its_last_issue_issues_nothing_and_says_so() {
    let mut site = Site::new();
    site.now = NOW - Duration::minutes(4);
    assert!(site.plan().1.certificates.trouble.is_none(), "clocks may differ by five minutes");
    site.now = NOW - Duration::minutes(6);
    site.annotate("portcullis.dev/rotate", "one");
    let (_, plan) = site.plan();
    let trouble = plan.certificates.trouble.unwrap();
    assert_eq!(trouble.reason, Reason::ClockBehind);
    let said = "the operator's clock says 2026-03-01T11:54:00Z, but Secret door-server was issued later";
    assert!(trouble.message.starts_with(said), "{}", trouble.message);
    assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
    assert!(plan.snapshot.is_some(), "what there is goes on being served");
}

/// What may happen.
#[derive(Clone, Debug)]
enum Happens {
    Visit,
    Dies(usize),
    Tell(usize),
    Mount(usize),
    Take(usize),
    Rollback,
    Rotate,
    /// Hours pass, in which every client takes its bundle once.
    Pass(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => Just(Happens::Visit),
        1 => (0_usize..8).prop_map(Happens::Dies),
        3 => (0_usize..2).prop_map(Happens::Tell),
        3 => (0_usize..2).prop_map(Happens::Mount),
        2 => (0_usize..2).prop_map(Happens::Take),
        1 => Just(Happens::Rollback),
        1 => Just(Happens::Rotate),
        2 => (1_i64..400).prop_map(Happens::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whoever_does_what_when_nobody_is_shown_what_he_does_not_believe(
        events in proptest::collection::vec(happens(), 0..80),
    ) {
        let mut site = Site::new();
        site.annotate("portcullis.dev/rotate", "one");
        for (number, event) in events.into_iter().enumerate() {
            match event {
                Happens::Visit => drop(site.visit()),
                Happens::Dies(after) => site.dies_after = Some(site.writes + after),
                Happens::Tell(pod) => site.tell(PODS[pod]),
                Happens::Mount(pod) => site.mount(PODS[pod]),
                Happens::Take(client) => site.take(CLIENTS[client]),
                Happens::Rollback => site.annotate("portcullis.dev/rotate-rollback", &number.to_string()),
                Happens::Rotate => site.annotate("portcullis.dev/rotate", &number.to_string()),
                Happens::Pass(hours) => {
                    // What `publishFor` promises, and what renewal before the end does.
                    site.everyone_takes();
                    site.now += Duration::hours(hours.min(23));
                    site.visit();
                }
            }
        }
        site.settle();
        let (_, plan) = site.plan();
        prop_assert!(plan.steps.is_empty(), "{:#?}", plan.steps);
    }
}

#[test]
fn roots_are_published_before_anything_is_signed_below_them_and_taken_back_afterwards() {
    let mut site = Site::new();
    site.gateway.spec.pki.publish_trust = true;
    site.gateway.spec.pki.ca.publish_for = "0s".to_owned();
    site.settle();
    let slot = (Kind::ConfigMap, "door-trust".to_owned());
    let before = site.observed.children[&slot].clone();
    site.annotate("portcullis.dev/rotate", "one");
    for _ in 0..6 {
        site.visit();
        // Somebody takes it back each time.
        site.observed.children.insert(slot.clone(), before.clone());
        site.everyone_takes();
        site.everyone_is_told();
        site.everyone_mounts();
    }
    assert_eq!(site.ca().phase, Publishing);
    site.settle();
    assert_eq!((site.ca().generation, site.ca().phase), (2, Stable));
    assert_ne!(site.observed.children[&slot].digest, before.digest);
}

#[test]
fn a_secret_says_all_that_there_is_to_say() {
    let mut site = Site::new();
    let secret = |site: &Site| -> Vec<String> {
        site.secrets["door-ca"]["data"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(secret(&site), ["ca-1.crt", "ca-1.key"], "as it was before there were rotations");
    site.annotate("portcullis.dev/rotate", "one");
    site.visit();
    assert_eq!(secret(&site), ["ca-1.crt", "ca-1.key", "ca-2.crt", "ca-2.key", "course.json"]);
    site.settle();
    assert_eq!(secret(&site), ["ca-2.crt", "ca-2.key", "course.json"], "no key of the old one is left");
    assert_eq!(json!(site.ca().done), json!(["rotate=one"]));
}

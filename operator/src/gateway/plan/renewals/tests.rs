use std::collections::BTreeMap;

use portcullis_api::Gateway;
use portcullis_contract::snapshot::Snapshot;
use portcullis_pki::{KeyAlgorithm, Mint as _, RandomMint, read_request};
use rcgen::{CertificateParams, SanType};
use serde_json::{Value, json};
use time::Duration;

use super::*;
use crate::gateway::apply::Applied;
use crate::gateway::golden::{NOW, carry_out, surroundings};
use crate::gateway::observe::Observed;
use crate::names;

const CI: &str = "spiffe://cluster.local/ns/shop/gateway/door/client/ci";

struct Site {
    gateway: Gateway,
    observed: Observed,
    now: OffsetDateTime,
    asked: u64,
}

/// What somebody asks.
#[derive(Clone, Copy)]
struct Ask<'a> {
    client: &'a str,
    /// The certificate that is shown; None: the one in the bundle.
    with: Option<&'a CertificateStatus>,
    key: KeyAlgorithm,
    names: &'a [&'a str],
    /// The new key is the one that was shown.
    same_key: bool,
}

const PLAIN: Ask<'static> =
    Ask { client: "ci", with: None, key: KeyAlgorithm::P256, names: &[], same_key: false };

fn request(params: &CertificateParams, kind: KeyAlgorithm) -> portcullis_pki::SigningRequest {
    let key = RandomMint.key(kind).unwrap();
    read_request(params.serialize_request(&key).unwrap().der()).unwrap()
}

/// A client asks for another certificate, and shows this one.
pub(crate) fn asked(client: &str, shown: &CertificateStatus) -> Arc<Asked> {
    Arc::new(Asked {
        id: 1,
        client: client.to_owned(),
        serial: shown.serial.clone(),
        fingerprint: shown.fingerprint.clone(),
        key_digest: "0".repeat(64),
        request: request(&CertificateParams::default(), KeyAlgorithm::P256),
        user: client.to_owned(),
        address: "192.0.2.7".to_owned(),
    })
}

impl Site {
    fn new(clients: &Value) -> Self {
        let gateway = serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Gateway",
            "metadata": { "name": "door", "namespace": "shop", "uid": "c0ffee", "generation": 1 },
            "spec": { "clients": clients },
        }));
        let mut site =
            Self { gateway: gateway.unwrap(), observed: surroundings(BTreeMap::new()), now: NOW, asked: 0 };
        site.visit();
        site
    }

    fn clients(&mut self, clients: Value) {
        self.gateway.spec.clients = serde_json::from_value(clients).unwrap();
    }

    fn visit(&mut self) -> Applied {
        let (gateway, applied) = carry_out(&self.gateway, &mut self.observed, self.now);
        self.gateway = gateway;
        applied
    }

    fn client(&self, name: &str) -> ClientStatus {
        self.gateway.status.as_ref().unwrap().clients.iter().find(|it| it.name == name).cloned().unwrap()
    }

    fn ask(&mut self, ask: Ask<'_>) {
        let names = ask.names.iter().map(|name| match name.strip_prefix("DNS:") {
            Some(name) => SanType::DnsName(name.try_into().unwrap()),
            None => SanType::URI((*name).try_into().unwrap()),
        });
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.collect();
        let request = request(&params, ask.key);
        let shown = ask.with.cloned().unwrap_or_else(|| {
            let known = self.gateway.status.as_ref().unwrap().clients.iter().find(|it| it.name == ask.client);
            known.map(|it| it.certificate.clone()).unwrap_or_default()
        });
        self.asked += 1;
        self.observed.renewals.push(Arc::new(Asked {
            id: self.asked,
            client: ask.client.to_owned(),
            serial: shown.serial,
            fingerprint: shown.fingerprint,
            key_digest: if ask.same_key { request.key_digest.clone() } else { "0".repeat(64) },
            request,
            user: "somebody".to_owned(),
            address: "192.0.2.7".to_owned(),
        }));
    }

    /// Asks, and looks what the next plan makes of it.
    fn renew(&mut self, ask: Ask<'_>) -> Result<Issued, Refusal> {
        self.ask(ask);
        let mut applied = self.visit();
        self.observed.renewals.clear();
        assert_eq!(applied.plan.renewals.len(), 1, "it is decided by the very next plan");
        applied.plan.renewals.remove(0).outcome
    }

    fn refused(&mut self, ask: Ask<'_>, why: Why, words: &str) {
        let before = self.gateway.status.clone().unwrap().clients;
        let refusal = self.renew(ask).unwrap_err();
        assert_eq!(refusal.why, why, "{}", refusal.message);
        assert!(refusal.message.contains(words), "{} says nothing of {words}", refusal.message);
        let after = self.gateway.status.clone().unwrap().clients;
        let renewed = |clients: &[ClientStatus]| clients.iter().map(|it| it.renewed.len()).sum::<usize>();
        assert!(renewed(&after) <= renewed(&before), "nothing is written down that was not issued");
    }
}

fn revoked(applied: &Applied) -> Vec<String> {
    let published = applied.plan.snapshot.as_ref().unwrap();
    Snapshot::from_json(published.json.as_bytes()).unwrap().revoked
}

#[test]
fn what_is_issued_says_what_the_bundle_does_and_stands_in_the_status_and_both_open_the_gateway() {
    let mut site = Site::new(&json!([{ "name": "ci", "duration": "30h", "roles": ["user"] }]));
    let bundle = site.client("ci").certificate;
    site.now += Duration::hours(10);
    let issued = site.renew(Ask { names: &[CI], ..PLAIN }).unwrap();
    let facts = &issued.certificate.facts;
    assert_eq!((facts.uris.as_slice(), facts.dns_names.len()), (&[CI.to_owned()][..], 0));
    assert_eq!(facts.not_after, site.now + Duration::hours(30));
    let client = site.client("ci");
    assert_eq!(client.renewed, [crate::gateway::status::certificate(facts)]);
    assert_eq!(client.certificate, bundle, "the bundle is as it was");
    let applied = site.visit();
    assert!(revoked(&applied).is_empty() && applied.plan.steps.is_empty());
    assert_eq!(site.client("ci").renewed.len(), 1, "and stays");
    // The one that was renewed renews itself.
    site.now += Duration::hours(25);
    let next = site.renew(Ask { with: Some(&client.renewed[0]), ..PLAIN }).unwrap();
    assert_eq!(site.client("ci").renewed.len(), 2);
    site.now += Duration::hours(6);
    site.visit();
    let left = site.client("ci").renewed;
    assert_eq!(
        left.iter().map(|it| &it.serial).collect::<Vec<_>>(),
        [&next.certificate.facts.serial],
        "one has ended"
    );
}

#[test]
fn with_its_client_all_that_was_renewed_goes_and_a_serial_alone_goes_alone() {
    let mut site = Site::new(&json!([{ "name": "ci" }, { "name": "dev" }]));
    let bundle = site.client("ci").certificate.serial;
    let [one, two] = [(); 2].map(|()| site.renew(PLAIN).unwrap().certificate.facts.serial);
    site.clients(json!([{ "name": "ci", "revoke": [one] }, { "name": "dev" }]));
    assert_eq!(revoked(&site.visit()), std::slice::from_ref(&one));
    let left = site.client("ci");
    assert_eq!(left.renewed.iter().map(|it| &it.serial).collect::<Vec<_>>(), [&two]);
    assert_eq!(left.certificate.serial, bundle);
    let not_after = |site: &Site, serial: &str| {
        let revocations = site.gateway.status.as_ref().unwrap().revocations.iter();
        revocations.filter(|it| it.serial == *serial).map(|it| it.not_after.clone()).collect::<String>()
    };
    assert_eq!(not_after(&site, &one), moment::text(NOW + Duration::hours(720)), "its own end");
    site.clients(json!([{ "name": "dev" }]));
    let mut all = vec![one, two, bundle];
    all.sort();
    assert_eq!(revoked(&site.visit()), all);
}

#[test]
fn nobody_gets_what_they_should_not() {
    let mut site =
        Site::new(&json!([{ "name": "ci" }, { "name": "boss", "roles": ["admin"] }, { "name": "gone" }]));
    let (gone, boss) = (site.client("gone").certificate, site.client("boss").certificate);
    let stolen = site.renew(PLAIN).unwrap().certificate.facts.serial;
    let stolen = site.client("ci").renewed.iter().find(|it| it.serial == stolen).cloned().unwrap();
    site.clients(
        json!([{ "name": "ci", "revoke": [stolen.serial] }, { "name": "boss", "roles": ["admin"] }]),
    );
    site.visit();
    site.refused(Ask { client: "gone", with: Some(&gone), ..PLAIN }, Why::Denied, "spec.clients");
    site.refused(Ask { client: "nobody", ..PLAIN }, Why::Denied, "spec.clients");
    site.refused(Ask { with: Some(&stolen), ..PLAIN }, Why::Denied, "was revoked");
    site.refused(Ask { with: Some(&boss), ..PLAIN }, Why::Denied, "does not name the certificate");
    let made_up = CertificateStatus { fingerprint: "f".repeat(64), ..site.client("ci").certificate };
    site.refused(Ask { with: Some(&made_up), ..PLAIN }, Why::Denied, "does not name the certificate");
    site.refused(Ask { same_key: true, ..PLAIN }, Why::Invalid, "make a new one");
    site.refused(Ask { key: KeyAlgorithm::Rsa2048, ..PLAIN }, Why::Invalid, "keys of kind P256");
    let boss = CI.replace("client/ci", "client/boss");
    site.refused(Ask { names: &[&boss], ..PLAIN }, Why::Invalid, "or for none");
    site.refused(Ask { names: &[CI, "DNS:door.shop.svc"], ..PLAIN }, Why::Invalid, "DNS:door.shop.svc");
    let last = site.client("ci").certificate;
    site.now += Duration::days(31);
    site.refused(Ask { with: Some(&last), ..PLAIN }, Why::Denied, "ended at");
    assert!(site.renew(PLAIN).is_ok(), "the bundle's own still does");
}

#[test]
fn a_client_has_so_many_and_then_waits_until_the_first_ends() {
    let mut site = Site::new(&json!([{ "name": "ci", "duration": "30h" }]));
    site.renew(PLAIN).unwrap();
    site.now += Duration::hours(1);
    for _ in 0..MOST {
        site.ask(PLAIN);
    }
    let decided = site.visit().plan.renewals;
    site.observed.renewals.clear();
    assert_eq!(
        decided.iter().filter(|it| it.outcome.is_ok()).count(),
        MOST - 1,
        "those of one plan count too"
    );
    let first = moment::text(NOW + Duration::hours(30));
    site.refused(PLAIN, Why::TooMany, &first);
    site.now = NOW + Duration::hours(30) + Duration::seconds(1);
    let with = site.client("ci").renewed.last().cloned();
    assert!(site.renew(Ask { with: with.as_ref(), ..PLAIN }).is_ok());
}

#[test]
fn nothing_is_issued_while_the_authority_is_gone_or_the_clock_behind() {
    let mut site = Site::new(&json!([{ "name": "ci" }]));
    site.renew(PLAIN).unwrap();
    site.now -= Duration::hours(1);
    site.refused(PLAIN, Why::NotNow, "CertificatesReady");
    site.now += Duration::hours(1);
    let slot = (crate::world::Kind::Secret, names::authority_secret("door"));
    site.observed.children.remove(&slot);
    site.observed.remembered_authority = None;
    site.refused(PLAIN, Why::NotNow, "CertificatesReady");
    assert_eq!(site.client("ci").renewed.len(), 1, "what was issued is still known");
}

//! The command line renews its certificate through the real data plane; the operator is played by hand.

use std::sync::Arc;
use std::time::Duration;

use portcullis_cli::channel::{Access, Anonymous, Channel};
use portcullis_cli::failure::{Exit, Failure};
use portcullis_cli::gateways::{Resolved, Rule, verify};
use portcullis_cli::renewal::{Did, Files, Renewed, renew, trust};
use portcullis_cli::store::{self, Bundle, Metadata, Name, Place, Store};
use portcullis_contract::control::Refusal;
use portcullis_contract::control::call::Request as Asked;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::gateway::{GetTrustResponse, RenewCertificateResponse};
use portcullis_pki::{LeafProfile, RandomMint, issue_certificate, read_request};
use tonic::Code;

use crate::calls::attached;
use crate::support::operator::{Attachment, Operator};
use crate::support::{Door, pki, soon};

struct Site {
    door: Door,
    operator: Operator,
    attachment: Attachment,
    _folder: tempfile::TempDir,
    store: Store,
    name: Name,
    gateway: Resolved,
}

impl Site {
    async fn new() -> Self {
        let (door, operator, attachment) = attached(|_| {}).await;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("own"), &folder.path().join("system"));
        let name: Name = "door".parse().unwrap();
        let metadata = Metadata {
            endpoint: format!("https://{}", door.address),
            mode: store::Mode::MutualTLS,
            server_name: Some("localhost".to_owned()),
            ..Metadata::default()
        };
        let bundle = Bundle {
            ca: Some(door.server_ca.certificate_pem.clone().into_bytes()),
            identity: Some((
                door.ci.certificate_pem.clone().into_bytes(),
                door.ci.key.expose().as_bytes().to_vec(),
            )),
        };
        let held = store.lock().unwrap();
        store.update(&held, &name, |it| *it = metadata.clone()).unwrap();
        store.set_bundle(&held, &name, &bundle).unwrap();
        drop(held);
        let gateway = Resolved {
            stored: Some((Place::Own, name.clone())),
            endpoint: metadata.endpoint.parse().unwrap(),
            metadata,
            rule: Rule::Endpoint,
        };
        Self { door, operator, attachment, _folder: folder, store, name, gateway }
    }

    fn stored(&self) -> Bundle {
        self.store.bundle(Place::Own, &self.name).unwrap().unwrap()
    }

    fn access(&self) -> Access {
        let kept = Some((self.store.clone(), Place::Own, self.name.clone()));
        let access = Access::new(self.stored(), Arc::new(Anonymous), false, Duration::from_secs(30));
        Access { kept, ..access }
    }

    /// Renews with an operator that answers each request so.
    async fn renew(&mut self, answer: impl Fn(&Door, &[u8]) -> Answer) -> Result<Renewed, Failure> {
        let access = self.access();
        let channel = Channel::open(&self.gateway, &access).await.unwrap();
        let renewing = Box::pin(renew(&self.store, &self.name, &channel, &access.bundle));
        let answering = Box::pin(async {
            loop {
                let call = self.attachment.call().await;
                let Some(Asked::RenewCertificate(asked)) = call.request else { panic!("{call:?}") };
                self.attachment.answer(call.id, answer(&self.door, &asked.certificate_request)).await;
            }
        });
        soon("it is answered", async {
            tokio::select! { renewed = renewing => renewed, () = answering => unreachable!("it goes on") }
        })
        .await
    }
}

fn issued(door: &Door, request: &[u8], ca: String) -> RenewCertificateResponse {
    let request = read_request(request).unwrap();
    let issued =
        issue_certificate(&door.client_ca, &pki::client_profile("ci"), &request, pki::now(), &RandomMint)
            .unwrap();
    RenewCertificateResponse {
        certificate_chain: issued.pem,
        ca_certificates: ca,
        serial: issued.facts.serial,
        fingerprint: issued.facts.fingerprint,
        not_after_ms: issued.facts.not_after.unix_timestamp() * 1000,
    }
}

#[tokio::test]
async fn a_renewed_pair_is_stored_whole_with_the_roots_and_what_is_opened_then_shows_it() {
    let mut site = Site::new().await;
    let (before, access) = (site.stored(), site.access());
    let serial = |verified: portcullis_cli::gateways::Verified| verified.me.certificate_serial;
    let old = serial(verify(&site.gateway, &access).await.unwrap());
    let next = pki::authority("next").certificate_pem;
    let renewed = site
        .renew(|door, request| {
            Answer::Renewed(issued(door, request, format!("{}{next}", door.server_ca.certificate_pem)))
        })
        .await
        .unwrap();
    let after = site.stored();
    let ((_, key_before), (_, key_after)) = (before.identity.unwrap(), after.identity.clone().unwrap());
    assert_ne!(key_before, key_after, "another key, made here");
    let ca = String::from_utf8(after.ca.unwrap()).unwrap();
    assert_eq!(ca.matches("BEGIN CERTIFICATE").count(), 2);
    // Whoever goes on with what it began with shows the new one on its next connection.
    let now = serial(verify(&site.gateway, &access).await.unwrap());
    assert_eq!(now, renewed.serial);
    assert_ne!(now, old);
    assert!(renewed.ends > pki::now().unix_timestamp());
}

#[tokio::test]
async fn what_is_refused_or_odd_or_too_late_leaves_everything_as_it_is() {
    let mut site = Site::new().await;
    let before = site.stored();
    let ca = site.door.server_ca.certificate_pem.clone();
    let refusal = |code: Code, message: &str| {
        Answer::Refusal(Refusal { code: code as i32, message: message.to_owned() })
    };
    let failure = site.renew(|_, _| refusal(Code::ResourceExhausted, "try again in 40 s")).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Conflict);
    assert!(failure.message.contains("try again in 40 s"), "{failure}");
    let failure =
        site.renew(|_, _| refusal(Code::InvalidArgument, "keys of kind RSA2048")).await.unwrap_err();
    assert!(failure.message.contains("RSA2048"), "{failure}");
    // Somebody else's certificate is none that fits the key.
    let own = site.door.ci.certificate_pem.clone();
    let foreign = |door: &Door, request: &[u8]| {
        Answer::Renewed(RenewCertificateResponse {
            certificate_chain: own.clone(),
            ..issued(door, request, ca.clone())
        })
    };
    let failure = site.renew(foreign).await.unwrap_err();
    assert!(failure.message.contains("another key"), "{failure}");
    let nothing = |_: &Door, _: &[u8]| Answer::Renewed(RenewCertificateResponse::default());
    assert!(site.renew(nothing).await.unwrap_err().message.contains("no certificate"));
    assert_eq!(site.stored(), before);
    // Another command has stored another one meanwhile: that one stays.
    let other = pki::client(&site.door.client_ca, "ci");
    let identity = (other.certificate_pem.into_bytes(), other.key.expose().as_bytes().to_vec());
    let other = Bundle { identity: Some(identity), ..before };
    let (store, name) = (site.store.clone(), site.name.clone());
    let failure = site
        .renew(|door, request| {
            let held = store.lock().unwrap();
            store.set_bundle(&held, &name, &other).unwrap();
            Answer::Renewed(issued(door, request, ca.clone()))
        })
        .await
        .unwrap_err();
    assert_eq!(failure.exit, Exit::Conflict);
    assert_eq!(site.stored(), other);
}

#[tokio::test]
async fn the_next_root_is_stored_once_it_is_known_and_the_pair_stays() {
    let mut site = Site::new().await;
    let (before, access) = (site.stored(), site.access());
    let channel = Channel::open(&site.gateway, &access).await.unwrap();
    let known = site.door.server_ca.certificate_pem.clone();
    let both = format!("{known}{}", pki::authority("next").certificate_pem);
    for (said, news) in [(known, false), (both.clone(), true)] {
        let answering = async {
            let id = site.attachment.call().await.id;
            site.attachment.answer(id, Answer::Trust(GetTrustResponse { ca_certificates: said })).await;
        };
        let asking = trust(&site.store, &site.name, &channel, &before);
        let (taken, ()) = soon("it is answered", async { tokio::join!(asking, answering) }).await;
        assert_eq!(taken.unwrap(), news);
    }
    let after = site.stored();
    assert_eq!((after.ca, after.identity), (Some(both.into_bytes()), before.identity));
}

/// A folder with a certificate of this age, of which an hour is the whole life.
fn aged(door: &Door, age: time::Duration) -> (tempfile::TempDir, Bundle) {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let request = read_request(request.der()).unwrap();
    let profile = LeafProfile { lifetime: time::Duration::hours(1), ..pki::client_profile("ci") };
    let issued =
        issue_certificate(&door.client_ca, &profile, &request, pki::now() - age, &RandomMint).unwrap();
    let ca = door.server_ca.certificate_pem.clone();
    for (name, text) in [("ca.crt", &ca), ("tls.crt", &issued.pem), ("tls.key", &key.serialize_pem())] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let identity = Some((issued.pem.into_bytes(), key.serialize_pem().into_bytes()));
    (folder, Bundle { ca: Some(ca.into_bytes()), identity })
}

#[tokio::test]
async fn what_is_in_a_folder_is_renewed_there_once_two_thirds_of_its_life_are_over() {
    let mut site = Site::new().await;
    let gateway = Resolved { stored: None, ..site.gateway.clone() };
    let access = |bundle| Access::new(bundle, Arc::new(Anonymous), false, Duration::from_secs(30));
    let there = |folder: &tempfile::TempDir| {
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        Bundle { ca: Some(read("ca.crt")), identity: Some((read("tls.crt"), read("tls.key"))) }
    };

    let (folder, old) = aged(&site.door, time::Duration::minutes(50));
    let mut files = Files::default();
    let keeping = Box::pin(files.keep(folder.path(), &gateway, access));
    let attachment = &mut site.attachment;
    let answering = Box::pin(async {
        let call = attachment.call().await;
        let Some(Asked::RenewCertificate(asked)) = call.request else { panic!("{call:?}") };
        let ca = site.door.server_ca.certificate_pem.clone();
        let answer = issued(&site.door, &asked.certificate_request, ca);
        attachment.answer(call.id, Answer::Renewed(answer)).await;
    });
    let (kept, ()) = soon("it is answered", async { tokio::join!(keeping, answering) }).await;
    let Did::Renewed(renewed) = kept.unwrap() else { panic!("it was not renewed") };
    let new = there(&folder);
    assert_ne!(new.identity, old.identity);
    assert_eq!(new.ca, old.ca);
    let (chain, key) = new.identity.clone().unwrap();
    let leaf =
        portcullis_pki::read_leaf(std::str::from_utf8(&chain).unwrap(), std::str::from_utf8(&key).unwrap());
    assert_eq!(leaf.unwrap().serial, renewed.serial, "certificate and key fit");
    verify(&gateway, &access(new.clone())).await.unwrap();
    assert_eq!(files.keep(folder.path(), &gateway, access).await.unwrap(), Did::Nothing);
    assert_eq!(there(&folder), new);
}

#[tokio::test]
async fn the_operator_is_told_which_client_was_let_in_and_from_where_also_one_that_attaches_later() {
    let mut site = Site::new().await;
    let before = pki::now().unix_timestamp();
    verify(&site.gateway, &site.access()).await.unwrap();
    let seen = site.attachment.seen().await;
    let [client] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((client.client.as_str(), client.address.as_str()), ("ci", "127.0.0.1"));
    let shown = &site.door.ci.facts;
    assert_eq!((&client.serial, &client.authority_key_id), (&shown.serial, &shown.issuer_key_id));
    assert!(
        client.at_ms / 1000 >= before && client.at_ms / 1000 <= pki::now().unix_timestamp(),
        "{client:?}"
    );
    let Site { attachment, operator, .. } = site;
    drop(attachment);
    let (mut next, _) = operator.attached().await;
    assert_eq!(next.seen().await, seen);
}

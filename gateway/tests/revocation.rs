//! Certificates and tokens that are revoked while they are in use: what they have opened is cut, nothing opens any more,
//! and the replica says so only afterwards.

use http::Uri;
use portcullis_contract::snapshot::{Protocol, RevokedSubject};
use rustls::AlertDescription;

use crate::handshake::{alert, handshakes};
use crate::lifecycle::{breaks_off, endless, served};
use crate::support::caller::request;
use crate::support::door::{Plan, backend, prefix};
use crate::support::idp::Idp;
use crate::support::operator::{Operator, write_credentials};
use crate::support::signer::Signer;
use crate::support::tunnel::{Connector, WEB, answers, http, plan, settings, tunnel, visit};
use crate::support::{Backend, Door, pki, soon};
use crate::tokens::{self, bearer, until_believed};
use crate::upgrade::{chat, is_cut, parrot, talk, to_parrot};

#[tokio::test]
async fn a_revoked_certificate_is_refused_in_the_handshake_and_another_of_the_same_client_is_not() {
    let echo = Backend::echo().await;
    let mut door = Door::to_http1(echo.address).await;
    let stolen = pki::client_config(&door.server_ca, Some(&door.ci), "h2");
    // It has session tickets to resume with.
    assert!(served(&door, stolen.clone()).await);
    door.snapshot.revoked = vec![door.ci.facts.serial.clone()];
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 2.0).await;
    for _ in 0..3 {
        assert!(!served(&door, stolen.clone()).await, "resumption does not revive it");
    }
    let fresh = pki::client_config(&door.server_ca, Some(&door.ci), "h2");
    assert_eq!(alert(&door, fresh).await, AlertDescription::CertificateRevoked);
    door.counted(&handshakes("revoked"), 1.0).await;
    let renewed = pki::client(&door.client_ca, "ci");
    assert_eq!(door.http2_of(&renewed).await.get("/").await.status, 200);
}

#[tokio::test]
async fn what_a_revoked_certificate_has_opened_is_cut_and_what_another_has_opened_goes_on() {
    let (endless, mut began) = endless().await;
    let mut door = Door::to_http1(endless.address).await;
    let renewed = pki::client(&door.client_ca, "ci");
    let (mut one, mut two, mut ours) =
        (door.http1().await, door.http2().await, door.http2_of(&renewed).await);
    let mut first = one.send(request("/endless")).await.unwrap();
    let mut second = two.send(request("/endless")).await.unwrap();
    let _held = (soon("it began", began.recv()).await, soon("it began", began.recv()).await);
    assert_eq!(ours.get("/").await.status, 200);
    door.snapshot.revoked = vec![door.ci.facts.serial.clone()];
    door.write_snapshot();
    assert!(breaks_off(&mut first).await);
    assert!(breaks_off(&mut second).await);
    assert_eq!(ours.get("/").await.status, 200);
}

#[tokio::test]
async fn a_websocket_of_a_revoked_certificate_is_cut() {
    let parrot = parrot().await;
    let mut door = to_parrot(&parrot).start().await;
    let renewed = pki::client(&door.client_ca, "ci");
    let (mut stolen, mut ours) = (chat(&door, &door.ci).await, chat(&door, &renewed).await);
    door.snapshot.revoked = vec![door.ci.facts.serial.clone()];
    door.write_snapshot();
    is_cut(&mut stolen).await;
    talk(&mut ours).await;
}

#[tokio::test]
async fn a_connector_of_a_revoked_certificate_is_cut_and_does_not_come_back() {
    let echo = Backend::echo().await;
    let endpoint = http(echo.address);
    let mut plan = plan(vec![tunnel("web", &endpoint)]);
    plan.snapshot.clients.push(crate::support::door::client("dev"));
    let mut door = plan.start().await;
    let dev = pki::client(&door.client_ca, "dev");
    let (told, directory) = settings(&door, "web", &endpoint, &dev).await;
    let _connector = Connector::run(told, directory);
    answers(&door, WEB, 200).await;
    door.snapshot.revoked = vec![dev.facts.serial.clone()];
    door.write_snapshot();
    door.counted_down("portcullis_gateway_connectors", 0.0).await;
    door.counted(&handshakes("revoked"), 1.0).await;
    assert_eq!(visit(&door, WEB, "/").await.status, 503);
}

#[tokio::test]
async fn a_replica_acknowledges_a_revocation_once_nothing_is_open_any_more_that_it_is_about() {
    let (endless, mut began) = endless().await;
    let authority = pki::authority("control");
    let operator = Operator::new(&authority).await;
    let mut plan = Plan::new(vec![backend("api", prefix("/"), endless.address, Protocol::Http1)]);
    plan.options.control_endpoint = Some(operator.endpoint().parse::<Uri>().unwrap());
    write_credentials(plan.directory.path(), &authority);
    let mut door = plan.start().await;
    let (mut attachment, _) = operator.attached().await;
    let renewed = pki::client(&door.client_ca, "ci");
    let mut kept = door.http2_of(&renewed).await;
    // Many of them, each with a stream.
    let mut streams = Vec::new();
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut caller = door.http2().await;
        streams.push(caller.send(request("/endless")).await.unwrap());
        held.push(soon("it began", began.recv()).await.unwrap());
    }
    let open = door.metric("portcullis_gateway_connections_open").await;
    door.snapshot.revoked = vec![door.ci.facts.serial.clone()];
    let version = attachment.send(&door.snapshot).await;
    assert_eq!(attachment.acknowledged().await.version, version);
    // Said means done: not one of them is left at that moment. The metrics are asked for over a connection of their own.
    let left = door.metric("portcullis_gateway_connections_open").await;
    assert!(left <= open - 40.0, "{left} of {open} are open");
    for stream in &mut streams {
        assert!(breaks_off(stream).await);
    }
    assert_eq!(kept.get("/").await.status, 200);
    // A configuration that revokes nothing is acknowledged while streams go on.
    let mut caller = door.http2_of(&renewed).await;
    let _stream = caller.send(request("/endless")).await.unwrap();
    door.snapshot.log_level = "debug".to_owned();
    let version = attachment.send(&door.snapshot).await;
    assert_eq!(attachment.acknowledged().await.version, version);
}

#[tokio::test]
async fn tokens_of_a_revoked_subject_are_refused_from_the_next_request_on() {
    let (signer, echo) = (Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let mut door = tokens::door(&idp, &echo, |_| {}).await;
    let (alice, bob) = (idp.claims("alice", &["door-user"], ""), idp.claims("bob", &["door-user"], ""));
    let (stolen, other) = (signer.token(&alice), signer.token(&bob));
    until_believed(&door, &stolen).await;
    let issued_before = alice["iat"].as_i64().unwrap() + 1;
    let revoked = RevokedSubject { subject: "id-of-alice".to_owned(), issued_before };
    door.snapshot.oidc.as_mut().unwrap().revoked_subjects = vec![revoked];
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 2.0).await;
    let status = async |token: &str| tokens::get(&door, &[("authorization", &bearer(token))]).await.status;
    assert_eq!(status(&stolen).await, 401);
    assert_eq!(status(&other).await, 200, "the provider's keys were kept");
    let mut again = alice.clone();
    again["iat"] = issued_before.into();
    assert_eq!(status(&signer.token(&again)).await, 200, "whoever has logged in again comes in");
    door.counted("portcullis_gateway_denials_total{reason=\"token_revoked\"}", 1.0).await;
}

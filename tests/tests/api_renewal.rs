//! A client renews its certificate through the gateway's API, against a real API server, while its operator is killed at
//! every write of it: whatever anybody was told is in the status, and goes with the client.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use portcullis_api::{ClientStatus, Gateway};
use portcullis_contract::control::call::Request;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::gateway::{GetTrustRequest, RenewCertificateRequest, RenewCertificateResponse};
use portcullis_tests::faults::{Fault, Script};
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{Credentials, Replica, attached_door, secret};
use portcullis_tests::settled::settled;
use portcullis_tests::{apply, client, is, namespace, until};
use rcgen::{CertificateParams, KeyPair};
use tonic::Code;

const SPEC: &str = "{clients: [{name: ci}, {name: dev}]}";
/// How many renewals go on side by side.
const ABREAST: usize = 4;

fn asking(key: &KeyPair) -> Request {
    let request = CertificateParams::default().serialize_request(key).unwrap();
    Request::RenewCertificate(RenewCertificateRequest { certificate_request: request.der().to_vec() })
}

async fn renewed(
    replica: &mut Replica,
    shown: &str,
    key: &KeyPair,
) -> Result<RenewCertificateResponse, (Code, String)> {
    match replica.call_shown("ci", shown, asking(key)).await.expect("the operator is there")? {
        Answer::Renewed(renewed) => Ok(renewed),
        other => panic!("{other:?}"),
    }
}

fn known<'a>(gateway: &'a Gateway, name: &str) -> Option<&'a ClientStatus> {
    gateway.status.as_ref()?.clients.iter().find(|it| it.name == name)
}

fn serials(gateway: &Gateway) -> Vec<String> {
    known(gateway, "ci")
        .into_iter()
        .flat_map(ClientStatus::certificates)
        .map(|it| it.serial.clone())
        .collect()
}

fn revoked(gateway: &Gateway) -> Vec<String> {
    let status = gateway.status.as_ref();
    status.into_iter().flat_map(|it| &it.revocations).map(|it| it.serial.clone()).collect()
}

#[tokio::test]
async fn what_a_client_renews_is_in_the_status_and_told_and_all_of_it_goes_with_the_client() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, mut replica) = attached_door(&client, &namespace, SPEC).await;
    let bundle = secret(&client, &namespace, "door-client-ci").await;
    let key = KeyPair::generate().unwrap();
    let first = renewed(&mut replica, &bundle["tls.crt"], &key).await.unwrap();
    assert_eq!(first.ca_certificates, bundle["ca.crt"]);
    let now = Api::<Gateway>::namespaced(client.clone(), &namespace).get("door").await.unwrap();
    let [entry] = known(&now, "ci").unwrap().renewed.as_slice() else { panic!("{now:?}") };
    assert_eq!((&entry.serial, &entry.fingerprint), (&first.serial, &first.fingerprint));
    let (_, pem) = x509_parser::pem::parse_x509_pem(first.certificate_chain.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.validity().not_after.timestamp() * 1000, first.not_after_ms);
    assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
    // With what it got it gets another; the key of what was shown is none to ask with.
    let (code, message) = renewed(&mut replica, &first.certificate_chain, &key).await.unwrap_err();
    assert_eq!(code, Code::InvalidArgument, "{message}");
    let second =
        renewed(&mut replica, &first.certificate_chain, &KeyPair::generate().unwrap()).await.unwrap();
    let (code, message) = renewed(&mut replica, &bundle["tls.crt"], &key).await.unwrap_err();
    assert_eq!(code, Code::ResourceExhausted, "{message}");
    assert!(message.contains("try again in"), "{message}");
    match replica.call("ci", &[], Request::GetTrust(GetTrustRequest {})).await.unwrap() {
        Answer::Trust(trust) => assert_eq!(trust.ca_certificates, bundle["ca.crt"]),
        other => panic!("{other:?}"),
    }
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let told = events.list(&ListParams::default()).await.unwrap().items.into_iter();
    let told: Vec<_> = told.filter(|it| it.reason.as_deref() == Some("CertificateRenewed")).collect();
    assert_eq!(told.len(), 2);
    for words in ["Client ci", &first.serial, "by ci from 192.0.2.7"] {
        assert!(
            told.iter().any(|it| it.note.as_ref().unwrap().contains(words)),
            "{told:?} says nothing of {words}"
        );
    }

    let all = {
        let now = Api::<Gateway>::namespaced(client.clone(), &namespace).get("door").await.unwrap();
        serials(&now)
    };
    assert_eq!(all.len(), 3);
    apply(&client, &namespace, "door", "{clients: [{name: dev}]}").await.unwrap();
    until(&client, &namespace, "door", |it| all.iter().all(|serial| revoked(it).contains(serial))).await;
    let (code, message) = renewed(&mut replica, &second.certificate_chain, &key).await.unwrap_err();
    assert_eq!(code, Code::PermissionDenied, "{message}");
    operator.stop().await;
}

#[tokio::test]
async fn the_status_says_when_a_client_was_seen_to_ten_minutes_and_nothing_is_written_in_between() {
    let (client, namespace) = (client().await, namespace(&client().await).await);
    let (operator, replica) = attached_door(&client, &namespace, SPEC).await;
    let ready = until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    assert_eq!(known(&ready, "ci").unwrap().last_seen, None);
    let seen = |at: &'static str| {
        move |it: &Gateway| known(it, "ci").is_some_and(|it| it.last_seen.as_deref() == Some(at))
    };
    // 2024-05-01T10:00:00Z, and what comes after it.
    let at = 1_714_557_600_000;
    replica.saw("ci", at, "192.0.2.7").await;
    let now = until(&client, &namespace, "door", seen("2024-05-01T10:00:00Z")).await;
    assert_eq!(known(&now, "ci").unwrap().last_seen_from.as_deref(), Some("192.0.2.7"));
    assert_eq!(known(&now, "dev").unwrap().last_seen, None);
    let writes = operator.script.writes().len();
    for (minutes, name) in [(1, "ci"), (9, "ci"), (3, "nobody")] {
        replica.saw(name, at + minutes * 60_000, "192.0.2.8").await;
    }
    replica.saw("dev", at, "192.0.2.9").await;
    let now =
        until(&client, &namespace, "door", |it| known(it, "dev").is_some_and(|it| it.last_seen.is_some()))
            .await;
    assert_eq!(operator.script.writes().len(), writes + 1, "{:?}", operator.script.writes());
    assert!(seen("2024-05-01T10:00:00Z")(&now));
    replica.saw("ci", at + 600_000, "192.0.2.8").await;
    let now = until(&client, &namespace, "door", seen("2024-05-01T10:10:00Z")).await;
    assert_eq!(known(&now, "ci").unwrap().last_seen_from.as_deref(), Some("192.0.2.8"));
    operator.stop().await;
}

/// One renewal, whatever befalls the operator's writes. Returns what was written for it.
async fn renew(fault: Option<(usize, Fault)>) -> (Vec<String>, bool) {
    let client = client().await;
    let namespace = namespace(&client).await;
    let (first, replica) = attached_door(&client, &namespace, SPEC).await;
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    drop(replica);
    first.stop().await;

    let script = fault.map_or_else(Arc::default, |(number, fault)| Script::failing(number, fault));
    let mut operator = Operator::start_scripted(&namespace, script.clone()).await;
    let shown = secret(&client, &namespace, "door-client-ci").await.remove("tls.crt").unwrap();
    let credentials = Credentials::of(&client, &namespace, "door").await;
    let key = KeyPair::generate().unwrap();
    let told = loop {
        let mut replica = Replica::attach_soon(operator.control, &credentials, "door-1").await;
        let asked = replica.call_shown("ci", &shown, asking(&key));
        let gone = tokio::select! {
            answer = asked => match answer {
                Some(Ok(Answer::Renewed(renewed))) => break renewed,
                Some(Ok(other)) => panic!("{other:?}"),
                // Whoever is told to come back does.
                Some(Err((Code::Unavailable | Code::DeadlineExceeded, _))) | None => false,
                Some(Err((code, message))) => panic!("{code:?}: {message}"),
            },
            () = script.stop.notified() => true,
        };
        if gone {
            operator.kill();
            operator = Operator::start(&namespace).await;
        }
    };
    // What was told was written before.
    let now = Api::<Gateway>::namespaced(client.clone(), &namespace).get("door").await.unwrap();
    let known: Vec<_> = known(&now, "ci").unwrap().renewed.iter().map(|it| it.serial.clone()).collect();
    assert!(known.contains(&told.serial), "{known:?} has no {}", told.serial);
    // One whose answer was lost is known too, and there is no third.
    assert!(known.len() <= 2, "{known:?}");
    let writes = operator.script.writes();
    operator.stop().await;
    settled(&client, &namespace, "door").await;
    let struck = script.struck();

    let last = Operator::start(&namespace).await;
    let all = serials(&now);
    apply(&client, &namespace, "door", "{clients: [{name: dev}]}").await.unwrap();
    until(&client, &namespace, "door", |it| all.iter().all(|serial| revoked(it).contains(serial))).await;
    last.stop().await;
    (writes, struck)
}

#[tokio::test]
async fn wherever_the_operator_is_gone_nobody_was_told_of_what_is_not_written() {
    let (writes, _) = renew(None).await;
    assert!(writes.iter().any(|it| it.contains("/gateways/door/status")), "{writes:?}");
    assert!(writes.len() < 8, "{writes:?}");
    let cases = (0..writes.len()).flat_map(|number| Fault::ALL.map(|fault| (number, fault)));
    let cases: Vec<_> = stream::iter(cases)
        .map(|case| async move { (case, renew(Some(case)).await.1) })
        .buffer_unordered(ABREAST)
        .collect()
        .await;
    let struck = cases.iter().filter(|(_, struck)| *struck).count();
    assert!(struck >= Fault::ALL.len(), "{struck} of {} faults befell a write", cases.len());
}

//! An authority is rotated while its operator is killed at every write of it: replicas and bundles are told first, nothing
//! that anybody holds is disbelieved in between, and a further visit writes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use portcullis_api::{Gateway, RotationPhase};
use portcullis_contract::control::ClientSeen;
use portcullis_contract::control::instruction::Instruction as Told;
use portcullis_contract::snapshot::Snapshot;
use portcullis_operator::clock::{Clock as _, SetClock, SystemClock};
use portcullis_pki::read_leaf;
use portcullis_tests::faults::{Fault, Script};
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{Credentials, Replica, obedient, ready_pod, secret};
use portcullis_tests::settled::settled;
use portcullis_tests::{PATIENCE, apply, client, is, namespace, until};
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How many rotations go on side by side.
const ABREAST: usize = 4;
/// Whoever is told reads at once, and the old generation goes a moment after the last certificate was issued anew.
const SPEC: &str = "{clients: [{name: alice}], pki: {ca: {publishFor: 0s, retireAfter: 1s}}}";

async fn annotate(client: &Client, namespace: &str, annotation: &str, id: &str) {
    let api: Api<Gateway> = Api::namespaced(client.clone(), namespace);
    let patch = json!({ "metadata": { "annotations": { annotation: id } } });
    api.patch("door", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

fn is_at(phase: RotationPhase, generation: i64) -> impl Fn(&Gateway) -> bool + Copy {
    move |gateway| {
        let ca = gateway.status.as_ref().and_then(|status| status.ca.as_ref());
        ca.is_some_and(|ca| ca.phase == phase && ca.generation == generation)
    }
}

/// What somebody shows and whom they believe.
struct Holder {
    signed_by: String,
    believes: BTreeSet<String>,
}

async fn holder(client: &Client, namespace: &str, name: &str) -> Holder {
    let data = secret(client, namespace, name).await;
    let leaf = read_leaf(&data["tls.crt"], &data["tls.key"]).unwrap();
    let roots = x509_parser::pem::Pem::iter_from_buffer(data["ca.crt"].as_bytes()).map(|pem| {
        let pem = pem.unwrap();
        let certificate = pem.parse_x509().unwrap();
        let id = certificate.extensions().iter().find_map(|it| match it.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        id.unwrap().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    });
    Holder { signed_by: leaf.issuer_key_id, believes: roots.collect() }
}

/// Server and client believe each other, whatever is written when. The server is read before and after the client: what
/// it had meanwhile, it had then too, or one of both.
async fn watched(client: &Client, namespace: &str) {
    loop {
        let before = holder(client, namespace, "door-server").await;
        let bundle = holder(client, namespace, "door-client-alice").await;
        let after = holder(client, namespace, "door-server").await;
        let is_known = before.signed_by == after.signed_by;
        let believed = !is_known || bundle.believes.contains(&before.signed_by);
        let told = [&before, &after].iter().any(|server| server.believes.contains(&bundle.signed_by));
        assert!(believed, "the client does not believe the server");
        assert!(told, "the server does not believe the client");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One rotation, from its annotation on, whatever befalls the operator's writes from then on. Returns what was written.
async fn rotate(number: Option<(usize, Fault)>) -> (Vec<String>, bool) {
    let client = client().await;
    let namespace = namespace(&client).await;
    let first = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    ready_pod(&client, &namespace, "door", "door-1").await;
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let serves = obedient(client.clone(), namespace.clone(), &first);
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    first.stop().await;
    serves.abort();
    annotate(&client, &namespace, "portcullis.dev/rotate", "one").await;

    let script = number.map_or_else(Arc::default, |(number, fault)| Script::failing(number, fault));
    let mut operator = Operator::start_scripted(&namespace, script.clone()).await;
    let mut serves = obedient(client.clone(), namespace.clone(), &operator);
    let ends = until(&client, &namespace, "door", is_at(RotationPhase::Stable, 2));
    let watched = watched(&client, &namespace);
    tokio::pin!(ends, watched);
    loop {
        tokio::select! {
            _ = &mut ends => break,
            () = &mut watched => unreachable!("it watches until it is dropped"),
            () = script.stop.notified() => {
                serves.abort();
                operator.kill();
                operator = Operator::start(&namespace).await;
                serves = obedient(client.clone(), namespace.clone(), &operator);
            }
        }
    }
    until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
    until(&client, &namespace, "door", is("Programmed", "True", "Programmed")).await;
    serves.abort();
    operator.stop().await;
    settled(&client, &namespace, "door").await;
    let authority = secret(&client, &namespace, "door-ca").await;
    assert_eq!(authority.keys().collect::<Vec<_>>(), ["ca-2.crt", "ca-2.key", "course.json"]);

    // The same id again is nothing new.
    let again = Operator::start(&namespace).await;
    let serves = obedient(client.clone(), namespace.clone(), &again);
    apply(&client, &namespace, "other", "clients: []").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    let quiet = again.script.clone();
    serves.abort();
    again.stop().await;
    let writes: Vec<_> =
        quiet.writes().into_iter().filter(|it| it.contains("door") && !it.contains("/events")).collect();
    let statuses = writes.iter().filter(|it| it.ends_with("/gateways/door/status")).count();
    assert_eq!(writes.len(), statuses, "a further visit wrote {writes:#?}");
    (script.writes(), script.struck())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_ends_whatever_befalls_its_writes_and_nobody_is_disbelieved_meanwhile() {
    let (writes, _) = Box::pin(rotate(None)).await;
    assert!(writes.iter().filter(|it| it.ends_with("/secrets/door-ca")).count() == 4, "{writes:#?}");
    assert!(writes.iter().all(|it| !it.contains("/deployments/")), "no pod is restarted: {writes:#?}");
    let faults = [Fault::StopBefore, Fault::StopAfter, Fault::AnswerLost];
    let cases = (0..writes.len()).flat_map(|number| faults.map(|fault| (number, fault)));
    let runs = stream::iter(cases).map(|(number, fault)| async move {
        let run = tokio::spawn(rotate(Some((number, fault))));
        (number, fault, tokio::time::timeout(PATIENCE * 3, run).await)
    });
    let (mut failed, mut count, mut hit) = (Vec::new(), 0, 0);
    let mut runs = runs.buffer_unordered(ABREAST);
    let began = Instant::now();
    while let Some((number, fault, run)) = runs.next().await {
        count += 1;
        let write = &writes[number];
        match run {
            Ok(Ok((_, struck))) => hit += usize::from(struck),
            Ok(Err(panic)) => failed.push(format!("{fault:?} at {number} ({write}): {panic}")),
            Err(_) => failed.push(format!("{fault:?} at {number} ({write}) did not settle in time")),
        }
    }
    let (written, ways) = (writes.len(), faults.len());
    println!("{count} rotations: {written} writes × {ways} faults, {hit} struck, {:?}", began.elapsed());
    // Which Event and which status comes when is a matter of pace, and a write that never came cannot fail.
    assert!(hit * 2 >= count, "only {hit} faults of {count} struck");
    assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_away_is_waited_for_by_name_and_a_rollback_leads_back() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    for pod in ["door-1", "door-2"] {
        ready_pod(&client, &namespace, "door", pod).await;
    }
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let before = secret(&client, &namespace, "door-ca").await;
    let bundle = secret(&client, &namespace, "door-client-alice").await;
    let serves = obedient(client.clone(), namespace.clone(), &operator);
    annotate(&client, &namespace, "portcullis.dev/rotate", "one").await;
    let waits = |gateway: &Gateway| {
        let ca = gateway.status.as_ref().and_then(|status| status.ca.as_ref());
        let waited = ca.and_then(|ca| ca.waiting_for.as_deref());
        waited == Some("replica door-2 is not on the control channel")
            && is_at(RotationPhase::Publishing, 1)(gateway)
    };
    let gateway = until(&client, &namespace, "door", waits).await;
    assert!(gateway.status.unwrap().ca.unwrap().waiting_since.is_some());
    let told = secret(&client, &namespace, "door-client-alice").await;
    assert_eq!(
        (&told["tls.crt"], &told["tls.key"]),
        (&bundle["tls.crt"], &bundle["tls.key"]),
        "the leaf stays"
    );
    assert_eq!(told["ca.crt"].matches("BEGIN CERTIFICATE").count(), 2);

    annotate(&client, &namespace, "portcullis.dev/rotate-rollback", "one").await;
    until(&client, &namespace, "door", is_at(RotationPhase::Stable, 1)).await;
    let after = secret(&client, &namespace, "door-ca").await;
    assert_eq!((&after["ca-1.crt"], &after["ca-1.key"]), (&before["ca-1.crt"], &before["ca-1.key"]));
    assert!(!after.contains_key("ca-2.key"));
    assert_eq!(secret(&client, &namespace, "door-client-alice").await, bundle);
    serves.abort();
    operator.stop().await;
    settled(&client, &namespace, "door").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_emergency_the_new_authority_is_the_only_one_at_once_and_the_condition_says_whom_that_locks_out()
 {
    let client = client().await;
    let namespace = namespace(&client).await;
    let operator = Operator::start(&namespace).await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    ready_pod(&client, &namespace, "door", "door-1").await;
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let bundle = secret(&client, &namespace, "door-client-alice").await;
    annotate(&client, &namespace, "portcullis.dev/rotate-emergency", "stolen").await;
    let gateway = until(&client, &namespace, "door", is("Warning", "True", "AuthorityReplaced")).await;
    assert!(is_at(RotationPhase::Issuing, 2)(&gateway));
    let renewed = secret(&client, &namespace, "door-client-alice").await;
    assert_ne!(renewed["tls.crt"], bundle["tls.crt"]);
    assert_eq!(renewed["ca.crt"].matches("BEGIN CERTIFICATE").count(), 1);
    let serves = obedient(client.clone(), namespace.clone(), &operator);
    let over = until(&client, &namespace, "door", is_at(RotationPhase::Stable, 2)).await;
    assert!(over.status.unwrap().conditions.iter().all(|it| it.type_ != "Warning"));
    serves.abort();
    operator.stop().await;
    settled(&client, &namespace, "door").await;
}

/// A replica `door-1` that serves whatever it is told, and tells whom it has let in.
fn seeing(mut replica: Replica, mut sights: mpsc::Receiver<Vec<ClientSeen>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                told = replica.told() => {
                    let Some(Told::Snapshot(told)) = told else { return };
                    let read = Snapshot::from_json(&told.json).unwrap();
                    replica.acknowledge(&told.version, &read.server_fingerprint).await;
                }
                Some(seen) = sights.recv() => replica.saw_all(seen).await,
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_authority_goes_once_nobody_goes_by_it_though_operator_and_replica_went_after_they_saw_it() {
    const SPEC: &str =
        "{clients: [{name: alice}, {name: bob}], pki: {ca: {publishFor: 0s, retireUnusedAfter: 1h}}}";
    let client = client().await;
    let namespace = namespace(&client).await;
    // What it issues is valid by everybody else's clock too.
    let clock = Arc::new(SetClock::new(SystemClock.now() - time::Duration::hours(2)));
    let start = || Operator::start_with(&namespace, |_| {}, Arc::default(), clock.clone());
    let operator = start().await;
    apply(&client, &namespace, "door", SPEC).await.unwrap();
    ready_pod(&client, &namespace, "door", "door-1").await;
    until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
    let old = holder(&client, &namespace, "door-client-alice").await.signed_by;
    let attach = |operator: &Operator| {
        let (client, namespace, address) = (client.clone(), namespace.clone(), operator.control);
        async move {
            let shows = Credentials::of(&client, &namespace, "door").await;
            let (tell, sights) = mpsc::channel(8);
            (tell, seeing(Replica::attach_soon(address, &shows, "door-1").await, sights))
        }
    };
    let (tell, serves) = attach(&operator).await;
    annotate(&client, &namespace, "portcullis.dev/rotate", "one").await;
    until(&client, &namespace, "door", is_at(RotationPhase::Retiring, 2)).await;
    let new = holder(&client, &namespace, "door-client-alice").await.signed_by;
    assert_ne!(new, old);

    let seen = |who: &str, authority: &str| ClientSeen {
        client: who.to_owned(),
        at_ms: clock.now().unix_timestamp() * 1000,
        address: "192.0.2.7".to_owned(),
        serial: "5e".to_owned(),
        authority_key_id: authority.to_owned(),
    };
    let unseen = |wish: &'static [&'static str]| {
        move |gateway: &Gateway| {
            let ca = gateway.status.as_ref().and_then(|status| status.ca.as_ref());
            ca.is_some_and(|ca| ca.unseen == wish && ca.phase == RotationPhase::Retiring)
        }
    };
    until(&client, &namespace, "door", unseen(&["alice", "bob"])).await;
    clock.advance(time::Duration::minutes(30));
    tell.send(vec![seen("alice", &old), seen("alice", &new)]).await.unwrap();
    let one = until(&client, &namespace, "door", unseen(&["bob"])).await;
    assert_eq!(one.status.unwrap().clients[0].last_seen_serial.as_deref(), Some("5e"));
    tell.send(vec![seen("bob", &new)]).await.unwrap();
    let used = clock.now();
    let both = until(&client, &namespace, "door", unseen(&[])).await;
    let ends = both.status.unwrap().ca.unwrap().phase_until.unwrap();
    let ends = time::OffsetDateTime::parse(&ends, &Rfc3339).unwrap() - used;
    assert!(ends >= time::Duration::minutes(59) && ends <= time::Duration::minutes(68), "{ends}");

    // What saw them is gone, and what is there now has seen nobody.
    operator.kill();
    serves.abort();
    let operator = start().await;
    let (_tell, serves) = attach(&operator).await;
    clock.advance(time::Duration::minutes(50));
    annotate(&client, &namespace, "example.com/looked-at", "before").await;
    apply(&client, &namespace, "other", "clients: []").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    let early = Api::<Gateway>::namespaced(client.clone(), &namespace).get("door").await.unwrap();
    assert!(unseen(&[])(&early), "{:#?}", early.status);
    clock.advance(time::Duration::minutes(30));
    annotate(&client, &namespace, "example.com/looked-at", "after").await;
    until(&client, &namespace, "door", is_at(RotationPhase::Stable, 2)).await;
    let authority = secret(&client, &namespace, "door-ca").await;
    assert_eq!(authority.keys().collect::<Vec<_>>(), ["ca-2.crt", "ca-2.key", "course.json"]);
    serves.abort();
    operator.stop().await;
}

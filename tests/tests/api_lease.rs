//! Two operators share a cluster: one leads and writes, the other stands by, and they never write together.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use portcullis_operator::clock::SystemClock;
use portcullis_operator::world::Kind;
use portcullis_operator::{lease, names};
use portcullis_tests::faults::{Race, Script};
use portcullis_tests::lag::Lag;
use portcullis_tests::operator::Operator;
use portcullis_tests::settled::settled;
use portcullis_tests::{apply, client, condition, is, namespace, until, until_child};
use serde_json::json;
use std::sync::Arc;

/// An operator of a name of its own.
async fn operator(namespace: &str, identity: &str) -> Operator {
    let identity = identity.to_owned();
    let change = |options: &mut portcullis_operator::options::Options| options.identity = identity;
    Operator::start_with(namespace, change, Arc::default(), Arc::new(SystemClock)).await
}

/// Applies a Gateway and waits until its certificates are there.
async fn issued(client: &Client, namespace: &str, name: &str) {
    apply(client, namespace, name, "clients: [{name: alice}]").await.unwrap();
    until(client, namespace, name, is("CertificatesReady", "True", "Issued")).await;
}

#[tokio::test]
async fn of_two_operators_one_leads_and_the_other_is_ready_and_writes_nothing() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let first = operator(&namespace, "first").await;
    issued(&client, &namespace, "door").await;
    let second = operator(&namespace, "second").await;
    second.until_line("/readyz", "ok").await;
    second.until_line("/metrics", "portcullis_operator_gateways 1").await;
    issued(&client, &namespace, "other").await;
    second.until_line("/metrics", "portcullis_operator_gateways 2").await;
    second.until_line("/metrics", "portcullis_operator_leading 0").await;
    first.until_line("/metrics", "portcullis_operator_leading 1").await;
    assert_eq!(second.script.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_killed_leader_is_replaced_within_fifteen_seconds_and_the_two_never_write_together() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let first = operator(&namespace, "first").await;
    issued(&client, &namespace, "door").await;
    let second = operator(&namespace, "second").await;
    second.until_line("/readyz", "ok").await;

    let old = first.script.clone();
    first.kill();
    let (killed, lag) = (tokio::time::Instant::now(), Lag::begin());
    issued(&client, &namespace, "other").await;
    let taken = second.script.moments()[0].duration_since(killed);
    let lag = lag.so_far();
    println!("taken over {taken:?} after the kill, with a lag of {lag:?}");
    // It may have been renewed just before the kill, which the other sees a period later, and from then on looks once a
    // period until it has stood long enough.
    let looks = lease::DURATION.as_millis().div_ceil(lease::PERIOD.as_millis()) + 1;
    let latest = lease::PERIOD * u32::try_from(looks).unwrap();
    assert!(latest < Duration::from_secs(15), "{latest:?} by the constants alone");
    assert!(taken < Duration::from_secs(15) + lag, "{taken:?}, with a lag of {lag:?}");
    assert!(taken + lease::PERIOD * 2 > lease::DURATION, "it did not wait for the lease to end: {taken:?}");
    assert!(old.moments().last() < second.script.moments().first(), "the old one wrote after the new one");
}

#[tokio::test]
async fn a_polite_stop_hands_over_at_once_and_in_order() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let first = operator(&namespace, "first").await;
    issued(&client, &namespace, "door").await;
    let second = operator(&namespace, "second").await;
    second.until_line("/readyz", "ok").await;
    // Both have something to do while they change places.
    for number in 0..5 {
        apply(&client, &namespace, &format!("door-{number}"), "clients: [{name: alice}]").await.unwrap();
    }
    let old = first.script.clone();
    first.stop().await;
    let (stopped, lag) = (tokio::time::Instant::now(), Lag::begin());
    for number in 0..5 {
        until(&client, &namespace, &format!("door-{number}"), is("CertificatesReady", "True", "Issued"))
            .await;
    }
    issued(&client, &namespace, "other").await;
    let taken = second.script.moments()[0].duration_since(stopped);
    let lag = lag.so_far();
    println!("taken over {taken:?} after the stop, with a lag of {lag:?}");
    // Sooner than a lease that nobody gives back comes to its end.
    assert!(taken + lease::PERIOD * 2 < lease::DURATION + lag, "{taken:?}, with a lag of {lag:?}");
    assert!(old.moments().last() < second.script.moments().first(), "the old one wrote after the new one");
}

async fn holder(client: &Client, namespace: &str) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    leases.get(names::LEASE).await.unwrap().spec.unwrap().holder_identity
}

#[tokio::test]
async fn a_lease_is_given_back_though_the_api_server_takes_its_time_and_never_one_that_is_anothers_by_then() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let first = operator(&namespace, "first").await;
    issued(&client, &namespace, "door").await;
    assert_eq!(holder(&client, &namespace).await.as_deref(), Some("first"));
    // Nobody else is there who could take it, so that what becomes of it is this one's doing.
    let slow = lease::PERIOD * 2;
    first.script.slow_leases(slow);
    first.stop().await;
    assert_eq!(holder(&client, &namespace).await.as_deref(), Some(""), "it was given back");

    let second = operator(&namespace, "second").await;
    issued(&client, &namespace, "other").await;
    let script = second.script.clone();
    script.slow_leases(slow);
    let stopping = tokio::spawn(second.stop());
    // A write is on its way when somebody else takes the lease: it comes too late, and so does whatever comes after it.
    script.lease_written().await;
    let leases: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({ "spec": { "holderIdentity": "third" } });
    leases.patch(names::LEASE, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    stopping.await.unwrap();
    assert_eq!(holder(&client, &namespace).await.as_deref(), Some("third"));
}

/// Lets two operators believe that they lead: each has a Lease of its own, and both watch the same namespaces. They
/// share the control channel's authority, as two of one installation do.
#[tokio::test]
async fn of_two_operators_that_race_for_an_authority_one_wins_and_the_other_adopts() {
    let client = client().await;
    let homes = [namespace(&client).await, namespace(&client).await];
    let mut places = Vec::new();
    for _ in 0..6 {
        places.push(namespace(&client).await);
    }
    let start = |home: String, script: Arc<Script>| {
        let places = places.clone();
        async move {
            let change = |options: &mut portcullis_operator::options::Options| {
                // As many as there are places: one that waits for the other operator holds its worker.
                options.workers = places.len();
                options.watch_namespaces = places;
                options.control_endpoint = Some("operator.portcullis.svc:9443".to_owned());
            };
            Operator::start_with(&home, change, script, Arc::new(SystemClock)).await
        }
    };
    let maker = start(homes[0].clone(), Arc::default()).await;
    until_child(&client, &homes[0], Kind::Secret, "portcullis-control-ca", |it| it.is_some()).await;
    maker.stop().await;
    let secrets = |home: &str| Api::<Secret>::namespaced(client.clone(), home);
    let mut shared = secrets(&homes[0]).get("portcullis-control-ca").await.unwrap();
    shared.metadata =
        ObjectMeta { name: shared.metadata.name, labels: shared.metadata.labels, ..ObjectMeta::default() };
    secrets(&homes[1]).create(&PostParams::default(), &shared).await.unwrap();

    for place in &places {
        apply(&client, place, "door", "clients: [{name: alice}, {name: bob}]").await.unwrap();
    }
    let race = Race::of_two("/secrets/door-ca");
    let (one, two) = tokio::join!(
        start(homes[0].clone(), Script::racing(race.clone())),
        start(homes[1].clone(), Script::racing(race)),
    );
    for place in &places {
        until(&client, place, "door", is("CertificatesReady", "True", "Issued")).await;
    }
    let scripts = [one.script.clone(), two.script.clone()];
    one.stop().await;
    two.stop().await;
    for place in &places {
        settled(&client, place, "door").await;
        let authority = secrets(place).get("door-ca").await.unwrap();
        let keys: Vec<_> = authority.data.unwrap().into_keys().collect();
        assert_eq!(keys, ["ca-1.crt", "ca-1.key"], "one generation");
        let path = format!("/namespaces/{place}/secrets/door-ca");
        for script in &scripts {
            assert!(script.writes().iter().any(|write| write.ends_with(&path)), "both tried to make it");
        }
    }

    let quiet = start(homes[0].clone(), Arc::default()).await;
    for place in &places {
        apply(&client, place, "other", "clients: []").await.unwrap();
        let other = until(&client, place, "other", is("CertificatesReady", "True", "Issued")).await;
        assert_eq!(condition(&other, "Accepted").unwrap().1, "Accepted");
    }
    let script = quiet.script.clone();
    quiet.stop().await;
    let again: Vec<_> = script.writes().into_iter().filter(|it| it.contains("/door")).collect();
    assert!(again.is_empty(), "{again:#?}");
}

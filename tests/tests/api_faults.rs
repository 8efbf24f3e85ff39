//! Every write of a Gateway's life fails once in every way that a write can; where its authority is somebody else's, the
//! operator is gone before and after each. Each run ends with the same objects, and a further visit writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use kube::Client;
use portcullis_tests::cert_manager::{self, CertManager, put_issuer};
use portcullis_tests::company::{Company, Keys, put_secret};
use portcullis_tests::faults::{Fault, Script};
use portcullis_tests::operator::Operator;
use portcullis_tests::settled::settled;
use portcullis_tests::{PATIENCE, apply, client, is, namespace, until};
use serde_json::Value;

/// How many lives are lived side by side.
const ABREAST: usize = 6;
const BORN: &str = "
clients: [{name: alice}, {name: bob}]
pki: {ca: CA}
";
const CHANGED: &str = "
clients: [{name: alice}, {name: carol}]
replicas: 3
pki: {ca: CA, server: {dnsNames: [door.example.com]}}
service: {annotations: {example.com/changed: 'yes'}}
";

/// Where the authority comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Authority {
    Own,
    Brought,
    Asked,
}

impl Authority {
    /// What an admin has written by then, and what the spec says of it.
    async fn prepared(self, client: &Client, namespace: &str) -> &'static str {
        if self == Self::Own {
            return "{}";
        }
        let company = Company::new("Example", Keys::Ec);
        if self == Self::Asked {
            put_issuer(client, namespace, "corp", &company).await;
            return "{issuerRef: {name: corp}}";
        }
        let issuing = company.issuing(1);
        let data =
            [("tls.crt", &*issuing.certificate), ("tls.key", &issuing.key), ("ca.crt", &company.root())];
        put_secret(client, namespace, "corp", &data).await;
        "{secretRef: {name: corp}}"
    }
}

/// A Gateway is born, changes, and settles, whatever befalls the operator's writes.
async fn live(authority: Authority, script: Arc<Script>) -> BTreeMap<String, Value> {
    let client = client().await;
    let namespace = namespace(&client).await;
    let ca = authority.prepared(&client, &namespace).await;
    let [born, changed] = [BORN, CHANGED].map(|spec| spec.replace("CA", ca));
    apply(&client, &namespace, "door", &born).await.unwrap();
    let mut operator = Operator::start_scripted(&namespace, script.clone()).await;
    for (spec, replicas) in [(born, 2), (changed, 3)] {
        apply(&client, &namespace, "door", &spec).await.unwrap();
        let settles = until(&client, &namespace, "door", |gateway| {
            is("CertificatesReady", "True", "Issued")(gateway)
                && gateway.status.as_ref().is_some_and(|status| status.replicas == replicas)
        });
        tokio::pin!(settles);
        loop {
            tokio::select! {
                _ = &mut settles => break,
                () = script.stop.notified() => {
                    operator.kill();
                    operator = Operator::start(&namespace).await;
                }
            }
        }
    }
    operator.stop().await;
    let objects = settled(&client, &namespace, "door").await;
    let again = Operator::start(&namespace).await;
    apply(&client, &namespace, "other", "clients: []").await.unwrap();
    until(&client, &namespace, "other", is("CertificatesReady", "True", "Issued")).await;
    let quiet = again.script.clone();
    again.stop().await;
    let writes: Vec<_> = quiet
        .writes()
        .into_iter()
        .filter(|write| !write.contains("other") && !write.contains("/events"))
        .collect();
    assert!(writes.is_empty(), "a further visit wrote {writes:#?}");
    objects
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_a_write_the_same_objects_are_there_in_the_end() {
    enumerate(Authority::Own, &Fault::ALL, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_operator_is_gone_one_that_was_brought_along_is_there_in_the_end() {
    enumerate(Authority::Brought, &[Fault::StopBefore, Fault::StopAfter], 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_operator_is_gone_one_that_was_asked_for_is_there_in_the_end() {
    cert_manager::install(&client().await).await;
    let _cert_manager = CertManager::start(None, true);
    // The key, the request, and the key's end are writes of their own.
    enumerate(Authority::Asked, &[Fault::StopBefore, Fault::StopAfter], 15).await;
}

/// Lives a life for each of its writes, of which there are at least so many, and each fault.
async fn enumerate(authority: Authority, faults: &[Fault], least: usize) {
    let calm = Arc::<Script>::default();
    let expected = Box::pin(live(authority, calm.clone())).await;
    let writes = calm.writes();
    assert!(writes.len() >= least, "{writes:#?}");
    let cases = (0..writes.len()).flat_map(|number| faults.iter().map(move |fault| (number, *fault)));
    let runs = stream::iter(cases).map(|(number, fault)| async move {
        let script = Script::failing(number, fault);
        let run = tokio::spawn(live(authority, script.clone()));
        let objects = tokio::time::timeout(PATIENCE * 2, run).await;
        (number, fault, script, objects)
    });
    let (mut failed, mut count, mut struck) = (Vec::new(), 0, 0);
    let mut runs = runs.buffer_unordered(ABREAST);
    while let Some((number, fault, script, objects)) = runs.next().await {
        count += 1;
        struck += usize::from(script.struck());
        let write = writes[number].clone();
        match objects {
            Ok(Ok(objects)) if objects == expected => {}
            Ok(Ok(objects)) => {
                failed.push(format!("{fault:?} at {number} ({write}): {}", difference(&objects, &expected)));
            }
            Ok(Err(panic)) => failed.push(format!("{fault:?} at {number} ({write}): {panic}")),
            Err(_) => failed.push(format!("{fault:?} at {number} ({write}) did not settle in time")),
        }
    }
    println!(
        "{authority:?}: {count} lives: {} writes × {} faults, {struck} struck",
        writes.len(),
        faults.len()
    );
    // Which Event and which status comes when is a matter of pace, and a write that never came cannot fail.
    assert!(struck * 5 >= count * 3, "only {struck} faults of {count} struck");
    assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), failed.join("\n"));
}

/// The names of the objects that differ, and how they are in both.
fn difference(found: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>) -> String {
    let names = found.keys().chain(expected.keys()).filter(|name| found.get(*name) != expected.get(*name));
    let lines = names.map(|name| format!("{name} is {:?}, not {:?}", found.get(name), expected.get(name)));
    lines.collect::<Vec<_>>().join("\n")
}

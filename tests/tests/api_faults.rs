//! Every write of a Gateway's life fails once in every way that a write can. Each run ends with the same objects, and a
//! further visit writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use portcullis_tests::faults::{Fault, Script};
use portcullis_tests::operator::Operator;
use portcullis_tests::settled::settled;
use portcullis_tests::{PATIENCE, apply, client, is, namespace, until};
use serde_json::Value;

/// How many lives are lived side by side.
const ABREAST: usize = 6;
const BORN: &str = "{clients: [{name: alice}, {name: bob}]}";
const CHANGED: &str = "
clients: [{name: alice}, {name: carol}]
replicas: 3
pki: {server: {dnsNames: [door.example.com]}}
service: {annotations: {example.com/changed: 'yes'}}
";

/// A Gateway is born, changes, and settles, whatever befalls the operator's writes.
async fn live(script: Arc<Script>) -> BTreeMap<String, Value> {
    let client = client().await;
    let namespace = namespace(&client).await;
    apply(&client, &namespace, "door", BORN).await.unwrap();
    let mut operator = Operator::start_scripted(&namespace, script.clone()).await;
    for spec in [BORN, CHANGED] {
        apply(&client, &namespace, "door", spec).await.unwrap();
        let replicas = if spec == BORN { 2 } else { 3 };
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
    let calm = Arc::<Script>::default();
    let expected = Box::pin(live(calm.clone())).await;
    let writes = calm.writes();
    assert!(writes.len() >= 12, "{writes:#?}");
    let cases = (0..writes.len()).flat_map(|number| Fault::ALL.map(|fault| (number, fault)));
    let runs = stream::iter(cases).map(|(number, fault)| async move {
        let script = Script::failing(number, fault);
        let run = tokio::spawn(live(script.clone()));
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
    println!("{count} lives: {} writes × {} faults, {struck} struck", writes.len(), Fault::ALL.len());
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

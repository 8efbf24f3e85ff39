use std::collections::BTreeMap;

use portcullis_api::Gateway;
use portcullis_contract::snapshot::Snapshot;
use serde_json::json;

use super::*;
use crate::control::Session;
use crate::gateway::apply::Applied;
use crate::gateway::golden::{NOW, carry_out, surroundings};
use crate::world::Pod;

fn gateway(clients: &serde_json::Value) -> Gateway {
    serde_json::from_value(json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Gateway",
        "metadata": { "name": "door", "namespace": "shop", "uid": "c0ffee", "generation": 1 },
        "spec": { "clients": clients },
    }))
    .unwrap()
}

/// The same Gateway, as it was seen last, with other clients.
fn with_clients(gateway: &Gateway, clients: &serde_json::Value) -> Gateway {
    Gateway { status: gateway.status.clone(), ..self::gateway(clients) }
}

fn snapshot(applied: &Applied) -> Snapshot {
    Snapshot::from_json(applied.plan.snapshot.as_ref().unwrap().json.as_bytes()).unwrap()
}

fn serial(gateway: &Gateway, client: &str) -> String {
    let status = gateway.status.as_ref().unwrap();
    status.clients.iter().find(|it| it.name == client).unwrap().certificate.serial.clone()
}

fn revocations(gateway: &Gateway) -> &[RevocationStatus] {
    &gateway.status.as_ref().unwrap().revocations
}

/// A ready pod that serves this version.
fn serve(observed: &mut Observed, pod: &str, applied: &Applied) {
    let published = applied.plan.snapshot.as_ref().unwrap();
    let acknowledged = Some((published.version.clone(), published.server_fingerprint.clone()));
    observed.pods.insert(pod.to_owned(), Pod { ready: true, ..Pod::default() }.into());
    observed.sessions.insert(pod.to_owned(), Session { acknowledged, ..Session::default() });
}

#[test]
fn a_serial_that_the_spec_names_is_revoked_and_its_bundle_issued_anew() {
    let mut observed = surroundings(BTreeMap::new());
    let (before, _) = carry_out(&gateway(&json!([{ "name": "ci" }, { "name": "dev" }])), &mut observed, NOW);
    let (stolen, other) = (serial(&before, "ci"), serial(&before, "dev"));
    let revoking = with_clients(&before, &json!([{ "name": "ci", "revoke": [stolen] }, { "name": "dev" }]));
    let (after, applied) = carry_out(&revoking, &mut observed, NOW + time::Duration::hours(1));
    assert_eq!(snapshot(&applied).revoked, std::slice::from_ref(&stolen));
    assert!(serial(&after, "ci") != stolen && serial(&after, "dev") == other);
    assert!(applied.plan.certificates.notes.iter().any(|note| note.contains("was revoked")));
    let [revoked] = revocations(&after) else { panic!("{:?}", revocations(&after)) };
    let not_after = &before.status.as_ref().unwrap().clients[0].certificate.not_after;
    assert_eq!((&revoked.client, &revoked.not_after), (&"ci".to_owned(), not_after));
    assert_eq!(after.status.as_ref().unwrap().clients[0].superseded, [], "it opens nothing");
    // Taken from the list it stays revoked; settled, nothing is written.
    let unlisted = with_clients(&after, &json!([{ "name": "ci" }, { "name": "dev" }]));
    let (_, applied) = carry_out(&unlisted, &mut observed, NOW + time::Duration::hours(2));
    assert_eq!(snapshot(&applied).revoked, [stolen]);
    assert!(applied.plan.steps.is_empty(), "{:?}", applied.plan.steps);
}

#[test]
fn all_certificates_of_a_client_that_is_gone_are_revoked_until_they_end() {
    let mut observed = surroundings(BTreeMap::new());
    let clients = json!([{ "name": "ci", "duration": "30h" }, { "name": "dev" }]);
    let (first, _) = carry_out(&gateway(&clients), &mut observed, NOW);
    let (renewed, _) = carry_out(&first, &mut observed, NOW + time::Duration::hours(21));
    let (old, new) = (serial(&first, "ci"), serial(&renewed, "ci"));
    assert_ne!(old, new);
    let superseded = &renewed.status.as_ref().unwrap().clients[0].superseded;
    assert_eq!(superseded.iter().map(|it| &it.serial).collect::<Vec<_>>(), [&old]);
    let removed = with_clients(&renewed, &json!([{ "name": "dev" }]));
    let (removed, applied) = carry_out(&removed, &mut observed, NOW + time::Duration::hours(22));
    let mut both = vec![old.clone(), new.clone()];
    both.sort();
    assert_eq!(snapshot(&applied).revoked, both);
    // Under the same name again it gets another one, and those do not come back.
    let again = with_clients(&removed, &clients);
    let (again, applied) = carry_out(&again, &mut observed, NOW + time::Duration::hours(23));
    assert_eq!(snapshot(&applied).revoked, both);
    assert!(!both.contains(&serial(&again, "ci")));
    let (later, applied) = carry_out(&again, &mut observed, NOW + time::Duration::hours(31));
    assert_eq!(snapshot(&applied).revoked, std::slice::from_ref(&new), "the first one has ended");
    let (_, applied) = carry_out(&later, &mut observed, NOW + time::Duration::hours(52));
    assert_eq!(snapshot(&applied).revoked, [] as [String; 0]);
}

#[test]
fn a_status_that_was_lost_keeps_nobody_in() {
    let mut observed = surroundings(BTreeMap::new());
    let (before, _) = carry_out(&gateway(&json!([{ "name": "ci" }])), &mut observed, NOW);
    let mut lost = with_clients(&before, &json!([]));
    lost.status.as_mut().unwrap().clients.clear();
    let (_, applied) = carry_out(&lost, &mut observed, NOW);
    assert_eq!(snapshot(&applied).revoked, [serial(&before, "ci")]);
}

#[test]
fn it_is_enforced_once_every_replica_has_said_so_and_the_time_stays() {
    let mut observed = surroundings(BTreeMap::new());
    let (before, applied) = carry_out(&gateway(&json!([{ "name": "ci" }])), &mut observed, NOW);
    for pod in ["door-1", "door-2"] {
        serve(&mut observed, pod, &applied);
    }
    let removed = with_clients(&before, &json!([]));
    let (removed, applied) = carry_out(&removed, &mut observed, NOW);
    assert_eq!(revocations(&removed)[0].enforced_at, None);
    serve(&mut observed, "door-1", &applied);
    let (one, _) = carry_out(&removed, &mut observed, NOW + time::Duration::seconds(1));
    assert_eq!(revocations(&one)[0].enforced_at, None, "door-2 is behind");
    // One that stops, and is not ready any more, may still have it open.
    serve(&mut observed, "door-2", &applied);
    observed.pods.insert("door-2".to_owned(), Pod::default().into());
    observed.sessions.get_mut("door-2").unwrap().acknowledged.as_mut().unwrap().0 = "older".to_owned();
    let (stopping, _) = carry_out(&one, &mut observed, NOW + time::Duration::seconds(2));
    assert_eq!(revocations(&stopping)[0].enforced_at, None);
    serve(&mut observed, "door-2", &applied);
    let (both, _) = carry_out(&stopping, &mut observed, NOW + time::Duration::seconds(3));
    let enforced = revocations(&both)[0].enforced_at.clone().unwrap();
    assert_eq!(enforced, moment::text(NOW + time::Duration::seconds(3)));
    let (later, _) = carry_out(&both, &mut observed, NOW + time::Duration::seconds(60));
    assert_eq!(revocations(&later)[0].enforced_at, Some(enforced));
}

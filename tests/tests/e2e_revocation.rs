//! Certificates that are revoked while they are in use, on three replicas of a real cluster: from the write to the cut.

use std::time::Duration;

use portcullis_api::Gateway;
use portcullis_tests::command::Home;
use portcullis_tests::door::Door;
use portcullis_tests::lag::Lag;
use portcullis_tests::{PATIENCE, until};
use tokio::time::{Instant, sleep};

const ROUNDS: usize = 8;
/// What the design promises.
const PROMISED: Duration = Duration::from_secs(5);

/// Clients, those before `revoked` with their first certificates revoked.
fn spec(serials: &[String], revoked: usize) -> String {
    let clients: Vec<_> = (0..ROUNDS)
        .map(|number| match serials.get(number).filter(|_| number < revoked) {
            Some(serial) => format!("{{name: c{number}, revoke: ['{serial}']}}"),
            None => format!("{{name: c{number}}}"),
        })
        .collect();
    format!(
        "{{replicas: 3, clients: [{}], backends: [{{name: httpbin, match: {{pathPrefix: /}}, service: {{name: httpbin, port: 80}}}}]}}",
        clients.join(", ")
    )
}

fn serials(gateway: &Gateway) -> Vec<String> {
    let status = gateway.status.as_ref().unwrap();
    status.clients.iter().map(|client| client.certificate.serial.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stolen_certificate_has_open_is_cut_at_once_and_its_owner_goes_on_with_a_new_one() {
    let door = Door::ready(&spec(&[], 0)).await;
    let before = serials(&door.until_ready().await);
    let (mut took, lag) = (Vec::new(), Lag::begin());
    for number in 0..ROUNDS {
        let bundle = door.bundle(&format!("c{number}")).await;
        door.until_code(&bundle, "/status/200", "200").await;
        let written = bundle.join("received");
        let version = if number % 2 == 0 { "--http2" } else { "--http1.1" };
        let more = ["--no-buffer", version, "--output", written.to_str().unwrap()];
        let path = "/drip?duration=40&numbytes=400&delay=0";
        let revoking = async {
            let began = Instant::now();
            while std::fs::metadata(&written).map_or(0, |it| it.len()) == 0 {
                assert!(began.elapsed() < PATIENCE, "nothing has come yet");
                sleep(Duration::from_millis(20)).await;
            }
            let asked = Instant::now();
            door.apply(&spec(&before, number + 1)).await;
            (Instant::now(), asked.elapsed())
        };
        let lagged = lag.so_far();
        let (cut, (revoked, write)) =
            tokio::join!(async { (door.curl(Some(&bundle), path, &more).await, Instant::now()) }, revoking);
        let (output, ended) = cut;
        assert!(!output.status.success(), "it went on to its end");
        took.push(ended.saturating_duration_since(revoked));
        // The operator writes a few times, each of which takes as long as ours did.
        let (at_most, last) = (PROMISED + lag.so_far() - lagged + 5 * write, took[number]);
        assert!(last <= at_most, "cut after {last:?}, not {at_most:?}");
        // The replica that it was cut by knows; the status says when they all do.
        until(&door.client, &door.namespace, "door", |gateway| {
            let mut revocations = gateway.status.iter().flat_map(|status| &status.revocations);
            revocations.any(|it| it.serial == before[number] && it.enforced_at.is_some())
        })
        .await;
        door.turned_away(Some(&bundle), "/status/200", "certificate revoked").await;
    }
    took.sort();
    println!(
        "from the write to the cut, {ROUNDS} times: {:?} in the middle, {:?} at most",
        took[ROUNDS / 2],
        took[ROUNDS - 1]
    );

    let began = Instant::now();
    let enforced = loop {
        let status = door.until_ready().await.status.unwrap();
        if status.revocations.len() == ROUNDS && status.revocations.iter().all(|it| it.enforced_at.is_some())
        {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "{:#?}", status.revocations);
        sleep(Duration::from_millis(100)).await;
    };
    assert!(enforced.clients.iter().all(|client| !before.contains(&client.certificate.serial)));
    for number in 0..ROUNDS {
        let renewed = door.bundle(&format!("c{number}")).await;
        assert_eq!(door.code(&renewed, "/status/200").await, "200");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_takes_back_all_that_a_client_has_and_says_when_every_replica_had() {
    let spec = "{clients: [{name: ci}, {name: laptop}], backends: [{name: httpbin, match: {pathPrefix: /}, service: {name: httpbin, port: 80}}]}";
    let door = Door::ready(spec).await;
    let home = Home::new();
    let (object, stolen) = (format!("{}/door", door.namespace), door.bundle("laptop").await);
    door.until_code(&stolen, "/status/200", "200").await;
    let before = serials(&door.until_ready().await);

    let revoked = home.json(&["revoke", &object, "laptop", "--timeout", "2m"]).await;
    let revoked = revoked["items"].as_array().unwrap();
    assert_eq!(revoked.len(), 1, "{revoked:?}");
    assert_eq!(revoked[0]["serial"], before[1].as_str());
    assert!(revoked[0]["enforcedAt"].is_string(), "{revoked:?}");
    door.turned_away(Some(&stolen), "/status/200", "certificate revoked").await;

    let after = door.until_ready().await;
    assert_eq!(serials(&after)[0], before[0], "another client's certificate was changed");
    let renewed = door.bundle("laptop").await;
    door.until_code(&renewed, "/status/200", "200").await;
    assert_eq!(door.code(&door.bundle("ci").await, "/status/200").await, "200");

    let unknown = home.fails(&["revoke", &object, "phone"], 3).await;
    assert!(unknown.contains("there are: ci, laptop"), "{unknown}");
}

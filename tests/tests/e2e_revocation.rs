//! Certificates that are revoked while they are in use, on three replicas of a real cluster, one of them slow: from the
//! write to the cut.

use std::time::Duration;

use futures::StreamExt as _;
use portcullis_api::Gateway;
use portcullis_tests::command::Home;
use portcullis_tests::door::Door;
use portcullis_tests::lag::Lag;
use portcullis_tests::mutual::{Bundle, Caller, configured, connecting};
use portcullis_tests::process::Process;
use portcullis_tests::replica::secret;
use portcullis_tests::{PATIENCE, tunnel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How many certificates are revoked, one after the other; more of them: `PORTCULLIS_REVOCATIONS=100`.
const ROUNDS: usize = 8;
/// What the design promises.
const PROMISED: Duration = Duration::from_secs(5);
/// The slow replica stands for so long, then runs for so long.
const SLOW: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(100));

/// Clients, those before `revoked` with their first certificates revoked.
fn spec(rounds: usize, serials: &[String], revoked: usize) -> String {
    let clients: Vec<_> = (0..rounds)
        .map(|number| {
            let revoke = match serials.get(number).filter(|_| number < revoked) {
                Some(serial) => format!(", revoke: ['{serial}']"),
                None => String::new(),
            };
            format!("{{name: c{number}, roles: [user], scopes: ['tunnel:write']{revoke}}}")
        })
        .collect();
    format!(
        "{{replicas: 3, tunnels: {{domain: t.example.com}}, clients: [{}], backends: [{{name: httpbin, match: {{pathPrefix: /}}, service: {{name: httpbin, port: 80}}}}]}}",
        clients.join(", ")
    )
}

fn serials(gateway: &Gateway) -> Vec<String> {
    let status = gateway.status.as_ref().unwrap();
    status.clients.iter().map(|client| client.certificate.serial.clone()).collect()
}

/// What a certificate has open, each a task that ends when it is cut.
async fn opened(
    caller: &Caller,
    door: &Door,
    bundle: &Bundle,
    name: &str,
) -> [(&'static str, JoinHandle<()>); 3] {
    let (mut sender, carried) = caller.http2(configured(bundle, b"h2")).await.unwrap();
    let answer = sender.send_request(caller.request("/drip?duration=40&numbytes=400&delay=0")).await.unwrap();
    assert_eq!(answer.status(), 200);
    let stream = tokio::spawn(async move {
        // Both are kept until the connection is cut.
        let _held = (sender, answer);
        drop(carried.await);
    });

    let tls = caller.tls(configured(bundle, b"http/1.1")).await.unwrap();
    let url = format!("wss://{}/websocket/echo", door.host());
    let (mut socket, _) = tokio_tungstenite::client_async(url, tls).await.unwrap();
    let socket = tokio::spawn(async move { while socket.next().await.is_some_and(|it| it.is_ok()) {} });

    let place = (door.namespace.as_str(), name);
    let connector = caller.connector(connecting(bundle), place, ENDPOINT).await.unwrap();
    let connector = tokio::spawn(async move { drop(connector.await) });
    [("stream", stream), ("WebSocket", socket), ("connector", connector)]
}

const ENDPOINT: &str = "http://127.0.0.1:9";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stolen_certificate_has_open_is_cut_at_once_and_its_owner_goes_on_with_a_new_one() {
    let rounds = std::env::var("PORTCULLIS_REVOCATIONS").map_or(ROUNDS, |it| it.parse().unwrap());
    let door = Door::ready(&spec(rounds, &[], 0)).await;
    let caller = Caller::to(&door).await;
    let before = serials(&door.until_ready().await);
    let tunnel_spec =
        format!("{{gatewayRef: {{name: door}}, label: web, endpoint: '{ENDPOINT}', access: {{auth: None}}}}");
    tunnel::apply(&door.client, &door.namespace, "web", &tunnel_spec).await;
    tunnel::until(&door.client, &door.namespace, "web", ["Programmed", "True", "Programmed"]).await;
    door.until_code(&door.bundle("c0").await, "/status/200", "200").await;

    let over = CancellationToken::new();
    let slow = Process::of_pod(&door.pods().await[0]).is_slow(SLOW.0, SLOW.1, over.clone());
    let slow = tokio::spawn(slow);
    let (mut took, lag) = (Vec::<(Duration, &str)>::new(), Lag::begin());
    for number in 0..rounds {
        let name = format!("c{number}");
        let bundle = secret(&door.client, &door.namespace, &format!("door-client-{name}")).await;
        let tickets = configured(&bundle, b"h2");
        let (mut sender, carried) = caller.http2(tickets.clone()).await.unwrap();
        assert_eq!(sender.send_request(caller.request("/status/200")).await.unwrap().status(), 200);
        drop(sender);
        drop(carried.await);
        let open = opened(&caller, &door, &bundle, "web").await;
        assert!(open.iter().all(|(_, task)| !task.is_finished()), "cut before it was revoked");
        let (asked, lagged) = (Instant::now(), lag.so_far());
        door.apply(&spec(rounds, &before, number + 1)).await;
        let (written, write) = (Instant::now(), asked.elapsed());
        let mut cuts = JoinSet::new();
        for (kind, task) in open {
            cuts.spawn(async move {
                timeout(PATIENCE, task).await.unwrap_or_else(|_| panic!("the {kind} was never cut")).unwrap();
                (written.elapsed(), kind)
            });
        }
        took.extend(cuts.join_all().await);
        // The operator writes a few times, each of which takes as long as ours did.
        let at_most = PROMISED + lag.so_far().saturating_sub(lagged) + 5 * write;
        let last = &took[took.len() - 3..];
        assert!(last.iter().all(|it| it.0 <= at_most), "cut after {last:?}, not {at_most:?}");
        door.until_enforced(&before[number]).await;
        for _ in 0..3 {
            let again = match caller.http2(tickets.clone()).await {
                // With TLS 1.3 a client learns of it once it has asked.
                Ok((mut sender, _)) => sender.send_request(caller.request("/status/200")).await.is_ok(),
                Err(_) => false,
            };
            assert!(!again, "a session was resumed with a revoked certificate");
        }
        let stolen = door.kept(&format!("stolen-{name}"), &bundle);
        door.turned_away(Some(&stolen), "/status/200", "certificate revoked").await;
    }
    over.cancel();
    slow.await.unwrap();
    took.sort();
    for kind in ["stream", "WebSocket", "connector"] {
        let of: Vec<_> = took.iter().filter(|it| it.1 == kind).map(|it| it.0).collect();
        println!(
            "from the write to the cut of a {kind}, {} times: p50 {:?}, p99 {:?}, at most {:?}",
            of.len(),
            of[of.len() / 2],
            of[(of.len() * 99).div_ceil(100) - 1],
            of[of.len() - 1]
        );
    }

    let after = door.until_ready().await;
    assert!(serials(&after).iter().all(|serial| !before.contains(serial)));
    for number in 0..rounds.min(ROUNDS) {
        let renewed = door.bundle(&format!("c{number}")).await;
        door.until_code(&renewed, "/status/200", "200").await;
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

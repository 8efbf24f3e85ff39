//! What changes while connections are open: certificates, trust, clients, time; and how a replica stops.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::TokioIo;
use portcullis_contract::snapshot::Protocol;
use portcullis_protocol::clock::Clock;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::backend::reply;
use crate::support::caller::Error;
use crate::support::door::{Plan, backend, client, prefix};
use crate::support::{Answer, Backend, Door, body, eventually, pki, request, soon};

/// SHA-256 of the certificate that a new connection is shown.
async fn shown(door: &Door) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    let stream = door.tls(&door.ci, "h2").await;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    sha2::Sha256::digest(&chain[0]).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_while_open_ones_go_on() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    let (mut one, mut two) = (door.http1().await, door.http2().await);
    assert_eq!(one.get("/").await.status, 200);
    assert_eq!(shown(&door).await, door.server.facts.fingerprint);
    let renewed = pki::server(&door.server_ca);
    door.write_pair(&renewed);
    eventually("the new certificate is shown", || async { shown(&door).await == renewed.facts.fingerprint })
        .await;
    assert_eq!(one.get("/").await.status, 200);
    assert_eq!(two.get("/").await.status, 200);
    #[expect(clippy::cast_precision_loss, reason = "a time of this century")]
    let expiry = renewed.facts.not_after.unix_timestamp() as f64;
    door.counted("portcullis_gateway_certificate_expiry_timestamp_seconds{door=\"own\"}", expiry).await;
}

#[tokio::test]
async fn a_half_written_pair_is_ignored_until_it_matches() {
    let door = Plan::new(Vec::new()).start().await;
    let renewed = pki::server(&door.server_ca);
    let path = |name: &str| door.directory.path().join(name);
    std::fs::write(path("tls.crt"), &renewed.certificate_pem).unwrap();
    // Long enough for the files to have been looked at: the snapshot beside them is read in the same rhythm.
    let applied = "portcullis_gateway_snapshots_applied_total";
    for round in 0..2 {
        let mut snapshot = door.snapshot.clone();
        snapshot.clients.push(client(&format!("round-{round}")));
        std::fs::write(path("snapshot.json"), snapshot.to_json().unwrap()).unwrap();
        door.counted(applied, f64::from(2 + round)).await;
    }
    assert_eq!(shown(&door).await, door.server.facts.fingerprint);
    std::fs::write(path("tls.key"), renewed.key.expose()).unwrap();
    eventually("the new certificate is shown", || async { shown(&door).await == renewed.facts.fingerprint })
        .await;
}

/// Pieces of a body; it lasts as long as they do.
pub(crate) type Pieces = mpsc::Sender<Result<Frame<Bytes>, Error>>;

/// Answers `/endless` with a body whose end it leaves to the test, and all else at once.
pub(crate) async fn endless() -> (Backend, mpsc::Receiver<Pieces>) {
    let (bodies, began) = mpsc::channel(4);
    let backend = Backend::new(move |request: Request<hyper::body::Incoming>| {
        let bodies = bodies.clone();
        async move {
            if request.uri().path() != "/endless" {
                return Ok(reply("short"));
            }
            let (pieces, stream) = mpsc::channel(1);
            pieces.send(Ok(Frame::data(Bytes::from_static(b"x")))).await?;
            bodies.send(pieces).await?;
            Ok(Response::new(StreamBody::new(ReceiverStream::new(stream)).boxed()))
        }
    })
    .await;
    (backend, began)
}

/// Whether a body breaks off, rather than ends.
pub(crate) async fn breaks_off(response: &mut Response<hyper::body::Incoming>) -> bool {
    soon("the stream ends", async {
        while let Some(frame) = response.body_mut().frame().await {
            if frame.is_err() {
                return true;
            }
        }
        false
    })
    .await
}

#[tokio::test]
async fn a_client_that_is_removed_is_denied_on_its_open_connections_too() {
    let (endless, mut began) = endless().await;
    let mut plan = Plan::new(vec![backend("api", prefix("/"), endless.address, Protocol::Http1)]);
    plan.snapshot.clients.push(client("dev"));
    let mut door = plan.start().await;
    let dev = pki::client(&door.client_ca, "dev");
    let (mut ci, mut theirs) = (door.http2().await, door.http2_of(&dev).await);
    assert_eq!(ci.get("/").await.status, 200);
    assert_eq!(theirs.get("/").await.status, 200);
    let mut endless = theirs.send(request("/endless")).await.unwrap();
    let _held = soon("it began", began.recv()).await.unwrap();
    door.snapshot.clients.retain(|client| client.name == "ci");
    door.write_snapshot();
    // What was in flight is cut, and a new connection opens nothing.
    assert!(breaks_off(&mut endless).await);
    assert_eq!(door.http1_of(&dev).await.get("/").await.status, 403);
    assert_eq!(door.http2_of(&dev).await.get("/").await.status, 403);
    assert_eq!(ci.get("/").await.status, 200);
    // Let in again, it comes in again.
    door.snapshot.clients.push(client("dev"));
    door.write_snapshot();
    let mut back = door.http2_of(&dev).await;
    eventually("dev is back", || {
        let mut back = back.clone();
        async move { back.get("/").await.status == 200 }
    })
    .await;
    assert_eq!(back.get("/").await.status, 200);
}

#[tokio::test]
async fn a_changed_role_reaches_open_connections() {
    let echo = Backend::echo().await;
    let mut door = Door::to_http1(echo.address).await;
    let caller = door.http2().await;
    door.snapshot.clients[0].roles = vec!["reader".to_owned()];
    door.write_snapshot();
    eventually("the role has changed", || {
        let mut caller = caller.clone();
        async move { caller.get("/").await.json::<crate::support::Seen>().all("x-portcullis-roles") == ["reader"] }
    })
    .await;
}

#[tokio::test]
async fn trust_that_is_taken_away_closes_the_door_and_ends_resumption() {
    let echo = Backend::echo().await;
    let mut door = Door::to_http1(echo.address).await;
    let old = pki::client_config(&door.server_ca, Some(&door.ci), "h2");
    let next = pki::authority("next clients");
    let theirs = pki::client(&next, "ci");
    // Old and new, then new alone: how an authority is rotated.
    door.snapshot.trust.push(next.certificate_pem.clone());
    door.write_snapshot();
    let new = || pki::client_config(&door.server_ca, Some(&theirs), "h2");
    eventually("the new authority counts", || async { served(&door, new()).await }).await;
    assert!(served(&door, old.clone()).await, "the old one still counts");
    door.snapshot.trust.remove(0);
    door.write_snapshot();
    // The same configuration keeps its session tickets, and would resume with them.
    eventually("the old authority no longer counts", || async { !served(&door, old.clone()).await }).await;
    let new = pki::client_config(&door.server_ca, Some(&theirs), "h2");
    assert!(served(&door, new).await);
}

pub(crate) async fn served(door: &Door, config: rustls::ClientConfig) -> bool {
    let Ok(stream) = door.tls_with(config).await else { return false };
    let Ok((mut sender, connection)) = hyper::client::conn::http2::handshake::<
        _,
        _,
        crate::support::caller::Body,
    >(hyper_util::rt::TokioExecutor::new(), TokioIo::new(stream))
    .await
    else {
        return false;
    };
    tokio::spawn(connection);
    let request = Request::get("https://a/").body(body("")).unwrap();
    sender.send_request(request).await.is_ok_and(|response| response.status() == 200)
}

#[tokio::test]
async fn a_certificate_that_expires_on_an_open_connection_no_longer_counts() {
    let echo = Backend::echo().await;
    let mut plan = Plan::new(vec![backend("api", prefix("/"), echo.address, Protocol::Http1)]);
    let clock = Clock::manual(pki::now().unix_timestamp());
    plan.options.clock = clock.clone();
    let door = plan.start().await;
    let mut caller = door.http2().await;
    assert_eq!(caller.get("/").await.status, 200);
    clock.set(door.ci.facts.not_after.unix_timestamp());
    assert_eq!(caller.get("/").await.status, 200);
    clock.set(door.ci.facts.not_after.unix_timestamp() + 1);
    assert_eq!(caller.get("/").await.status, 403);
    assert_eq!(caller.get("/healthz").await.status, 200);
    door.counted("portcullis_gateway_denials_total{reason=\"expired\"}", 1.0).await;
}

#[tokio::test]
async fn a_certificate_that_expires_ends_open_streams_of_both_protocols() {
    let (endless, mut began) = endless().await;
    let mut plan = Plan::new(vec![backend("api", prefix("/"), endless.address, Protocol::Http1)]);
    let clock = Clock::manual(pki::now().unix_timestamp());
    plan.options.clock = clock.clone();
    // How often the gateway looks at a clock that jumps.
    plan.options.limits.header_time = Duration::from_millis(50);
    let door = plan.start().await;
    let (mut one, mut two) = (door.http1().await, door.http2().await);
    let mut first = one.send(request("/endless")).await.unwrap();
    let mut second = two.send(request("/endless")).await.unwrap();
    let _held = (soon("it began", began.recv()).await, soon("it began", began.recv()).await);
    clock.set(door.ci.facts.not_after.unix_timestamp() + 1);
    assert!(breaks_off(&mut first).await);
    assert!(breaks_off(&mut second).await);
    door.counted_down("portcullis_gateway_connections_open", 0.0).await;
}

#[tokio::test]
async fn streams_of_an_authority_that_is_no_longer_trusted_are_cut() {
    let (endless, mut began) = endless().await;
    let mut door = Door::to_http1(endless.address).await;
    let next = pki::authority("next clients");
    let mut old = door.http2().await;
    let mut cut = old.send(request("/endless")).await.unwrap();
    let _held = soon("it began", began.recv()).await;
    door.snapshot.trust.push(next.certificate_pem.clone());
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 2.0).await;
    assert_eq!(old.get("/").await.status, 200, "the old one still counts");
    let mut new = door.http2_of(&pki::client(&next, "ci")).await;
    assert_eq!(new.get("/").await.status, 200);
    door.snapshot.trust.remove(0);
    door.write_snapshot();
    assert!(breaks_off(&mut cut).await);
    assert_eq!(new.get("/").await.status, 200);
}

#[tokio::test]
async fn an_authority_that_is_retired_lets_nobody_in_and_what_it_let_in_goes_on() {
    let (endless, mut began) = endless().await;
    let mut door = Door::to_http1(endless.address).await;
    let next = pki::authority("next clients");
    let mut old = door.http2().await;
    let mut stream = old.send(request("/endless")).await.unwrap();
    let _held = soon("it began", began.recv()).await;
    let retired = door.snapshot.trust.remove(0);
    door.snapshot.trust.push(next.certificate_pem.clone());
    door.snapshot.retired.push(retired);
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 2.0).await;
    assert_eq!(old.get("/").await.status, 200, "what is open goes on, new requests too");
    let again = pki::client_config(&door.server_ca, Some(&door.ci), "h2");
    assert!(!served(&door, again).await, "a certificate of a retired authority opened something");
    let mut new = door.http2_of(&pki::client(&next, "ci")).await;
    assert_eq!(new.get("/").await.status, 200);
    door.snapshot.retired.clear();
    door.write_snapshot();
    assert!(breaks_off(&mut stream).await, "without it, nobody vouches for what is open");
    assert_eq!(new.get("/").await.status, 200);
}

#[tokio::test]
async fn a_snapshot_file_that_is_wrong_changes_nothing() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    std::fs::write(door.directory.path().join("snapshot.json"), b"{").unwrap();
    door.counted("portcullis_gateway_snapshots_rejected_total", 1.0).await;
    assert_eq!(door.http1().await.get("/").await.status, 200);
}

#[tokio::test]
async fn without_a_snapshot_and_without_an_operator_there_is_no_gateway() {
    let plan = Plan::new(Vec::new());
    let error = portcullis_gateway::start(plan.options).await.err().unwrap();
    assert!(error.to_string().starts_with("failed to read the snapshot"), "{error}");
    let mut plan = Plan::new(Vec::new());
    plan.snapshot.trust.clear();
    std::fs::write(&plan.options.snapshot, plan.snapshot.to_json().unwrap()).unwrap();
    let error = portcullis_gateway::start(plan.options).await.err().unwrap();
    assert!(error.to_string().contains("trusts no authority"), "{error}");
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_then_ends() {
    let (bodies, mut began) = mpsc::channel(4);
    let slow = Backend::new(move |_| {
        let bodies = bodies.clone();
        async move {
            let (pieces, stream) = mpsc::channel(1);
            bodies.send(pieces).await?;
            Ok(Response::new(StreamBody::new(ReceiverStream::new(stream)).boxed()))
        }
    })
    .await;
    let mut door = Door::to_http1(slow.address).await;
    let (mut one, mut two, mut idle) = (door.http1().await, door.http2().await, door.http2().await);
    idle.get("/healthz").await;
    let (first, second) = (one.send(request("/")).await.unwrap(), two.send(request("/")).await.unwrap());
    let (health, address) = (door.health, door.address);
    door.stop.cancel();
    eventually("it is not ready", || async {
        door.admin(health, "/readyz").await == (503, "draining\n".to_owned())
    })
    .await;
    assert_eq!(door.admin(health, "/healthz").await.0, 200);
    eventually("idle connections are closed", || async { idle.0.is_closed() }).await;
    eventually("no new ones are accepted", || async {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    let stopped = door.stopped.take().unwrap();
    assert!(!stopped.is_finished());
    for _ in 0..2 {
        let pieces = soon("a body", began.recv()).await.unwrap();
        pieces.send(Ok(Frame::data(Bytes::from_static(b"finished")))).await.unwrap();
    }
    assert_eq!(Answer::of(first).await.unwrap().text, "finished");
    assert_eq!(Answer::of(second).await.unwrap().text, "finished");
    soon("the gateway ends", stopped).await.unwrap();
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let stuck = Backend::new(|_| std::future::pending()).await;
    let mut plan = Plan::new(vec![backend("api", prefix("/"), stuck.address, Protocol::Http1)]);
    plan.options.drain_timeout = Duration::from_millis(200);
    let door = plan.start().await;
    let mut caller = door.http2().await;
    let asking = tokio::spawn(async move { caller.send(request("/")).await.map(drop) });
    eventually("it is in flight", || async { stuck.opened() == 1 }).await;
    let mut silent = door.tls(&door.ci, "http/1.1").await;
    door.close().await;
    assert!(soon("the request fails", asking).await.unwrap().is_err());
    assert!(soon("it is closed", silent.read_u8()).await.is_err());
}

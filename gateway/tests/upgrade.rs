//! WebSocket and other upgrades, end to end.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use portcullis_contract::snapshot::Protocol;
use portcullis_pki::Leaf;
use portcullis_protocol::clock::Clock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;

use crate::support::backend::Reply;
use crate::support::caller::Error;
use crate::support::caller::exchange;
use crate::support::door::{Plan, backend, client, prefix};
use crate::support::{Backend, Door, Seen, body, eventually, pki, request, soon};

/// Switches to whatever is asked for and answers each byte with itself; says what it was told first.
pub(crate) async fn parrot() -> Backend {
    Backend::new(|mut request: Request<Incoming>| async move {
        let Some(protocol) = request.headers().get("upgrade").cloned() else {
            let mut refusal = crate::support::backend::reply("ask for an upgrade");
            *refusal.status_mut() = StatusCode::UPGRADE_REQUIRED;
            return Ok::<Reply, Error>(refusal);
        };
        let told = [
            request.method().to_string(),
            field(&request, "x-portcullis-user"),
            field(&request, "sec-websocket-protocol"),
            (!field(&request, "sec-websocket-key").is_empty()).to_string(),
        ]
        .join(" ");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            io.write_all(format!("{told}\n").as_bytes()).await.unwrap();
            let (mut read, mut write) = tokio::io::split(io);
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.write_all(b"bye").await;
            let _ = write.shutdown().await;
        });
        let mut response = Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("upgrade", protocol);
        response.headers_mut().insert("connection", "upgrade".parse()?);
        response.headers_mut().insert("sec-websocket-accept", "for the key".parse()?);
        Ok(response)
    })
    .await
}

fn field(request: &Request<Incoming>, name: &str) -> String {
    request.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

async fn line(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(soon("a byte", io.read_u8()).await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

pub(crate) async fn talk(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    for word in ["hello\n", "again\n"] {
        io.write_all(word.as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(line(io).await, word);
    }
}

fn websocket() -> Request<crate::support::caller::Body> {
    let mut sent = request("/chat");
    for (name, value) in [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "chat"),
        ("x-portcullis-user", "evil"),
    ] {
        sent.headers_mut().insert(name, value.parse().unwrap());
    }
    sent
}

/// A WebSocket over HTTP/1.1 that has said its first words.
pub(crate) async fn chat(door: &Door, client: &Leaf) -> TokioIo<Upgraded> {
    let response = door.http1_of(client).await.send(websocket()).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    line(&mut io).await;
    talk(&mut io).await;
    io
}

/// Nothing more comes of it: an end, or an error.
pub(crate) async fn is_cut(io: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let _ = soon("it is cut", io.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{rest:?}");
}

pub(crate) fn to_parrot(parrot: &Backend) -> Plan {
    Plan::new(vec![backend("api", prefix("/"), parrot.address, Protocol::Http1)])
}

#[tokio::test]
async fn a_client_that_is_removed_loses_its_websocket_and_the_others_keep_theirs() {
    let parrot = parrot().await;
    let mut plan = to_parrot(&parrot);
    plan.snapshot.clients.push(client("dev"));
    let mut door = plan.start().await;
    let dev = pki::client(&door.client_ca, "dev");
    let (mut ours, mut theirs) = (chat(&door, &door.ci).await, chat(&door, &dev).await);
    door.snapshot.clients.retain(|client| client.name == "ci");
    door.write_snapshot();
    is_cut(&mut theirs).await;
    talk(&mut ours).await;
}

#[tokio::test]
async fn a_websocket_whose_authority_is_no_longer_trusted_is_cut() {
    let parrot = parrot().await;
    let mut door = to_parrot(&parrot).start().await;
    let mut old = chat(&door, &door.ci).await;
    let next = pki::authority("next clients");
    door.snapshot.trust.push(next.certificate_pem.clone());
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 2.0).await;
    let mut new = chat(&door, &pki::client(&next, "ci")).await;
    talk(&mut old).await;
    door.snapshot.trust.remove(0);
    door.write_snapshot();
    is_cut(&mut old).await;
    talk(&mut new).await;
}

#[tokio::test]
async fn a_websocket_ends_with_its_certificate() {
    let parrot = parrot().await;
    let mut plan = to_parrot(&parrot);
    let clock = Clock::manual(pki::now().unix_timestamp());
    plan.options.clock = clock.clone();
    // How often the gateway looks at a clock that jumps.
    plan.options.limits.header_time = Duration::from_millis(50);
    let door = plan.start().await;
    let mut io = chat(&door, &door.ci).await;
    clock.set(door.ci.facts.not_after.unix_timestamp());
    talk(&mut io).await;
    clock.set(door.ci.facts.not_after.unix_timestamp() + 1);
    is_cut(&mut io).await;
}

#[tokio::test]
async fn a_websocket_keeps_its_connection_s_place_until_it_ends() {
    let parrot = parrot().await;
    let mut plan = to_parrot(&parrot);
    plan.options.limits.connections = 1;
    let door = plan.start().await;
    let mut io = chat(&door, &door.ci).await;
    assert!((door.metric("portcullis_gateway_connections_open").await - 1.0).abs() < 0.1);
    let refused = exchange(door.tcp().await, b"").await;
    assert_eq!(refused.first(), Some(&0x15), "a TLS alert");
    talk(&mut io).await;
    drop(io);
    eventually("there is room again", || async {
        let config = pki::client_config(&door.server_ca, Some(&door.ci), "h2");
        door.tls_with(config).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_drain_waits_for_a_websocket() {
    let parrot = parrot().await;
    let mut door = to_parrot(&parrot).start().await;
    let mut io = chat(&door, &door.ci).await;
    door.stop.cancel();
    eventually("no new connections are accepted", || async {
        tokio::net::TcpStream::connect(door.address).await.is_err()
    })
    .await;
    talk(&mut io).await;
    drop(io);
    soon("the gateway ends", door.stopped.take().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_websocket_that_outlasts_the_drain_is_cut() {
    let parrot = parrot().await;
    let mut plan = to_parrot(&parrot);
    plan.options.drain_timeout = Duration::from_millis(200);
    let door = plan.start().await;
    let mut io = chat(&door, &door.ci).await;
    door.close().await;
    is_cut(&mut io).await;
}

#[tokio::test]
async fn a_websocket_talks_through_and_each_side_may_close_first() {
    let parrot = parrot().await;
    let door = Door::to_http1(parrot.address).await;
    let response = door.http1().await.send(websocket()).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["sec-websocket-accept"], "for the key");
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    assert_eq!(line(&mut io).await, "GET ci@shop chat true\n");
    talk(&mut io).await;
    // Half closed: what the backend still says arrives.
    io.shutdown().await.unwrap();
    let mut rest = String::new();
    soon("the end", io.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "bye");
}

#[tokio::test]
async fn other_protocols_are_upgraded_to_as_well() {
    let parrot = parrot().await;
    let door = Door::to_http1(parrot.address).await;
    let mut sent = request("/");
    sent.headers_mut().insert("connection", "upgrade".parse().unwrap());
    sent.headers_mut().insert("upgrade", "SPDY/3.1".parse().unwrap());
    let response = door.http1().await.send(sent).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    assert_eq!(line(&mut io).await, "GET ci@shop  false\n");
    talk(&mut io).await;
}

#[tokio::test]
async fn h2c_is_never_upgraded_to() {
    let parrot = parrot().await;
    let door = Door::to_http1(parrot.address).await;
    let mut sent = request("/");
    for (name, value) in
        [("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")]
    {
        sent.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = door.http1().await.ask(sent).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (426, "ask for an upgrade"));
}

#[tokio::test]
async fn a_websocket_over_http_2_reaches_an_http_1_backend() {
    let parrot = parrot().await;
    let door = Door::to_http1(parrot.address).await;
    let mut caller = door.http2().await;
    // The server's SETTINGS have come once a request has been answered.
    caller.get("/healthz").await;
    let mut sent = Request::connect("https://door.example/chat")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .header("x-portcullis-user", "evil")
        .body(body(""))
        .unwrap();
    sent.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    let response = caller.send(sent).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    assert_eq!(line(&mut io).await, "GET ci@shop chat true\n");
    talk(&mut io).await;
    // The connection serves others at the same time.
    assert_eq!(caller.get("/healthz").await.status, 200);
    io.shutdown().await.unwrap();
    let mut rest = String::new();
    soon("the end", io.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "bye");
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    let mut caller = door.http1().await;
    let seen: Seen = caller.ask(websocket()).await.json();
    assert_eq!(seen.all("upgrade"), ["websocket"]);
    assert_eq!(caller.get("/").await.status, 200);
}

#[tokio::test]
async fn an_upgrade_to_an_h2c_backend_is_refused_with_a_reason() {
    let echo = Backend::echo().await;
    let door = Plan::new(vec![backend("api", prefix("/"), echo.address, Protocol::H2c)]).start().await;
    let answer = door.http1().await.ask(websocket()).await;
    assert_eq!(answer.status, 501);
    assert!(answer.text.contains("need a backend of protocol HTTP1"), "{}", answer.text);
}

#[tokio::test]
async fn a_backend_that_switches_unasked_is_broken() {
    let eager = Backend::raw(|mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            .await;
        let _ = stream.read(&mut request).await;
    })
    .await;
    let door = Door::to_http1(eager.address).await;
    assert_eq!(door.http1().await.get("/").await.status, 502);
}

#[tokio::test]
async fn an_upgraded_connection_ends_with_its_backend() {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = std::sync::Arc::new(tokio::sync::Mutex::new(Some(stopped)));
    let dying = Backend::raw(move |mut stream| {
        let stopped = std::sync::Arc::clone(&stopped);
        async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
                )
                .await;
            let stopped = stopped.lock().await.take();
            if let Some(stopped) = stopped {
                let _ = stopped.await;
            }
        }
    })
    .await;
    let door = Door::to_http1(dying.address).await;
    let response = door.http1().await.send(websocket()).await.unwrap();
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stop.send(()).unwrap();
    let mut rest = Vec::new();
    let _ = soon("the end", io.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

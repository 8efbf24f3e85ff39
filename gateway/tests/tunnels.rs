//! Tunnels: real connectors dial in, and visitors of public names reach what is next to them.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::TokioIo;
use portcullis_cli::connector::{EndpointTls, Ports, follow};
use portcullis_contract::snapshot::{Auth, RateLimit, UpstreamTls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::backend::reply;
use crate::support::caller::{Answer, Body, Error};
use crate::support::tunnel::{
    Connector, WEB, answers, certificate, get, http, http1, http2, plan, proved_door, settings, tls, told,
    tunnel, visit,
};
use crate::support::{Backend, Endpoint, Seen, body, eventually, nobody, pki, request, soon};

/// What `to_own` and the like need: a gateway, an echo, and a connector between.
async fn web() -> (crate::support::Door, Backend, Connector) {
    let echo = Backend::echo().await;
    let door = plan(vec![tunnel("web", &http(echo.address))]).start().await;
    let connector = Connector::start(&door, "web", &http(echo.address)).await;
    (door, echo, connector)
}

fn piecewise() -> (mpsc::Sender<Result<Frame<Bytes>, Error>>, Body) {
    let (pieces, stream) = mpsc::channel(1);
    (pieces, StreamBody::new(ReceiverStream::new(stream)).boxed())
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_whichever_version_of_http_it_came_by() {
    let (door, _echo, _connector) = web().await;
    let sent = || {
        let mut request = Request::patch("/a/b?x=1&x=2&y=%20").body(body("the body")).unwrap();
        let headers = request.headers_mut();
        for (name, value) in [
            ("host", WEB),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-portcullis-user", "evil"),
            ("portcullis-tunnel", "evil"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        request
    };
    let answers = [http1(&door, WEB).await.ask(sent()).await, http2(&door, WEB).await.ask(sent()).await];
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let seen: Seen = answer.json();
        assert_eq!(
            (seen.method.as_str(), seen.uri.as_str(), seen.body.as_str()),
            ("PATCH", "/a/b?x=1&x=2&y=%20", "the body")
        );
        assert_eq!(seen.all("x-a"), ["1", "2"]);
        assert_eq!(seen.all("host"), [WEB]);
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
        assert!(seen.all("x-portcullis-user").is_empty() && seen.all("portcullis-tunnel").is_empty());
    }
}

#[tokio::test]
async fn bodies_and_trailers_stream_both_ways() {
    let mirror = Backend::new(|request| async move {
        Ok::<_, Error>(Response::new(request.into_body().map_err(Into::into).boxed()))
    })
    .await;
    for scheme in ["http", "h2c"] {
        let endpoint = format!("{scheme}://localhost:{}", mirror.address.port());
        let door = plan(vec![tunnel("web", &endpoint)]).start().await;
        let _connector = Connector::start(&door, "web", &endpoint).await;
        let (pieces, body) = piecewise();
        let sent =
            Request::post("/a").header("host", WEB).header("te", "trailers").header("trailer", "x-end");
        pieces.send(Ok(Frame::data(Bytes::from_static(b"first")))).await.unwrap();
        let mut response = http2(&door, WEB).await.send(sent.body(body).unwrap()).await.unwrap();
        let next = soon("a frame", response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(next.into_data().unwrap(), "first");
        pieces.send(Ok(Frame::data(Bytes::from_static(b"second")))).await.unwrap();
        let next = soon("a frame", response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(next.into_data().unwrap(), "second");
        let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), "yes".parse().unwrap())]);
        if scheme == "h2c" {
            pieces.send(Ok(Frame::trailers(trailers))).await.unwrap();
        }
        drop(pieces);
        let answer = Answer::of(response).await.unwrap();
        let ended = answer.trailers.get("x-end").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(ended.as_deref(), (scheme == "h2c").then_some("yes"), "{scheme}");
    }
}

#[tokio::test]
async fn a_websocket_goes_through_from_either_version_of_http() {
    let parrot = Backend::new(|mut request: Request<hyper::body::Incoming>| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        assert!(request.headers().contains_key("sec-websocket-key"));
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let mut response = reply("");
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("upgrade", "websocket".parse()?);
        response.headers_mut().insert("connection", "upgrade".parse()?);
        response.headers_mut().insert("sec-websocket-accept", "for the key".parse()?);
        Ok::<_, Error>(response)
    })
    .await;
    let door = plan(vec![tunnel("web", &http(parrot.address))]).start().await;
    let _connector = Connector::start(&door, "web", &http(parrot.address)).await;
    let mut sent = get(WEB, "/chat");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "k"),
        ("sec-websocket-version", "13"),
    ] {
        sent.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = http1(&door, WEB).await.send(sent).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["sec-websocket-accept"]),
        (101, &"for the key".parse().unwrap())
    );
    let over_http1 = hyper::upgrade::on(response).await.unwrap();
    let mut sent = Request::connect(format!("https://{WEB}/chat")).body(body("")).unwrap();
    sent.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    let response = http2(&door, WEB).await.send(sent).await.unwrap();
    assert_eq!(response.status(), 200);
    let over_http2 = hyper::upgrade::on(response).await.unwrap();
    for upgraded in [over_http1, over_http2] {
        let mut io = TokioIo::new(upgraded);
        let mut heard = [0; 5];
        io.write_all(b"hello").await.unwrap();
        io.flush().await.unwrap();
        soon("an echo", io.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"hello");
    }
}

#[tokio::test]
async fn a_connection_for_names_of_one_kind_carries_no_request_for_the_other() {
    let (door, _echo, _connector) = web().await;
    for host in ["localhost", "door.example", "t.example.com.evil.org"] {
        assert_eq!(http1(&door, WEB).await.ask(get(host, "/")).await.status, 421, "{host}");
        assert_eq!(http2(&door, WEB).await.ask(get(host, "/healthz")).await.status, 421, "{host}");
    }
    for host in [WEB, "WEB.T.Example.com.:443", "nobody.t.example.com"] {
        assert_eq!(door.http1().await.ask(get(host, "/")).await.status, 421, "{host}");
        assert_eq!(door.http2().await.ask(get(host, "/")).await.status, 421, "{host}");
    }
    // Without a certificate, nobody opens a connection for the gateway's own names.
    assert!(http1(&door, WEB).await.ask(get(WEB, "/_ws_tunnel")).await.json::<Seen>().uri == "/_ws_tunnel");
}

#[tokio::test]
async fn what_is_off_what_is_not_connected_and_what_is_broken_are_three_pages() {
    let (_held, nobody) = nobody();
    let mut off = tunnel("off", &http(nobody));
    off.enabled = false;
    let door =
        plan(vec![off, tunnel("offline", &http(nobody)), tunnel("broken", &http(nobody))]).start().await;
    let _connector = Connector::start(&door, "broken", &http(nobody)).await;
    for (name, status, hop) in [
        ("off", 503, "gateway"),
        ("offline", 503, "connector"),
        ("broken", 502, "endpoint"),
        ("none", 404, "gateway"),
    ] {
        let name = format!("{name}.t.example.com");
        let answer = visit(&door, &name, "/").await;
        let problem: serde_json::Value = answer.json();
        assert_eq!(
            (answer.status.as_u16(), problem["hop"].as_str()),
            (status, Some(hop)),
            "{name}: {problem}"
        );
        assert_eq!(answer.headers.contains_key("retry-after"), status != 404, "{name}");
        let mut page = get(&name, "/");
        page.headers_mut().insert("accept", "text/html".parse().unwrap());
        let page = http1(&door, &name).await.ask(page).await;
        assert!(
            page.text.contains("<h1>") && page.field("content-type").starts_with("text/html"),
            "{}",
            page.text
        );
        let mut grpc = get(&name, "/a.B/C");
        grpc.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let grpc = http2(&door, &name).await.ask(grpc).await;
        let code = if status == 404 { "12" } else { "14" };
        assert_eq!((grpc.status.as_u16(), grpc.field("grpc-status")), (200, code), "{name}");
    }
}

#[tokio::test]
async fn a_connector_serves_what_its_certificate_is_for_and_nothing_else() {
    let echo = Backend::echo().await;
    let endpoint = http(echo.address);
    let mut plan = plan(vec![tunnel("web", &endpoint), tunnel("other", &endpoint)]);
    plan.snapshot.clients[0].scopes = Some(vec!["tunnel:read".to_owned()]);
    plan.snapshot.clients.push(crate::support::door::client("dev"));
    let door = plan.start().await;
    let other = certificate(&door.client_ca, "other");
    let foreign = certificate(&door.server_ca, "web");
    let gone = certificate(&door.client_ca, "gone");
    let stranger = pki::client(&door.client_ca, "stranger");
    for (why, name, offered, shown) in [
        ("of another tunnel", "web", endpoint.as_str(), &other),
        ("without tunnel:write", "web", &endpoint, &door.ci),
        ("of no client", "web", &endpoint, &stranger),
        ("of another authority", "web", &endpoint, &foreign),
        ("of a tunnel that is gone", "gone", &endpoint, &gone),
        ("to another endpoint", "other", "http://localhost:1", &other),
    ] {
        let (settings, directory) = settings(&door, name, offered, shown).await;
        let refused = door.metric("portcullis_gateway_connectors_refused_total").await;
        let connector = Connector::run(settings, directory);
        if why != "of another authority" {
            door.counted("portcullis_gateway_connectors_refused_total", refused + 1.0).await;
        }
        assert!(door.metric("portcullis_gateway_connectors").await < 0.5, "{why}");
        connector.finish().await;
    }
    let dev = pki::client(&door.client_ca, "dev");
    let (settings, directory) = settings(&door, "web", &endpoint, &dev).await;
    let _connector = Connector::run(settings, directory);
    answers(&door, WEB, 200).await;
}

#[tokio::test]
async fn a_connector_s_certificate_opens_nothing_but_its_tunnel() {
    let echo = Backend::echo().await;
    let mut plan = plan(vec![tunnel("web", &http(echo.address))]);
    plan.snapshot.backends = vec![crate::support::door::backend(
        "api",
        crate::support::door::prefix("/"),
        echo.address,
        portcullis_contract::snapshot::Protocol::Http1,
    )];
    let door = plan.start().await;
    let shown = certificate(&door.client_ca, "web");
    assert_eq!(door.http1_of(&shown).await.ask(request("/")).await.status, 403);
    let mut who = request("/portcullis.gateway.v1.Gateway/WhoAmI");
    who.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    assert_eq!(door.http2_of(&shown).await.ask(who).await.field("grpc-status"), "7");
    assert_eq!(door.http1().await.ask(request("/")).await.status, 200);
}

#[tokio::test]
async fn a_tunnel_that_is_removed_or_a_client_that_is_revoked_loses_its_connector_at_once() {
    let echo = Backend::echo().await;
    let mut plan = plan(vec![tunnel("web", &http(echo.address)), tunnel("api", &http(echo.address))]);
    plan.snapshot.clients.push(crate::support::door::client("dev"));
    let mut door = plan.start().await;
    let _web = Connector::start(&door, "web", &http(echo.address)).await;
    let dev = pki::client(&door.client_ca, "dev");
    let (settings, directory) = settings(&door, "api", &http(echo.address), &dev).await;
    let _api = Connector::run(settings, directory);
    answers(&door, "api.t.example.com", 200).await;
    door.snapshot.clients.retain(|client| client.name != "dev");
    door.write_snapshot();
    answers(&door, "api.t.example.com", 503).await;
    answers(&door, WEB, 200).await;
    door.snapshot.tunnels.as_mut().unwrap().tunnels.clear();
    door.write_snapshot();
    answers(&door, WEB, 404).await;
    door.counted_down("portcullis_gateway_connectors", 0.0).await;
}

#[tokio::test]
async fn a_connector_that_is_there_before_its_tunnel_is_waited_with() {
    let echo = Backend::echo().await;
    let mut door = plan(Vec::new()).start().await;
    let shown = certificate(&door.client_ca, "web");
    let (settings, directory) = settings(&door, "web", &http(echo.address), &shown).await;
    let _connector = Connector::run(settings, directory);
    door.counted("portcullis_gateway_handshakes_total{result=\"ok\"}", 1.0).await;
    door.snapshot.tunnels.as_mut().unwrap().tunnels.push(tunnel("web", &http(echo.address)));
    door.write_snapshot();
    answers(&door, WEB, 200).await;
}

#[tokio::test]
async fn requests_go_on_through_another_connector_when_one_stops_or_dies() {
    let echo = Backend::echo().await;
    let door = plan(vec![tunnel("web", &http(echo.address))]).start().await;
    let first = Connector::start(&door, "web", &http(echo.address)).await;
    let second = Connector::start(&door, "web", &http(echo.address)).await;
    let third = Connector::start(&door, "web", &http(echo.address)).await;
    let mut visitor = http2(&door, WEB).await;
    let asking = async {
        for _ in 0..400 {
            let answer = visitor.ask(get(WEB, "/")).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            tokio::task::yield_now().await;
        }
    };
    let stopping = async {
        first.finish().await;
        third.finish().await;
    };
    tokio::join!(asking, stopping);
    drop(second);
    answers(&door, WEB, 503).await;
    let _again = Connector::start(&door, "web", &http(echo.address)).await;
    answers(&door, WEB, 200).await;
}

#[tokio::test]
async fn stalled_readers_and_uploads_stop_nobody_else() {
    let endless = Backend::new(|request: Request<hyper::body::Incoming>| async move {
        if request.uri().path() == "/small" {
            return Ok::<_, Error>(reply("small"));
        }
        let chunk = Bytes::from(vec![0; 64 * 1024]);
        let stream = futures::stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
        Ok(Response::new(StreamBody::new(stream).boxed()))
    })
    .await;
    let door = plan(vec![tunnel("web", &http(endless.address))]).start().await;
    let _connector = Connector::start(&door, "web", &http(endless.address)).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut reader = http1(&door, WEB).await;
        stalled.push((reader.send(get(WEB, "/endless")).await.unwrap(), reader));
    }
    for _ in 0..8 {
        let (pieces, body) = piecewise();
        let mut uploader = http1(&door, WEB).await;
        tokio::spawn(async move {
            let _ = uploader
                .0
                .send_request(Request::post("/upload").header("host", WEB).body(body).unwrap())
                .await;
        });
        pieces.send(Ok(Frame::data(Bytes::from(vec![0; 64 * 1024])))).await.unwrap();
        std::mem::forget(pieces);
    }
    let mut visitor = http2(&door, WEB).await;
    for _ in 0..50 {
        assert_eq!(visitor.ask(get(WEB, "/small")).await.text, "small");
    }
}

#[tokio::test]
async fn methods_paths_addresses_roles_and_rates_are_held_before_the_connector_hears_of_a_request() {
    let echo = Backend::echo().await;
    let endpoint = http(echo.address);
    let with = |name: &str, change: fn(&mut portcullis_contract::snapshot::TunnelAccess)| {
        let mut it = tunnel(name, &endpoint);
        change(&mut it.access);
        it
    };
    let door = plan(vec![
        with("methods", |it| it.methods = vec!["POST".to_owned()]),
        with("paths", |it| it.path_prefixes = vec!["/api".to_owned()]),
        with("sources", |it| it.source_cidrs = vec!["192.0.2.0/24".to_owned()]),
        with("known", |it| it.auth = Auth::Required),
        with("rate", |it| it.rate_limit = Some(RateLimit { requests_per_second: 1, burst: 1 })),
    ])
    .start()
    .await;
    let mut connectors = Vec::new();
    for name in ["methods", "paths", "sources", "known", "rate"] {
        connectors.push(Connector::start(&door, name, &endpoint).await);
    }
    for (name, path, status) in [
        ("methods", "/", 404),
        ("paths", "/apix", 404),
        ("paths", "/api/x", 200),
        ("sources", "/", 403),
        ("known", "/", 401),
        ("rate", "/", 200),
    ] {
        let answer = visit(&door, &format!("{name}.t.example.com"), path).await;
        assert_eq!(answer.status, status, "{name} {path}: {}", answer.text);
    }
    // One a second is let through: whoever comes at that rate is no test of it.
    answers(&door, "rate.t.example.com", 429).await;
}

#[tokio::test]
async fn bytes_that_are_no_greeting_are_refused_and_cost_nothing() {
    let (door, _echo, _connector) = web().await;
    let shown = certificate(&door.client_ca, "web");
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0; 64], &[0, 0, 0, 1, 0xff]]
    {
        let mut stream = door.tls(&shown, "portcullis-tunnel").await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon("it is closed", stream.read_to_end(&mut answer)).await;
        assert!(!answer.is_empty(), "the refusal says why");
    }
    assert!((door.metric("portcullis_gateway_connectors").await - 1.0).abs() < 0.1);
    assert_eq!(visit(&door, WEB, "/").await.status, 200);
}

#[tokio::test]
async fn nothing_is_kept_of_connectors_that_are_gone() {
    let (door, echo, _connector) = web().await;
    for _ in 0..20 {
        let connector = Connector::start(&door, "web", &http(echo.address)).await;
        drop(connector);
        door.counted_down("portcullis_gateway_connectors", 1.0).await;
    }
    eventually("only its connections are left", || async {
        door.metric("portcullis_gateway_connections_open").await <= 1.0
    })
    .await;
    let mut visitor = tls(&door, WEB, "http/1.1").await;
    visitor.shutdown().await.unwrap();
    assert_eq!(visit(&door, WEB, "/").await.status, 200);
}

#[tokio::test]
async fn a_probe_proves_each_hop_and_the_operator_is_told() {
    let echo = Backend::echo().await;
    let (_held, nobody) = nobody();
    let mut closed = tunnel("web", &http(echo.address));
    closed.access.auth = Auth::Required;
    let (door, _operator, mut attachment) = proved_door(vec![closed, tunnel("dead", &http(nobody))]).await;
    let web = Connector::start(&door, "web", &http(echo.address)).await;
    let proof = told(&mut attachment, |report| report.probe.is_some()).await;
    let probe = proof.probe.unwrap();
    assert!(probe.passed && probe.latency_us > 0 && probe.hop.is_empty(), "{probe:?}");
    assert_eq!(
        (proof.namespace.as_str(), proof.name.as_str(), proof.uid.as_str()),
        ("shop", "web", "uid-of-web")
    );
    let connection = &proof.connections[0];
    assert_eq!(connection.identity, "spiffe://cluster.local/ns/shop/gateway/door/tunnel/shop/web");
    assert_eq!((connection.remote_address.as_str(), connection.transport.as_str()), ("127.0.0.1", "tls"));
    assert_eq!(connection.certificate_fingerprint.len(), 64);
    // A visitor does not get past the tunnel's access by saying that it is a probe.
    let mut evil = Request::head("/").header("host", WEB).body(body("")).unwrap();
    evil.headers_mut().insert("portcullis-probe", "1.AAAA".parse().unwrap());
    assert_eq!(http1(&door, WEB).await.ask(evil).await.status, 401);
    let _dead = Connector::start(&door, "dead", &http(nobody)).await;
    let broken = told(&mut attachment, |report| report.name == "dead" && report.probe.is_some()).await;
    let probe = broken.probe.unwrap();
    assert_eq!((probe.passed, probe.hop.as_str()), (false, "endpoint"), "{probe:?}");
    assert!(probe.message.contains("start the service"), "{}", probe.message);
    web.finish().await;
    let gone = told(&mut attachment, |report| report.name == "web" && report.connections.is_empty()).await;
    assert_eq!(gone.probe, None, "what is not connected is not proved");
}

#[tokio::test]
async fn a_probe_names_dns_the_service_and_tls_where_those_break() {
    let echo = Backend::echo().await;
    for (service, hop) in [("nowhere.invalid:443", "dns"), ("127.0.0.1:1", "gateway")] {
        let (mut door, _operator, mut attachment) =
            proved_door(vec![tunnel("web", &http(echo.address))]).await;
        door.snapshot.tunnels.as_mut().unwrap().service = service.to_owned();
        attachment.send(&door.snapshot).await;
        attachment.acknowledged().await;
        let _web = Connector::start(&door, "web", &http(echo.address)).await;
        let probe = told(&mut attachment, |report| report.probe.is_some()).await.probe.unwrap();
        assert_eq!((probe.passed, probe.hop.as_str()), (false, hop), "{probe:?}");
    }
    let mut uncovered = tunnel("web", &http(echo.address));
    uncovered.hostnames = vec!["a.b.t.example.com".to_owned()];
    let (door, _operator, mut attachment) = proved_door(vec![uncovered]).await;
    let _web = Connector::start(&door, "web", &http(echo.address)).await;
    let probe = told(&mut attachment, |report| report.probe.is_some()).await.probe.unwrap();
    assert_eq!((probe.passed, probe.hop.as_str()), (false, "tls"), "{probe:?}");
    assert!(probe.message.contains("CertificatesReady"), "{}", probe.message);
}

/// Two replicas of one gateway, and a connector at the first.
async fn two_replicas(endpoint: &str) -> (crate::support::Door, crate::support::Door, Connector) {
    let mut plan = plan(vec![tunnel("web", endpoint)]);
    let sibling = plan.sibling();
    let (first, second) = tokio::join!(plan.start(), sibling.start());
    let connector = Connector::start(&first, "web", endpoint).await;
    (first, second, connector)
}

#[tokio::test]
async fn a_replica_without_the_connector_forwards_to_the_one_that_has_it() {
    let echo = Backend::echo().await;
    let (first, second, connector) = two_replicas(&http(echo.address)).await;
    answers(&second, WEB, 200).await;
    let mut sent = Request::post("/a?b=c").header("host", WEB).body(body("the body")).unwrap();
    sent.headers_mut().insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    let seen: Seen = http2(&second, WEB).await.ask(sent).await.json();
    assert_eq!((seen.method.as_str(), seen.uri.as_str(), seen.body.as_str()), ("POST", "/a?b=c", "the body"));
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"], "the replica that the visitor came to says so");
    assert!(second.metric("portcullis_gateway_connectors").await < 0.5);
    // The connector goes: nobody is asked in a circle, and the visitor is told.
    connector.finish().await;
    answers(&second, WEB, 503).await;
    let _again = Connector::start(&first, "web", &http(echo.address)).await;
    answers(&second, WEB, 200).await;
    // The replica that has it goes.
    first.close().await;
    answers(&second, WEB, 503).await;
}

#[tokio::test]
async fn a_connector_keeps_to_two_replicas_and_survives_the_loss_of_either() {
    let echo = Backend::echo().await;
    let endpoint = http(echo.address);
    let mut plan = plan(vec![tunnel("web", &endpoint)]);
    let sibling = plan.sibling();
    // One name, behind which both are: as a Service has them.
    let (first, second) = tokio::join!(plan.start(), sibling.start());
    let addresses = [first.address, second.address];
    let balancer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = balancer.local_addr().unwrap();
    let balancing = tokio::spawn(async move {
        let mut at = 0;
        while let Ok((mut near, _)) = balancer.accept().await {
            at += 1;
            tokio::spawn(async move {
                for attempt in 0..2 {
                    if let Ok(mut far) = tokio::net::TcpStream::connect(addresses[(at + attempt) % 2]).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                        return;
                    }
                }
            });
        }
    });
    let (mut settings, directory) =
        settings(&first, "web", &endpoint, &certificate(&first.client_ca, "web")).await;
    settings.gateway = format!("https://localhost:{}", port.port()).parse().unwrap();
    let _connector = Connector::run(settings, directory);
    first.counted("portcullis_gateway_connectors", 1.0).await;
    second.counted("portcullis_gateway_connectors", 1.0).await;
    let mut visitor = http2(&second, WEB).await;
    let asking = async {
        for _ in 0..300 {
            let answer = visitor.ask(get(WEB, "/")).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(asking, first.close());
    balancing.abort();
}

#[tokio::test]
async fn the_replicas_port_takes_replicas_of_this_gateway_alone() {
    let echo = Backend::echo().await;
    let (first, second, _connector) = two_replicas(&http(echo.address)).await;
    answers(&second, WEB, 200).await;
    let address = second.snapshot.tunnels.as_ref().unwrap().peers[0].clone();
    for shown in [Some(&first.ci), None, Some(&certificate(&first.client_ca, "web"))] {
        let config = pki::client_config(&first.server_ca, shown, "h2");
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let connected =
            tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await;
        // TLS 1.3 says no to a client's certificate after its own handshake.
        if let Ok(mut stream) = connected {
            let mut rest = Vec::new();
            let read = soon("it is closed", stream.read_to_end(&mut rest)).await;
            assert!(read.is_err() || rest.is_empty());
        }
    }
}

#[tokio::test]
async fn where_only_http_passes_a_connector_comes_through_a_websocket() {
    let echo = Backend::echo().await;
    let endpoint = http(echo.address);
    let mut plan = plan(vec![tunnel("web", &endpoint)]);
    plan.snapshot.clients.push(crate::support::door::client("dev"));
    let mut door = plan.start().await;
    let dev = pki::client(&door.client_ca, "dev");
    let (mut settings, directory) = settings(&door, "web", &endpoint, &dev).await;
    settings.websocket = true;
    let _connector = Connector::run(settings, directory);
    answers(&door, WEB, 200).await;
    let body_of = "x".repeat(1_000_000);
    let sent = Request::post("/").header("host", WEB).body(body(body_of.clone())).unwrap();
    assert_eq!(http2(&door, WEB).await.ask(sent).await.json::<Seen>().body, body_of);
    // Whoever opened it is revoked: so is the connector.
    door.snapshot.clients.retain(|client| client.name != "dev");
    door.write_snapshot();
    answers(&door, WEB, 503).await;
    // It opens for nobody who is not known.
    let mut nobody = request("/_connect");
    nobody.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    assert_eq!(door.http1_of(&dev).await.ask(nobody).await.status, 403);
}

#[tokio::test]
async fn an_https_endpoint_is_believed_as_the_tunnel_says_unless_the_connector_has_roots_of_its_own() {
    let (authority, other) = (pki::authority("endpoint"), pki::authority("other"));
    // Answers with the name that it was asked for.
    let endpoint = Endpoint::with_tls(&pki::server(&authority), |mut stream| async move {
        let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{name}", name.len());
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let address = format!("https://localhost:{}", endpoint.address.port());
    let tls = |server_name: Option<&str>, ca: Option<&str>, insecure| UpstreamTls {
        server_name: server_name.map(str::to_owned),
        ca_bundle: ca.map(str::to_owned),
        insecure_skip_verify: insecure,
    };
    let (pem, others) = (Some(authority.certificate_pem.as_str()), Some(other.certificate_pem.as_str()));
    let own = |authority| EndpointTls::new(Some(pki::roots(authority)));
    for (why, said, trusted, answer) in [
        ("public roots", None, EndpointTls::new(None), None),
        ("the tunnel's roots", Some(tls(None, pem, false)), EndpointTls::new(None), Some("localhost")),
        ("others of it", Some(tls(None, others, false)), EndpointTls::new(None), None),
        (
            "by name",
            Some(tls(Some("a.t.example.com"), pem, false)),
            EndpointTls::new(None),
            Some("a.t.example.com"),
        ),
        ("by another's name", Some(tls(Some("a.example.org"), pem, false)), EndpointTls::new(None), None),
        (
            "unverified",
            Some(tls(Some("a.example.org"), None, true)),
            EndpointTls::new(None),
            Some("a.example.org"),
        ),
        ("own roots", None, own(&authority), Some("localhost")),
        ("own roots before the tunnel's", Some(tls(None, pem, false)), own(&other), None),
        ("own roots, whatever is said", Some(tls(None, None, true)), own(&other), None),
    ] {
        let mut web = tunnel("web", &address);
        web.upstream.tls = said;
        let door = plan(vec![web]).start().await;
        let shown = certificate(&door.client_ca, "web");
        let (mut settings, directory) = settings(&door, "web", &address, &shown).await;
        settings.endpoint_tls = trusted;
        let _connector = Connector::run(settings, directory);
        door.counted("portcullis_gateway_connectors", 1.0).await;
        let found = visit(&door, WEB, "/").await;
        if let Some(name) = answer {
            assert_eq!((found.status.as_u16(), found.text.as_str()), (200, name), "{why}");
            continue;
        }
        assert_eq!(found.status, 502, "{why}: {}", found.text);
        assert!(found.text.contains("upstream.tls.caBundle"), "{why}: {}", found.text);
    }
}

#[tokio::test]
async fn a_connector_that_is_told_anew_serves_so_and_what_is_in_flight_ends_where_it_began() {
    let mirror = Backend::new(|request| async move {
        Ok::<_, Error>(Response::new(request.into_body().map_err(Into::into).boxed()))
    })
    .await;
    let endpoint = http(mirror.address);
    let door = plan(vec![tunnel("web", &endpoint), tunnel("api", &endpoint)]).start().await;
    let connectors = "portcullis_gateway_connectors";
    let (before, _files) = settings(&door, "web", &endpoint, &certificate(&door.client_ca, "web")).await;
    let (mut after, _more) = settings(&door, "web", &endpoint, &door.ci).await;
    after
        .offers
        .push(portcullis_contract::tunnel::Offer { name: "api".to_owned(), ..after.offers[0].clone() });
    let (anew, changes) = mpsc::channel(1);
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(follow(before, Ports::default(), changes, stop.clone()));
    door.counted(connectors, 1.0).await;
    answers(&door, WEB, 200).await;
    answers(&door, "api.t.example.com", 503).await;

    let (pieces, body) = piecewise();
    pieces.send(Ok(Frame::data(Bytes::from_static(b"before")))).await.unwrap();
    let sent = Request::post("/").header("host", WEB).body(body).unwrap();
    let mut response = http2(&door, WEB).await.send(sent).await.unwrap();
    let first = soon("a frame", response.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "before");

    anew.send(after).await.unwrap();
    answers(&door, "api.t.example.com", 200).await;
    door.counted(connectors, 2.0).await;
    pieces.send(Ok(Frame::data(Bytes::from_static(b"after")))).await.unwrap();
    let next = soon("a frame", response.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(next.into_data().unwrap(), "after");
    drop(pieces);
    assert_eq!(soon("the end", Answer::of(response)).await.unwrap().text, "", "it ends as it should");
    door.counted_down(connectors, 1.0).await;
    answers(&door, WEB, 200).await;

    // What cannot connect takes the place of nothing.
    let (refused, _none) =
        settings(&door, "web", &endpoint, &pki::client(&pki::authority("other"), "ci")).await;
    anew.send(refused).await.unwrap();
    let (works, _files) = settings(&door, "web", &endpoint, &certificate(&door.client_ca, "web")).await;
    answers(&door, "api.t.example.com", 200).await;
    anew.send(works).await.unwrap();
    answers(&door, "api.t.example.com", 503).await;
    answers(&door, WEB, 200).await;
    stop.cancel();
    soon("the connector stops", serving).await.unwrap().unwrap();
    door.counted_down(connectors, 0.0).await;
}

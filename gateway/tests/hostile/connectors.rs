//! Connectors that show what does not let them in, and connectors that are let in and then break the protocol.

use std::time::Duration;

use http_body_util::BodyExt as _;
use portcullis_contract::tunnel::{Hello, Offer, Refusal, Welcome};
use portcullis_protocol::greeting::{Failed, greet};
use portcullis_protocol::limits::{FRAME, PING, PONG};
use portcullis_protocol::{VERSION, message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::caller::Error;
use crate::support::tunnel::{
    Connector, WEB, answers, certificate, certificate_uri, get, http, http1, plan, settings, tunnel, visit,
};
use crate::support::{Backend, Door, PATIENCE, eventually, pki, soon};

/// Two tunnels: a good connector serves the one, and the other is to be attacked.
async fn two_tunnels() -> (Door, Backend, Connector) {
    let echo = Backend::echo().await;
    let endpoint = http(echo.address);
    let door = plan(vec![tunnel("web", &endpoint), tunnel("bad", &endpoint)]).start().await;
    let connector = Connector::start(&door, "web", &endpoint).await;
    (door, echo, connector)
}

fn hello(name: &str, endpoint: &str) -> Hello {
    let offer =
        Offer { namespace: "shop".to_owned(), name: name.to_owned(), endpoints: vec![endpoint.to_owned()] };
    Hello { versions: vec![VERSION], connector: "evil".to_owned(), offers: vec![offer], ..Hello::default() }
}

async fn greeted(door: &Door, hello: &Hello) -> Result<(TlsStream<TcpStream>, Welcome), Failed> {
    let mut stream = door.tls(&certificate(&door.client_ca, "bad"), "portcullis-tunnel").await;
    let welcome = soon("an answer", greet(&mut stream, hello)).await?;
    Ok((stream, welcome))
}

/// A connector that has been let in for the tunnel `bad`, as bytes.
async fn let_in(door: &Door, echo: &Backend) -> TlsStream<TcpStream> {
    greeted(door, &hello("bad", &http(echo.address))).await.unwrap().0
}

fn refusal(failed: Failed) -> Refusal {
    match failed {
        Failed::Refused(refusal) => refusal,
        other => panic!("no refusal: {other}"),
    }
}

#[tokio::test]
async fn a_certificate_that_is_foreign_expired_or_a_server_s_opens_no_session() {
    let (door, echo, _connector) = two_tunnels().await;
    let uri = certificate_uri("bad");
    let namesake = pki::authority("clients");
    for (why, shown) in [
        ("foreign", certificate(&door.server_ca, "bad")),
        ("of an authority of the same name", certificate(&namesake, "bad")),
        ("expired", pki::expired_client_with_uri(&door.client_ca, &uri)),
        ("a server's", pki::client_with_server_usage(&door.client_ca, "ci")),
    ] {
        let config = pki::client_config(&door.server_ca, Some(&shown), "portcullis-tunnel");
        // TLS 1.3 says no to a client's certificate after its own handshake.
        if let Ok(mut stream) = door.tls_with(config).await {
            let greeted = greet(&mut stream, &hello("bad", &http(echo.address))).await;
            assert!(matches!(greeted, Err(Failed::Stream(_))), "{why}: {greeted:?}");
        }
    }
    // None at all.
    let greeted = match door.tls_with(pki::client_config(&door.server_ca, None, "portcullis-tunnel")).await {
        Ok(mut stream) => greet(&mut stream, &hello("bad", &http(echo.address))).await.map(drop),
        Err(error) => Err(error.into()),
    };
    assert!(greeted.is_err());
    assert!((door.metric("portcullis_gateway_connectors").await - 1.0).abs() < 0.1);
    assert_eq!(visit(&door, WEB, "/").await.status, 200);
}

#[tokio::test]
async fn an_offer_beside_one_that_is_allowed_is_refused_with_it() {
    let (door, echo, _connector) = two_tunnels().await;
    let endpoint = http(echo.address);
    let mut both = hello("bad", &endpoint);
    both.offers.extend(hello("web", &endpoint).offers);
    let refused = refusal(greeted(&door, &both).await.unwrap_err());
    assert!(refused.message.contains("shop/bad, not for shop/web"), "{}", refused.message);
    for hello in [
        hello("bad", ""),
        hello("bad", "http://localhost:1"),
        hello("bad", &format!("{endpoint}/../")),
        Hello { versions: vec![VERSION + 1], ..hello("bad", &endpoint) },
        Hello { connector: "a\nb".to_owned(), ..hello("bad", &endpoint) },
        Hello { bearer_token: "a\r\nb".to_owned(), ..hello("bad", &endpoint) },
    ] {
        let refused = refusal(greeted(&door, &hello).await.unwrap_err());
        assert!(!refused.message.is_empty(), "{hello:?}");
    }
    assert!((door.metric("portcullis_gateway_connectors").await - 1.0).abs() < 0.1);
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PROMISE: u8 = 5;
const PINGS: u8 = 6;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;

/// Says these bytes after the greeting and reads on; the connection must end by itself.
async fn is_cut(door: &Door, echo: &Backend, what: &str, bytes: &[u8]) {
    let stream = let_in(door, echo).await;
    let (mut read, mut write) = tokio::io::split(stream);
    let reading = async {
        let mut read_so_far = Vec::new();
        let _ = read.read_to_end(&mut read_so_far).await;
    };
    let (_, ended) = tokio::join!(write.write_all(bytes), tokio::time::timeout(PATIENCE, reading));
    assert!(ended.is_ok(), "{what}: the connection goes on");
    door.counted_down("portcullis_gateway_connectors", 1.0).await;
}

#[tokio::test]
async fn frames_out_of_order_end_the_session_and_no_other_one() {
    let (door, echo, _connector) = two_tunnels().await;
    let settings = frame(SETTINGS, 0, 0, &[]);
    let after = |more: Vec<u8>| [settings.clone(), more].concat();
    for (what, bytes) in [
        ("no HTTP/2 at all", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        ("a client's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("something before the settings", frame(DATA, 0, 1, b"a")),
        ("data of a stream that nobody opened", after(frame(DATA, 0, 9999, b"a"))),
        ("a header of a stream that nobody opened", after(frame(HEADERS, 4, 9999, &[0x88]))),
        ("a reset of a stream that nobody opened", after(frame(RESET, 0, 9999, &[0, 0, 0, 8]))),
        ("a request", after(frame(HEADERS, 5, 2, &[0x82, 0x87, 0x84]))),
        ("a promise", after(frame(PROMISE, 4, 1, &[0, 0, 0, 2, 0x82, 0x87, 0x84]))),
        ("data of no stream", after(frame(DATA, 0, 0, b"a"))),
        ("the rest of no header", after(frame(CONTINUATION, 4, 1, &[0x88]))),
        ("a header block that is none", after(frame(HEADERS, 4, 1, &[0xff; 16]))),
        ("settings of a strange length", after(frame(SETTINGS, 0, 0, &[0, 1, 0]))),
        ("a window that is too large", after(frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]))),
        ("a window that grows too far", after(frame(WINDOW, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2))),
        ("a ping of a strange length", after(frame(PINGS, 0, 0, b"a"))),
        ("a frame that is too long", after(frame(DATA, 0, 1, &vec![0; FRAME as usize + 1]))),
        ("a header without an end", {
            let first = frame(HEADERS, 0, 1, &[0x88]);
            let more = frame(CONTINUATION, 0, 1, &[0; 1024]).repeat(4096);
            after([first, more].concat())
        }),
    ] {
        is_cut(&door, &echo, what, &bytes).await;
        assert_eq!(visit(&door, WEB, "/").await.status, 200, "{what}");
    }
    // What it was connected for is free for a good one.
    let _good = Connector::start(&door, "bad", &http(echo.address)).await;
    answers(&door, "bad.t.example.com", 200).await;
}

/// Reads frames and answers each HEADERS frame with these, until the connection ends; says how many there were.
async fn answer_each(stream: TlsStream<TcpStream>, answer: impl Fn(u32) -> Vec<u8>) -> usize {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut answered = 0;
    let mut preface = [0; 24];
    if read.read_exact(&mut preface).await.is_err()
        || write.write_all(&frame(SETTINGS, 0, 0, &[])).await.is_err()
    {
        return answered;
    }
    loop {
        let mut head = [0; 9];
        if read.read_exact(&mut head).await.is_err() {
            return answered;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if read.read_exact(&mut payload).await.is_err() {
            return answered;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let said = match head[3] {
            SETTINGS if head[4] & 1 == 0 => frame(SETTINGS, 1, 0, &[]),
            PINGS if head[4] & 1 == 0 => frame(PINGS, 1, 0, &payload),
            // The control stream and the first ping of the protocol are taken as they come.
            HEADERS if stream == 1 => continue,
            HEADERS => {
                answered += 1;
                answer(stream)
            }
            _ => continue,
        };
        if write.write_all(&said).await.is_err() {
            return answered;
        }
    }
}

#[tokio::test]
async fn a_connector_that_resets_every_stream_costs_its_own_visitors_alone() {
    let (door, echo, _connector) = two_tunnels().await;
    let stream = let_in(&door, &echo).await;
    let storm = tokio::spawn(answer_each(stream, |stream| {
        // Again and again, and those that came before, too.
        (0..50).flat_map(|_| frame(RESET, 0, stream, &[0, 0, 0, 8])).collect()
    }));
    let mut answered = Vec::new();
    while !storm.is_finished() && answered.len() < 200 {
        answered.push(visit(&door, "bad.t.example.com", "/").await.status.as_u16());
        assert_eq!(visit(&door, WEB, "/").await.status, 200);
    }
    assert!(answered.iter().all(|status| matches!(status, 502 | 503)), "{answered:?}");
    soon("it is let go", storm).await.unwrap();
    door.counted_down("portcullis_gateway_connectors", 1.0).await;
}

#[tokio::test]
async fn a_connector_that_answers_nonsense_is_an_error_for_its_visitors() {
    let (door, echo, _connector) = two_tunnels().await;
    for (what, block) in [
        ("no status", vec![0x00, 3, b'x', b'-', b'a', 1, b'1']),
        ("a status of two digits", [&[0x00, 7][..], b":status", &[2], b"20"].concat()),
        ("a request's header", vec![0x82, 0x87, 0x84]),
        ("an end of a line in a field", [&[0x88, 0x00, 3][..], b"x-a", &[4], b"1\r\nb"].concat()),
    ] {
        let stream = let_in(&door, &echo).await;
        let talking = tokio::spawn(answer_each(stream, move |stream| {
            // The ping of the protocol is the first one.
            if stream == 3 { frame(HEADERS, 5, stream, &[0x88]) } else { frame(HEADERS, 5, stream, &block) }
        }));
        door.counted("portcullis_gateway_connectors", 2.0).await;
        let answer = visit(&door, "bad.t.example.com", "/").await;
        assert!(answer.status.is_server_error(), "{what}: {} {:?}", answer.status, answer.headers);
        assert_eq!(visit(&door, WEB, "/").await.status, 200, "{what}");
        talking.abort();
        let _ = talking.await;
        door.counted_down("portcullis_gateway_connectors", 1.0).await;
    }
}

#[tokio::test]
async fn a_connector_that_stops_reading_is_let_go_and_its_visitors_with_it() {
    let (door, echo, _connector) = two_tunnels().await;
    let mut stream = let_in(&door, &echo).await;
    // As much as may be sent, and nobody reads it.
    let windows = [
        frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]),
        frame(SETTINGS, 1, 0, &[]),
        frame(WINDOW, 0, 0, &[0x7f, 0, 0, 0]),
    ];
    stream.write_all(&windows.concat()).await.unwrap();
    door.counted("portcullis_gateway_connectors", 2.0).await;
    let mut visitor = http1(&door, "bad.t.example.com").await;
    let waiting = tokio::spawn(async move { visitor.ask(get("bad.t.example.com", "/")).await.status });
    let gone = async {
        while door.metric("portcullis_gateway_connectors").await > 1.5 {
            assert_eq!(visit(&door, WEB, "/").await.status, 200);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let bound = PING + PONG + Duration::from_secs(30);
    tokio::time::timeout(bound, gone).await.unwrap();
    assert_eq!(soon("whoever waited is told", waiting).await.unwrap(), 502);
    drop(stream);
}

#[tokio::test]
async fn a_greeting_that_comes_in_pieces_or_says_more_than_it_should_is_read_as_it_is_meant() {
    let (door, echo, _connector) = two_tunnels().await;
    let hello = message::encode(&hello("bad", &http(echo.address)));
    let mut stream = door.tls(&certificate(&door.client_ca, "bad"), "portcullis-tunnel").await;
    for byte in &hello {
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    let answered: portcullis_contract::tunnel::Answer =
        soon("an answer", message::read(&mut stream)).await.unwrap();
    assert!(matches!(answered.answer, Some(portcullis_contract::tunnel::answer::Answer::Welcome(_))));
    drop(stream);
    // HTTP/2 with the greeting, before the answer: nothing of it is lost.
    let mut stream = door.tls(&certificate(&door.client_ca, "bad"), "portcullis-tunnel").await;
    stream.write_all(&[&hello[..], &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let _: portcullis_contract::tunnel::Answer = soon("an answer", message::read(&mut stream)).await.unwrap();
    let answering = tokio::spawn(answer_each(stream, |stream| frame(HEADERS, 5, stream, &[0x88])));
    answers(&door, "bad.t.example.com", 200).await;
    answering.abort();
}

#[tokio::test]
async fn a_connector_that_is_revoked_loses_the_requests_that_it_is_at_work_on() {
    let endless = Backend::new(|request: http::Request<hyper::body::Incoming>| async move {
        if request.uri().path() == "/hang" {
            std::future::pending::<()>().await;
        }
        let chunk = bytes::Bytes::from_static(&[0; 1024]);
        let stream =
            futures::stream::repeat_with(move || Ok::<_, Error>(http_body::Frame::data(chunk.clone())));
        Ok::<_, Error>(http::Response::new(http_body_util::StreamBody::new(stream).boxed()))
    })
    .await;
    let endpoint = http(endless.address);
    let mut plan = plan(vec![tunnel("web", &endpoint)]);
    plan.snapshot.clients.push(crate::support::door::client("dev"));
    let mut door = plan.start().await;
    let dev = pki::client(&door.client_ca, "dev");
    let (settings, directory) = settings(&door, "web", &endpoint, &dev).await;
    let _connector = Connector::run(settings, directory);
    door.counted("portcullis_gateway_connectors", 1.0).await;
    let mut reader = http1(&door, WEB).await;
    let mut stream = reader.send(get(WEB, "/endless")).await.unwrap().into_body();
    soon("it streams", stream.frame()).await.unwrap().unwrap();
    let mut waiter = http1(&door, WEB).await;
    let waiting = tokio::spawn(async move { waiter.ask(get(WEB, "/hang")).await.status });
    eventually("both have come to the endpoint", || async { endless.opened() == 2 }).await;
    door.snapshot.clients.retain(|client| client.name != "dev");
    door.write_snapshot();
    // Well before a ping could be missed.
    let reading = async { while let Some(Ok(_)) = stream.frame().await {} };
    tokio::time::timeout(PING, reading).await.unwrap();
    assert_eq!(tokio::time::timeout(PING, waiting).await.unwrap().unwrap(), 502);
}

#[tokio::test]
async fn a_crowd_that_comes_at_once_gets_in_and_whoever_was_there_is_served_meanwhile() {
    const CROWD: u32 = 400;
    let (door, echo, _connector) = two_tunnels().await;
    let (endpoint, door) = (http(echo.address), std::sync::Arc::new(door));
    let coming: Vec<_> = (0..CROWD)
        .map(|number| {
            let hello = Hello { connector: format!("{number:016x}"), ..hello("bad", &endpoint) };
            let door = std::sync::Arc::clone(&door);
            tokio::spawn(async move {
                let (stream, _) = greeted(&door, &hello).await.unwrap();
                answer_each(stream, |stream| frame(HEADERS, 5, stream, &[0x88])).await
            })
        })
        .collect();
    assert_eq!(visit(&door, WEB, "/").await.status, 200);
    door.counted("portcullis_gateway_connectors", f64::from(CROWD + 1)).await;
    assert_eq!(visit(&door, WEB, "/").await.status, 200);
    answers(&door, "bad.t.example.com", 200).await;
    for connector in coming {
        connector.abort();
        let _ = connector.await;
    }
    door.counted_down("portcullis_gateway_connectors", 1.0).await;
    assert_eq!(visit(&door, WEB, "/").await.status, 200);
}

#[tokio::test]
async fn a_clock_that_jumps_cuts_nobody_whose_certificate_still_holds() {
    let echo = Backend::echo().await;
    let endpoint = http(echo.address);
    let mut plan = plan(vec![tunnel("web", &endpoint)]);
    let shown = pki::now().unix_timestamp();
    let clock = portcullis_protocol::clock::Clock::manual(shown);
    plan.options.clock = clock.clone();
    let door = plan.start().await;
    let connector = Connector::start(&door, "web", &endpoint).await;
    let opened = echo.opened();
    for jump in [60, -3600, 3600, -86_400, 0] {
        clock.set(shown + jump);
        for _ in 0..3 {
            assert_eq!(visit(&door, WEB, "/").await.status, 200, "{jump}");
        }
        assert!((door.metric("portcullis_gateway_connectors").await - 1.0).abs() < 0.1, "{jump}");
    }
    assert!(echo.opened() - opened <= 5, "the connection to the endpoint is kept");
    drop(connector);
    door.counted_down("portcullis_gateway_connectors", 0.0).await;
}

//! Limits, each with what happens beyond it.

use std::fmt::Write as _;
use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::caller::exchange;
use crate::support::door::{Plan, backend, prefix};
use crate::support::{Backend, Door, body, eventually, request, soon};
use portcullis_contract::snapshot::Protocol;

#[tokio::test]
async fn ten_thousand_headers_are_431_over_both_protocols() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    let mut raw = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
    for number in 0..10_000 {
        write!(raw, "X-{number}: 1\r\n").unwrap();
    }
    raw.push_str("\r\n");
    let mut stream = door.tls(&door.ci, "http/1.1").await;
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let mut status = [0; 12];
    let (_, answered) = tokio::join!(write.write_all(raw.as_bytes()), read.read_exact(&mut status));
    answered.unwrap();
    assert_eq!(std::str::from_utf8(&status), Ok("HTTP/1.1 431"));
    for (count, length) in [(10_000, 1), (200, 1), (3, 40_000)] {
        let mut sent = request("/");
        for number in 0..count {
            let name: http::HeaderName = format!("x-{number}").parse().unwrap();
            sent.headers_mut().insert(name, "1".repeat(length).parse().unwrap());
        }
        match door.http2().await.send(sent).await {
            Ok(response) => assert_eq!(response.status(), 431, "{count} of {length}"),
            // A header block of many frames is cut off before it ends.
            Err(error) => assert!(count == 10_000, "{error}"),
        }
    }
    assert_eq!(echo.opened(), 0);
    assert_eq!(door.http2().await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_header_that_does_not_end_is_cut_off() {
    let mut plan = Plan::new(Vec::new());
    plan.options.limits.header_time = Duration::from_secs(2);
    let door = plan.start().await;
    let half = exchange(door.tls(&door.ci, "http/1.1").await, b"GET / HTTP/1.1\r\nHost: ").await;
    assert!(half.is_empty());
    // Later on a connection that was used already, too.
    let mut stream = door.tls(&door.ci, "http/1.1").await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    soon("an answer", stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    exchange(stream, b"GET /hea").await;
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let slow = Backend::new(|_| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(crate::support::backend::reply("slow"))
    })
    .await;
    let mut plan = Plan::new(vec![backend("api", prefix("/"), slow.address, Protocol::Http1)]);
    plan.options.limits.idle_time = Duration::from_secs(2);
    plan.options.limits.header_time = Duration::from_secs(2);
    let door = plan.start().await;
    let (mut one, mut two) = (door.http1().await, door.http2().await);
    let (first, second) = tokio::join!(one.get("/"), two.get("/"));
    assert_eq!((first.text.as_str(), second.text.as_str()), ("slow", "slow"));
    eventually("both are closed", || async { one.0.is_closed() && two.0.is_closed() }).await;
    door.counted("portcullis_gateway_connections_open", 0.0).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_counted() {
    let mut plan = Plan::new(Vec::new());
    plan.options.limits.connections = 2;
    let door = plan.start().await;
    let mut first = door.http1().await;
    let second = door.http2().await;
    assert_eq!(first.get("/healthz").await.status, 200);
    let refused = exchange(door.tcp().await, b"").await;
    assert_eq!(refused, [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x50], "a TLS alert");
    door.counted("portcullis_gateway_connections_refused_total", 1.0).await;
    drop(second);
    eventually("there is room again", || async {
        let config = crate::support::pki::client_config(&door.server_ca, Some(&door.ci), "h2");
        door.tls_with(config).await.is_ok()
    })
    .await;
    assert_eq!(first.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn streams_beyond_the_limit_wait_and_all_are_served() {
    let slow = Backend::new(|_| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(crate::support::backend::reply("slow"))
    })
    .await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let mut plan = Plan::new(vec![backend("api", prefix("/"), slow.address, protocol)]);
        plan.options.limits.concurrent_streams = 10;
        plan.options.limits.streams_per_backend_connection = 4;
        plan.options.limits.h2c_backend_connections = 2;
        let door = plan.start().await;
        let mut caller = door.http2().await;
        // Until the server's SETTINGS have come, a caller does not know the limit.
        caller.get("/healthz").await;
        let asking = (0..200).map(|_| {
            let mut caller = caller.clone();
            async move { caller.get("/").await.status.as_u16() }
        });
        let statuses = soon("all answers", futures::future::join_all(asking)).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    }
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn a_rapid_reset_ends_its_connection_and_nobody_else_s() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    let mut stream = door.tls(&door.ci, "h2").await;
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    for number in 0..5_000_u32 {
        let id = number * 2 + 1;
        // :method GET, :scheme https, :path /, :authority a; then CANCEL.
        flood.extend(frame(1, 0x05, id, &[0x82, 0x87, 0x84, 0x41, 0x01, b'a']));
        flood.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
    }
    let answer = {
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let mut answer = Vec::new();
        let (_, _) =
            tokio::join!(write.write_all(&flood), soon("it is closed", read.read_to_end(&mut answer)));
        answer
    };
    // The last frame is GOAWAY with ENHANCE_YOUR_CALM.
    let goaway = answer.windows(4).any(|code| code == 11_u32.to_be_bytes());
    assert!(goaway, "{} bytes", answer.len());
    assert_eq!(door.http2().await.get("/").await.status, 200);
}

#[tokio::test]
async fn large_bodies_pass_whole() {
    let echo = Backend::new(|request: Request<hyper::body::Incoming>| async move {
        Ok(http::Response::new(http_body_util::BodyExt::boxed(http_body_util::BodyExt::map_err(
            request.into_body(),
            Into::into,
        ))))
    })
    .await;
    let large: String =
        (0..3_000_000).map(|number: u32| char::from(b'a' + u8::try_from(number % 26).unwrap())).collect();
    for door in [Door::to_http1(echo.address).await, Door::to_h2c(echo.address).await] {
        let sent = || Request::post("/").header("host", "a").body(body(large.clone())).unwrap();
        assert!(door.http1().await.ask(sent()).await.text == large);
        assert!(door.http2().await.ask(sent()).await.text == large);
    }
}

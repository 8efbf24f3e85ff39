//! Backends that are absent, slow or broken, and what callers are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use portcullis_contract::snapshot::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::backend::reply;
use crate::support::door::{Plan, backend, prefix};
use crate::support::{Answer, Backend, Door, body, nobody, request, soon};

fn problem(answer: &Answer) -> (u16, String) {
    let problem: serde_json::Value = answer.json();
    assert_eq!((problem["hop"].as_str(), problem["backend"].as_str()), (Some("backend"), Some("api")));
    (answer.status.as_u16(), problem["detail"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_502_at_once() {
    let (_held, gone) = nobody();
    for door in [Door::to_http1(gone).await, Door::to_h2c(gone).await] {
        let (status, detail) = problem(&door.http2().await.get("/").await);
        assert_eq!((status, detail.as_str()), (502, "backend api: connection refused"));
        let grpc = Request::post("/a.B/C")
            .header("host", "a")
            .header("content-type", "application/grpc")
            .body(body(""))
            .unwrap();
        let answer = door.http2().await.ask(grpc).await;
        assert_eq!((answer.status.as_u16(), answer.field("grpc-status")), (200, "14"));
        assert!(
            answer.field("grpc-message").contains("connection%20refused")
                || answer.field("grpc-message").contains("connection refused")
        );
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_502() {
    let mut api = backend("api", prefix("/"), "127.0.0.1:1".parse().unwrap(), Protocol::Http1);
    api.target =
        portcullis_contract::snapshot::Target::Address { host: "nowhere.invalid".to_owned(), port: 80 };
    let door = Plan::new(vec![api]).start().await;
    let (status, detail) = problem(&door.http1().await.get("/").await);
    assert_eq!(status, 502);
    assert!(detail.contains("does not resolve"), "{detail}");
}

#[tokio::test]
async fn a_backend_that_does_not_accept_is_504_after_the_connect_timeout() {
    // A listener whose backlog is full drops what comes next, which is what a firewall does.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let full = socket.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..4 {
        fillers.push(tokio::spawn(tokio::net::TcpStream::connect(full)));
    }
    soon("the backlog fills", fillers.remove(0)).await.unwrap().unwrap();
    let mut api = backend("api", prefix("/"), full, Protocol::Http1);
    api.connect_timeout_ms = 200;
    let door = Plan::new(vec![api]).start().await;
    let (status, detail) = problem(&door.http1().await.get("/").await);
    assert_eq!(status, 504);
    assert!(detail.contains("connect timeout"), "{detail}");
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_504_after_the_request_timeout() {
    let slow = Backend::new(|_| std::future::pending()).await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let mut api = backend("api", prefix("/"), slow.address, protocol);
        api.request_timeout_ms = 100;
        let door = Plan::new(vec![api]).start().await;
        let (status, detail) = problem(&door.http1().await.get("/").await);
        assert_eq!(status, 504);
        assert!(detail.contains("request timeout"), "{detail}");
        let grpc = Request::post("/a.B/C")
            .header("host", "a")
            .header("content-type", "application/grpc")
            .body(body(""))
            .unwrap();
        assert_eq!(door.http2().await.ask(grpc).await.field("grpc-status"), "4");
    }
}

#[tokio::test]
async fn the_request_timeout_counts_from_the_last_of_the_body() {
    let patient = Backend::new(|request: Request<hyper::body::Incoming>| async {
        let length = request.into_body().collect().await?.to_bytes().len();
        Ok(reply(length.to_string()))
    })
    .await;
    let mut api = backend("api", prefix("/"), patient.address, Protocol::Http1);
    api.request_timeout_ms = 4_000;
    let door = Plan::new(vec![api]).start().await;
    let (pieces, stream) = mpsc::channel(1);
    let sent = Request::post("/")
        .header("host", "a")
        .body(StreamBody::new(ReceiverStream::new(stream)).boxed())
        .unwrap();
    let uploading = async move {
        // Longer than the timeout in all, never longer than it at a time.
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(700));
        for _ in 0..8 {
            tick.tick().await;
            pieces.send(Ok(Frame::data(Bytes::from_static(b"x")))).await.unwrap();
        }
    };
    let mut caller = door.http2().await;
    let (answer, ()) = tokio::join!(caller.ask(sent), uploading);
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "8"));
}

#[tokio::test]
async fn a_backend_that_speaks_no_http_is_502() {
    let garbage = Backend::raw(|mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"\x15\x03\x01 nonsense\r\n\r\n").await;
    })
    .await;
    for door in [Door::to_http1(garbage.address).await, Door::to_h2c(garbage.address).await] {
        assert_eq!(problem(&door.http2().await.get("/").await).0, 502);
    }
}

/// Answers the first request of each connection and closes it, unannounced, as the second one arrives or before.
async fn closes_after_one(requests: Arc<AtomicUsize>) -> Backend {
    Backend::raw(move |mut stream| {
        let requests = Arc::clone(&requests);
        async move {
            // The whole of it: what is not read takes the answer with it when the connection is closed.
            let mut request = Vec::new();
            while !request.windows(4).any(|body| body == b"once") {
                if !stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
                    return;
                }
            }
            requests.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_is_replaced_without_a_word() {
    let requests = Arc::new(AtomicUsize::new(0));
    let closing = closes_after_one(Arc::clone(&requests)).await;
    let door = Door::to_http1(closing.address).await;
    let mut caller = door.http2().await;
    let mut failed = 0;
    for _ in 0..100 {
        let post = Request::post("/").header("host", "a").body(body("once")).unwrap();
        let answer = caller.ask(post).await;
        match answer.status.as_u16() {
            200 => {}
            // The close crossed the request on the wire: it may have been seen, so it is not sent again.
            502 => failed += 1,
            other => panic!("{other}"),
        }
    }
    assert!(failed < 90, "{failed} of 100");
    assert_eq!(requests.load(Ordering::SeqCst) + failed, 100, "nothing was sent twice");
}

#[tokio::test]
async fn a_request_that_was_sent_is_never_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    // Answers the first request of a connection, reads the second one and closes without an answer.
    let cruel = Backend::raw(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let mut request = [0; 4096];
            for turn in 0..2 {
                if !stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    return;
                }
                seen.fetch_add(1, Ordering::SeqCst);
                if turn == 0 {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            }
        }
    })
    .await;
    let door = Door::to_http1(cruel.address).await;
    let mut caller = door.http1().await;
    assert_eq!(caller.get("/").await.status, 200);
    assert_eq!(problem(&caller.get("/").await).0, 502);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    assert_eq!(caller.ask(request("/")).await.status, 200);
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

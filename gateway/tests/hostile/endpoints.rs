//! Endpoints that hang, lie, or say too much.

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::tunnel::{Connector, WEB, get, http, http1, http2, plan, tunnel, visit};
use crate::support::{Answer, Backend, Door, body, soon};

/// A tunnel to an endpoint that does this with each connection.
async fn behind<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (Door, Connector, Backend) {
    waiting(30_000, serve).await
}

/// The same, which waits no longer than so many milliseconds for its answer.
async fn waiting<F: Future<Output = ()> + Send + 'static>(
    at_most: u64,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (Door, Connector, Backend) {
    let endpoint = Backend::raw(serve).await;
    let mut web = tunnel("web", &http(endpoint.address));
    web.upstream.response_timeout_ms = at_most;
    let door = plan(vec![web]).start().await;
    let connector = Connector::start(&door, "web", &http(endpoint.address)).await;
    (door, connector, endpoint)
}

/// Reads a request's header, answers with this, and closes.
async fn say(mut stream: TcpStream, answer: &[u8]) {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        header.push(byte);
    }
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

fn hop(answer: &Answer) -> (u16, String) {
    let problem: serde_json::Value = answer.json();
    (answer.status.as_u16(), problem["hop"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_504_and_one_that_speaks_garbage_502() {
    for (answer, status) in [
        (None, 504),
        (Some(&b""[..]), 502),
        (Some(b"SSH-2.0-OpenSSH_9.2\r\n"), 502),
        (Some(b"HTTP/1.1 20x OK\r\n\r\n"), 502),
        (Some(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"), 502),
        (Some(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nabc"), 502),
        (Some(b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n"), 502),
    ] {
        let at_most = if answer.is_none() { 1_000 } else { 30_000 };
        let (door, _connector, _endpoint) = waiting(at_most, move |stream| async move {
            match answer {
                None => std::future::pending().await,
                Some(answer) => say(stream, answer).await,
            }
        })
        .await;
        for answered in [visit(&door, WEB, "/").await, http2(&door, WEB).await.ask(get(WEB, "/")).await] {
            assert_eq!(hop(&answered), (status, "endpoint".to_owned()), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_too_early_never_looks_whole() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
    ] {
        let (door, _connector, _endpoint) = behind(move |stream| say(stream, answer)).await;
        let over_http1 = http1(&door, WEB).await.send(get(WEB, "/")).await;
        let over_http2 = http2(&door, WEB).await.send(get(WEB, "/")).await;
        for response in [over_http1, over_http2] {
            // Its header may be lost with the connection.
            let Ok(response) = response else { continue };
            assert_eq!(response.status(), 200);
            assert!(Answer::of(response).await.is_err(), "{}", String::from_utf8_lossy(answer));
        }
    }
}

#[tokio::test]
async fn what_an_endpoint_says_after_its_answer_is_nobody_s() {
    let (door, _connector, endpoint) = behind(|stream| {
        say(
            stream,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        )
    })
    .await;
    let mut visitor = http2(&door, WEB).await;
    for _ in 0..20 {
        assert_eq!(visitor.ask(get(WEB, "/")).await.text, "ok");
    }
    assert_eq!(endpoint.opened(), 20, "no connection was used again");
}

#[tokio::test]
async fn an_endpoint_that_answers_before_it_has_read_the_upload_is_heard() {
    let (door, _connector, _endpoint) = behind(|stream| {
        say(stream, b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!")
    })
    .await;
    let upload = || Request::post("/").header("host", WEB).body(body(vec![0; 100_000])).unwrap();
    for answer in [http1(&door, WEB).await.ask(upload()).await, http2(&door, WEB).await.ask(upload()).await] {
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (413, "no!"));
    }
}

#[tokio::test]
async fn an_endpoint_says_nothing_in_the_name_of_the_gateway() {
    let (door, _connector, _endpoint) = behind(|stream| {
        say(
            stream,
            b"HTTP/1.1 200 OK\r\nPortcullis-Fault: unreachable\r\nPortcullis-Probe: passed\r\nPortcullis-Hop: dns\r\nPortcullis-Tunnel: x\r\nConnection: x-secret, close\r\nX-Secret: 1\r\nContent-Length: 2\r\n\r\nok",
        )
    })
    .await;
    let answer = visit(&door, WEB, "/").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "ok"));
    let ours = answer.headers.keys().find(|name| name.as_str().starts_with("portcullis-"));
    assert_eq!((ours, answer.headers.contains_key("x-secret")), (None, false));
}

#[tokio::test]
async fn an_endpoint_that_hangs_stops_nobody_but_its_own_visitors() {
    let (door, _connector, _endpoint) = waiting(4_000, |mut stream| async move {
        let mut line = [0; 6];
        let _ = stream.read_exact(&mut line).await;
        if &line == b"GET /h" {
            std::future::pending::<()>().await;
        }
        say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let hanging = (0..16).map(|_| async { visit(&door, WEB, "/hang").await.status.as_u16() });
    let others = async {
        for _ in 0..16 {
            let answer = visit(&door, WEB, "/").await;
            assert_eq!(answer.text, "ok");
        }
    };
    let (hung, ()) =
        soon("all are answered", async { tokio::join!(futures::future::join_all(hanging), others) }).await;
    assert_eq!(hung, [504; 16]);
}

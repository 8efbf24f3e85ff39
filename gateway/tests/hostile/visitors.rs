//! Requests to public names that are none, or two.

use std::time::Duration;

use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use portcullis_contract::snapshot::{Auth, Mode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::backend::reply;
use crate::support::caller::{Error, exchange};
use crate::support::idp::Idp;
use crate::support::signer::Signer;
use crate::support::tunnel::{
    Connector, WEB, answers, get, http, http1, http2, plan, settings, tls, tunnel, visit,
};
use crate::support::{Backend, Door, Seen, body, eventually, soon};

/// The tunnel `web`, a connector for it, and an endpoint that has not been asked for anything.
async fn web(echo: &Backend) -> (Door, Connector) {
    let door = plan(vec![tunnel("web", &http(echo.address))]).start().await;
    let connector = Connector::start(&door, "web", &http(echo.address)).await;
    (door, connector)
}

#[tokio::test]
async fn requests_that_two_servers_would_read_in_two_ways_do_not_reach_the_connector() {
    let echo = Backend::echo().await;
    let (door, _connector) = web(&echo).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: web.t.example.com\r\nHost: lab.t.example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web.t.example.com\r\n folded: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web.t.example.com\r\nX-A: 1\r\n\tfolded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web.t.example.com\r\nX-A: b\0c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web.t.example.com\r\nX-A: b\rc\r\n\r\n",
        "GET /a/../b HTTP/1.1\r\nHost: web.t.example.com\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: web.t.example.com\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST / HTTP/1.1\r\nHost: web.t.example.com\r\nContent-Length: 5, 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: web.t.example.com\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: web.t.example.com\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: web.t.example.com\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: web.t.example.com\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: web.t.example.com\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: web.t.example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "CONNECT web.t.example.com:80 HTTP/1.1\r\nHost: web.t.example.com:80\r\n\r\n",
    ] {
        let mut stream = tls(&door, WEB, "http/1.1").await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        soon(request, stream.read_exact(&mut status)).await.unwrap();
        assert_eq!(std::str::from_utf8(&status), Ok("HTTP/1.1 400"), "{request}");
    }
    assert_eq!(echo.opened(), 0, "none of them reached the endpoint");
    assert_eq!(visit(&door, WEB, "/").await.status, 200);
}

#[tokio::test]
async fn length_and_chunks_together_reach_the_endpoint_as_chunks_alone() {
    let echo = Backend::echo().await;
    let (door, _connector) = web(&echo).await;
    for framing in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {WEB}\r\nConnection: close\r\n{framing}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        let answer = exchange(tls(&door, WEB, "http/1.1").await, request.as_bytes()).await;
        let answer = String::from_utf8(answer).unwrap();
        let seen: Seen = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((seen.body.as_str(), seen.all("content-length").len()), ("hello", 0), "{framing}");
    }
}

#[tokio::test]
async fn an_upload_whose_chunks_are_none_never_looks_whole_to_the_endpoint() {
    let echo = Backend::echo().await;
    let (door, _connector) = web(&echo).await;
    for chunks in [
        "5\r\nhello0\r\n\r\n",
        "5 \x01\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "-1\r\nhello\r\n0\r\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: {WEB}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let answer = exchange(tls(&door, WEB, "http/1.1").await, request.as_bytes()).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{chunks}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(visit(&door, WEB, "/").await.status, 200);
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals (RFC 7541, 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

#[tokio::test]
async fn http2_requests_that_are_none_do_not_reach_the_connector() {
    const METHOD: (&str, &str) = (":method", "GET");
    const SCHEME: (&str, &str) = (":scheme", "https");
    const PATH: (&str, &str) = (":path", "/");
    const NAME: (&str, &str) = (":authority", WEB);
    let echo = Backend::echo().await;
    let (door, _connector) = web(&echo).await;
    for (what, fields) in [
        ("no method", vec![SCHEME, PATH, NAME]),
        ("two methods", vec![METHOD, METHOD, SCHEME, PATH, NAME]),
        ("no path", vec![METHOD, SCHEME, NAME]),
        ("an empty path", vec![METHOD, SCHEME, (":path", ""), NAME]),
        ("two paths", vec![METHOD, SCHEME, PATH, PATH, NAME]),
        ("two names", vec![METHOD, SCHEME, PATH, NAME, (":authority", "lab.t.example.com")]),
        ("a pseudo-header after a field", vec![METHOD, SCHEME, PATH, ("x-a", "1"), NAME]),
        ("a pseudo-header that nobody knows", vec![METHOD, SCHEME, PATH, NAME, (":evil", "1")]),
        ("a response's pseudo-header", vec![METHOD, SCHEME, PATH, NAME, (":status", "200")]),
        ("a name in upper case", vec![METHOD, SCHEME, PATH, NAME, ("X-A", "1")]),
        ("the end of a line in a field", vec![METHOD, SCHEME, PATH, NAME, ("x-a", "1\r\nx-b: 2")]),
        ("the end of a line in a path", vec![METHOD, SCHEME, (":path", "/ HTTP/1.1\r\nx-b: 2"), NAME]),
        ("a transfer coding", vec![METHOD, SCHEME, PATH, NAME, ("transfer-encoding", "chunked")]),
        ("what is for one hop", vec![METHOD, SCHEME, PATH, NAME, ("connection", "close")]),
        ("somebody else's name", vec![METHOD, SCHEME, PATH, (":authority", "user@web.t.example.com")]),
        ("another length than there is", vec![METHOD, SCHEME, PATH, NAME, ("content-length", "5")]),
    ] {
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        sent.extend(frame(4, 0, 0, &[]));
        sent.extend(frame(1, 0x05, 1, &block(&fields)));
        let mut stream = tls(&door, WEB, "h2").await;
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = exchange(stream, b"").await;
        assert!(!says_ok(&answer), "{what}");
    }
    assert_eq!(echo.opened(), 0, "none of them reached the endpoint");
    let mut good = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    good.extend(frame(4, 0, 0, &[]));
    good.extend(frame(1, 0x05, 1, &block(&[METHOD, SCHEME, PATH, NAME])));
    let mut stream = tls(&door, WEB, "h2").await;
    stream.write_all(&good).await.unwrap();
    let mut answer = Vec::new();
    let until_ok = async {
        while !says_ok(&answer) {
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "what is well formed is answered");
            answer.extend_from_slice(&piece[..read]);
        }
    };
    soon("an answer", until_ok).await;
}

/// Whether a HEADERS frame begins with `:status: 200` (RFC 7541, appendix A).
fn says_ok(mut frames: &[u8]) -> bool {
    while let Some((head, rest)) = frames.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, rest)) = rest.split_at_checked(length) else { return false };
        // The size of the table may be said before it.
        let status = payload.iter().find(|byte| **byte & 0xe0 != 0x20);
        if head[3] == 1 && status == Some(&0x88) {
            return true;
        }
        frames = rest;
    }
    false
}

#[tokio::test]
async fn the_name_that_a_request_is_matched_by_is_the_only_one_that_the_endpoint_is_told() {
    let (web, lab) = (Backend::echo().await, Backend::echo().await);
    let door = plan(vec![tunnel("web", &http(web.address)), tunnel("lab", &http(lab.address))]).start().await;
    let _web = Connector::start(&door, "web", &http(web.address)).await;
    let _lab = Connector::start(&door, "lab", &http(lab.address)).await;
    // The absolute form names another tunnel than Host (RFC 9112, 3.2.2: it holds, and Host is nothing).
    let request =
        "GET https://lab.t.example.com/a HTTP/1.1\r\nHost: web.t.example.com\r\nConnection: close\r\n\r\n";
    let answer = exchange(tls(&door, WEB, "http/1.1").await, request.as_bytes()).await;
    let answer = String::from_utf8(answer).unwrap();
    let seen: Seen = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((seen.uri.as_str(), seen.all("host")), ("/a", vec!["lab.t.example.com"]));
    assert_eq!((web.opened(), lab.opened()), (0, 1));
    // `:authority` is another one than Host, and than the name of the TLS handshake.
    let mut request = Request::get("https://lab.t.example.com/b").body(body("")).unwrap();
    request.headers_mut().insert("host", WEB.parse().unwrap());
    let response = soon("an answer", http2(&door, WEB).await.0.send_request(request)).await.unwrap();
    let status = response.status();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    if status == 200 {
        let seen: Seen = serde_json::from_slice(&text).unwrap();
        assert_eq!(seen.all("host"), ["lab.t.example.com"]);
    } else {
        assert_eq!(status, 400);
    }
    assert_eq!(web.opened(), 0);
    // A name of the gateway's own in the absolute form, on a connection for public ones.
    let request =
        "GET https://door.example/healthz HTTP/1.1\r\nHost: web.t.example.com\r\nConnection: close\r\n\r\n";
    let answer = exchange(tls(&door, WEB, "http/1.1").await, request.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 421"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn the_token_that_lets_a_visitor_in_goes_no_further() {
    for mode in [Mode::Edge, Mode::MutualTls] {
        a_token_lets_in_and_goes_no_further(mode).await;
    }
}

async fn a_token_lets_in_and_goes_no_further(mode: Mode) {
    let (signer, echo) = (Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let mut closed = tunnel("web", &http(echo.address));
    closed.access.auth = Auth::Required;
    let mut plan = plan(vec![closed]);
    (plan.snapshot.mode, plan.snapshot.oidc) = (mode, Some(idp.oidc()));
    plan.snapshot.edge = (mode == Mode::Edge).then(|| idp.edge());
    plan.options.limits.issuer_pause = Duration::from_millis(200);
    let door = plan.start().await;
    // The connector is known by a token, too.
    let (mut settings, directory) = settings(&door, "web", &http(echo.address), &door.ci).await;
    let of_connector = signer.token(&idp.claims("bob@shop", &["door-user"], "tunnel:write"));
    let file = directory.path().join("token");
    std::fs::write(&file, &of_connector).unwrap();
    let folder = Some(directory.path().to_owned());
    settings.credentials = portcullis_cli::connector::Credentials::Files { folder, token_file: Some(file) };
    let _connector = Connector::run(settings, directory);
    let token = signer.token(&idp.claims("alice@shop", &["door-user"], ""));
    let asked = || {
        let mut request = get(WEB, "/");
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    };
    eventually("the token is believed", || async {
        http1(&door, WEB).await.ask(asked()).await.status == 200
    })
    .await;
    for seen in [
        http1(&door, WEB).await.ask(asked()).await.json::<Seen>(),
        http2(&door, WEB).await.ask(asked()).await.json::<Seen>(),
    ] {
        assert_eq!(seen.all("x-portcullis-user"), ["alice@shop"]);
        let is_told = |secret: &str| seen.headers.iter().any(|(_, value)| value.contains(secret));
        assert!(!is_told(&token) && !is_told(&of_connector), "{:?}", seen.headers);
    }
    // Whoever brings it in two fields, or in the wrong one, is not let in by half of it.
    let mut twice = asked();
    twice.headers_mut().append("authorization", "Bearer nonsense".parse().unwrap());
    assert_eq!(http1(&door, WEB).await.ask(twice).await.status, 401);
    assert_eq!(visit(&door, WEB, &format!("/?access_token={token}")).await.status, 401);
    let (_, metrics) = door.admin(door.metrics, "/metrics").await;
    assert!(!metrics.contains(&token) && !metrics.contains("alice"), "{metrics}");
}

#[tokio::test]
async fn trailers_of_a_visitor_claim_nothing() {
    let told = Backend::new(|request: Request<hyper::body::Incoming>| async move {
        let trailers = request.into_body().collect().await?.trailers().cloned().unwrap_or_default();
        Ok::<_, Error>(reply(format!(
            "{:?}",
            trailers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>()
        )))
    })
    .await;
    let endpoint = format!("h2c://localhost:{}", told.address.port());
    let door = plan(vec![tunnel("web", &endpoint)]).start().await;
    let _connector = Connector::start(&door, "web", &endpoint).await;
    answers(&door, WEB, 200).await;
    let named = [("x-portcullis-user", "evil"), ("portcullis-tunnel", "evil"), ("x-end", "yes")];
    let trailers: HeaderMap =
        named.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let frames = [
        Ok::<_, Error>(http_body::Frame::data(bytes::Bytes::from_static(b"a"))),
        Ok(http_body::Frame::trailers(trailers)),
    ];
    let sent = http_body_util::StreamBody::new(futures::stream::iter(frames)).boxed();
    let request = Request::post("/").header("host", WEB).header("te", "trailers").body(sent).unwrap();
    assert_eq!(http2(&door, WEB).await.ask(request).await.text, r#"["x-end"]"#);
}

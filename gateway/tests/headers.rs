//! What callers may not claim, and what the gateway says of them instead.

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use portcullis_contract::snapshot::{Client, Protocol};
use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;

use crate::support::caller::{Error, exchange};
use crate::support::door::{Plan, backend, prefix};
use crate::support::{Backend, Door, Seen, pki, request};

const CLAIMS: [&str; 30] = [
    "x-portcullis-user",
    "x-portcullis-roles",
    "x-portcullis-anything",
    "x_portcullis_user",
    "x-portcullis_user",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-user",
    "x_forwarded_for",
    "x-real-ip",
    "x_real_ip",
    "client-cert",
    "client-cert-chain",
    "client_cert",
    "x-client-cert",
    "x-client-cert-dn",
    "x-forwarded-client-cert",
    "x-ssl-client-cert",
    "x-ssl-client-verify",
    "x-ssl_client-verify",
    "x-remote-user",
    "x-remote-group",
    "remote-user",
    "remote_user",
    "x-auth-request-user",
    "x-auth-request-email",
    "x_auth_request_groups",
    "true-client-ip",
];

#[tokio::test]
async fn claims_of_the_caller_are_replaced_by_what_is_proved() {
    let echo = Backend::echo().await;
    for door in [Door::to_http1(echo.address).await, Door::to_h2c(echo.address).await] {
        let claims = || {
            let mut sent = request("/");
            for name in CLAIMS {
                sent.headers_mut().append(name, "evil".parse().unwrap());
                sent.headers_mut().append(name, "evil too".parse().unwrap());
            }
            sent.headers_mut().insert("x-harmless", "kept".parse().unwrap());
            sent
        };
        for answer in [door.http1().await.ask(claims()).await, door.http2().await.ask(claims()).await] {
            let seen: Seen = answer.json();
            assert_eq!(seen.all("x-portcullis-user"), ["ci@shop"]);
            assert_eq!(seen.all("x-portcullis-roles"), ["user,deployer"]);
            assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
            assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
            assert_eq!(seen.all("x-forwarded-host"), ["door.example"]);
            assert_eq!(seen.all("x-harmless"), ["kept"]);
            assert!(!seen.headers.iter().any(|(_, value)| value.contains("evil")), "{:?}", seen.headers);
        }
    }
}

#[tokio::test]
async fn grpc_metadata_is_cleaned_too() {
    let echo = Backend::echo().await;
    let door = Door::to_h2c(echo.address).await;
    let sent = Request::post("/a.B/C")
        .header("host", "door.example")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "3S")
        .header("x-portcullis-roles", "admin")
        .header("x-portcullis-user-bin", "ZXZpbA")
        .header("trace-bin", "AAAA")
        .body(crate::support::body("\0\0\0\0\0"))
        .unwrap();
    let seen: Seen = door.http2().await.ask(sent).await.json();
    assert_eq!(seen.all("x-portcullis-roles"), ["user,deployer"]);
    assert!(seen.all("x-portcullis-user-bin").is_empty());
    assert_eq!(seen.all("te"), ["trailers"]);
    assert_eq!(seen.all("grpc-timeout"), ["3S"]);
    assert_eq!(seen.all("trace-bin"), ["AAAA"]);
}

#[tokio::test]
async fn trailers_are_cleaned_too() {
    let echo = Backend::echo().await;
    for door in [Door::to_http1(echo.address).await, Door::to_h2c(echo.address).await] {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-portcullis-user", "evil".parse().unwrap());
        trailers.insert("x_forwarded_for", "evil".parse().unwrap());
        trailers.insert("x-checksum", "42".parse().unwrap());
        let frames = [Ok::<_, Error>(Frame::data(Bytes::from("hello"))), Ok(Frame::trailers(trailers))];
        let sent = Request::post("/")
            .header("host", "door.example")
            .header("trailer", "x-checksum, x-portcullis-user, x_forwarded_for")
            .body(StreamBody::new(futures::stream::iter(frames)).boxed())
            .unwrap();
        let seen: Seen = door.http2().await.ask(sent).await.json();
        assert_eq!(seen.body, "hello");
        assert_eq!(seen.trailers, [("x-checksum".to_owned(), "42".to_owned())]);
    }
}

#[tokio::test]
async fn what_belongs_to_one_hop_stays_on_it() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    let raw = b"GET / HTTP/1.1\r\nHost: door.example\r\nConnection: close, X-Secret-Hop, x-portcullis-user, host\r\n\
        X-Secret-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n\
        TE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";
    let answer = String::from_utf8(exchange(door.tls(&door.ci, "http/1.1").await, raw).await).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let seen: Seen = serde_json::from_str(text).unwrap();
    for name in [
        "x-secret-hop",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
        "connection",
    ] {
        assert!(seen.all(name).is_empty(), "{name}: {:?}", seen.headers);
    }
    assert_eq!(seen.all("x-portcullis-user"), ["ci@shop"]);
    assert_eq!(seen.all("host"), ["door.example"]);
}

#[tokio::test]
async fn the_certificate_is_passed_on_where_asked_and_only_there() {
    let echo = Backend::echo().await;
    let mut told = backend("told", prefix("/told"), echo.address, Protocol::Http1);
    told.forward_client_certificate = true;
    let door =
        Plan::new(vec![told, backend("not", prefix("/"), echo.address, Protocol::Http1)]).start().await;
    let mut caller = door.http2().await;
    let seen: Seen = caller.get("/told").await.json();
    let der = base64::engine::general_purpose::STANDARD.encode(&pki::chain(&door.ci)[0]);
    assert_eq!(seen.all("client-cert"), [format!(":{der}:")]);
    let seen: Seen = caller.get("/not").await.json();
    assert!(seen.all("client-cert").is_empty());
}

#[tokio::test]
async fn a_user_that_no_header_can_carry_is_encoded() {
    let echo = Backend::echo().await;
    let mut plan = Plan::new(vec![backend("api", prefix("/"), echo.address, Protocol::Http1)]);
    plan.snapshot.clients = vec![Client {
        name: "ci".to_owned(),
        user: "zoë\r\nX-Evil: 1".to_owned(),
        roles: vec!["a,b".to_owned(), "c".to_owned()],
        scopes: None,
    }];
    let door = plan.start().await;
    let seen: Seen = door.http1().await.get("/").await.json();
    assert_eq!(seen.all("x-portcullis-user"), ["zo%C3%AB%0D%0AX-Evil:%201"]);
    assert_eq!(seen.all("x-portcullis-roles"), ["a%2Cb,c"]);
    assert!(seen.all("x-evil").is_empty());
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    for raw in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n",
    ] {
        let mut stream = door.tls(&door.ci, "http/1.1").await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, raw.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        crate::support::soon(raw, stream.read_exact(&mut status)).await.unwrap();
        assert_eq!(std::str::from_utf8(&status), Ok("HTTP/1.1 400"), "{raw}");
    }
    assert_eq!(echo.opened(), 0, "none of them reached the backend");
}

#[tokio::test]
async fn length_and_chunks_together_reach_the_backend_as_chunks_alone() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    for framing in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let raw = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        let answer = exchange(door.tls(&door.ci, "http/1.1").await, raw.as_bytes()).await;
        let answer = String::from_utf8(answer).unwrap();
        let seen: Seen = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(seen.body, "hello");
        assert!(seen.all("content-length").is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_spelling_of_a_claim_gets_through(
        claim in proptest::sample::select(&CLAIMS[..]),
        flips in proptest::collection::vec(any::<bool>(), 32),
        suffix in "(|-x|_y|z)",
    ) {
        let spelled: String = claim.chars().zip(flips).map(|(letter, flip)| match letter {
            '-' | '_' if flip => '_',
            '-' | '_' => '-',
            other if flip => other.to_ascii_uppercase(),
            other => other,
        }).collect();
        // A whole name is reserved as it is; a prefix with whatever follows it.
        let whole = ["forwarded", "x-real-ip", "remote-user", "true-client-ip"];
        let name = if whole.contains(&claim.replace('_', "-").as_str()) { spelled } else { format!("{spelled}{suffix}") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let echo = Backend::echo().await;
            let door = Door::to_http1(echo.address).await;
            let raw = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{name}: evil\r\n\r\n");
            let answer = exchange(door.tls(&door.ci, "http/1.1").await, raw.as_bytes()).await;
            let answer = String::from_utf8(answer).unwrap();
            prop_assert!(answer.starts_with("HTTP/1.1 200"), "{}", answer);
            prop_assert!(!answer.contains("evil"), "{}", answer);
            Ok(())
        })?;
    }
}

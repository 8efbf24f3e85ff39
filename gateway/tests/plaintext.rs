//! Behind a trusted proxy that ends TLS: one port for HTTP/1.1 and h2c, and what the proxy says of others.

use http::{Request, StatusCode};
use portcullis_contract::snapshot::{Auth, Mode, Protocol};
use tokio::io::AsyncWriteExt as _;

use crate::support::caller::{Http1, Http2, exchange};
use crate::support::door::{Plan, backend, prefix};
use crate::support::idp::Idp;
use crate::support::signer::Signer;
use crate::support::{Backend, Door, Seen, body, eventually, request};

async fn door(echo: &Backend, change: impl FnOnce(&mut Plan)) -> Door {
    let mut open = backend("api", prefix("/"), echo.address, Protocol::Http1);
    open.auth = Auth::None;
    let mut guarded = backend("guarded", prefix("/guarded"), echo.address, Protocol::Http1);
    guarded.auth = Auth::Required;
    let mut plan = Plan::new(vec![open, guarded]);
    plan.snapshot.mode = Mode::Plaintext;
    change(&mut plan);
    plan.start().await
}

fn through_a_proxy(path: &str) -> http::request::Builder {
    Request::get(path)
        .header("host", "door.example")
        .header("x-forwarded-for", "6.6.6.6, 192.0.2.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "shop.example.com")
        .header("x-portcullis-user", "boss")
}

#[tokio::test]
async fn http_1_and_http_2_are_told_apart_on_one_port() {
    let echo = Backend::echo().await;
    let door = door(&echo, |_| {}).await;
    let seen: Seen = Http1::new(door.tcp().await).await.get("/a?b=c").await.json();
    assert_eq!(seen.uri, "/a?b=c");
    let seen: Seen = Http2::new(door.tcp().await).await.get("/a?b=c").await.json();
    assert_eq!(seen.uri, "/a?b=c");
    let mut slow = door.tcp().await;
    slow.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let answer = exchange(slow, b"not so\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_its_caller_counts_and_identity_never_does() {
    let echo = Backend::echo().await;
    let door = door(&echo, |_| {}).await;
    let seen: Seen =
        Http1::new(door.tcp().await).await.ask(through_a_proxy("/").body(body("")).unwrap()).await.json();
    assert_eq!(seen.all("x-forwarded-for"), ["192.0.2.7"], "the last that is no trusted proxy");
    assert_eq!(
        (seen.all("x-forwarded-proto"), seen.all("x-forwarded-host")),
        (vec!["https"], vec!["shop.example.com"])
    );
    assert!(seen.all("x-portcullis-user").is_empty());
    let seen: Seen = Http1::new(door.tcp().await).await.get("/").await.json();
    assert_eq!(
        (seen.all("x-forwarded-for"), seen.all("x-forwarded-proto")),
        (vec!["127.0.0.1"], vec!["http"])
    );
}

#[tokio::test]
async fn with_tls_nobody_is_a_proxy_unless_the_configuration_says_so() {
    let echo = Backend::echo().await;
    for (proxies, told) in [(vec![], "127.0.0.1"), (vec!["127.0.0.0/8".to_owned()], "192.0.2.7")] {
        let mut plan = Plan::new(vec![backend("api", prefix("/"), echo.address, Protocol::Http1)]);
        plan.snapshot.trusted_proxies = proxies;
        let door = plan.start().await;
        let seen: Seen = door.http1().await.ask(through_a_proxy("/").body(body("")).unwrap()).await.json();
        assert_eq!(
            (seen.all("x-forwarded-for"), seen.all("x-portcullis-user")),
            (vec![told], vec!["ci@shop"])
        );
    }
}

#[tokio::test]
async fn a_proxy_may_say_it_in_a_proxy_protocol_header_before_all_else() {
    let echo = Backend::echo().await;
    let door = door(&echo, |plan| {
        plan.snapshot.trusted_proxies = vec!["127.0.0.1/32".to_owned()];
        plan.snapshot.proxy_protocol = true;
    })
    .await;
    let mut stream = door.tcp().await;
    // Loopback is a proxy where it connects, not where a proxy speaks of it.
    stream.write_all(b"PROXY TCP4 127.0.0.9 10.0.0.1 5000 80\r\n").await.unwrap();
    let seen: Seen = Http1::new(stream).await.ask(through_a_proxy("/").body(body("")).unwrap()).await.json();
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.9"], "what the caller itself says does not count");
    assert_eq!(
        (seen.all("x-forwarded-proto"), seen.all("x-forwarded-host")),
        (vec!["http"], vec!["door.example"])
    );
    let refused = exchange(door.tcp().await, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(refused.is_empty(), "a connection without the header is no proxy's: {refused:?}");
}

#[tokio::test]
async fn without_an_issuer_nobody_is_known_and_nobody_is_an_admin() {
    let echo = Backend::echo().await;
    let door = door(&echo, |_| {}).await;
    let mut caller = Http1::new(door.tcp().await).await;
    assert_eq!(caller.get("/open").await.status, StatusCode::OK);
    assert_eq!(caller.get("/guarded").await.status, StatusCode::UNAUTHORIZED);
    let spoofed =
        through_a_proxy("/guarded").header("authorization", "Bearer x").header("x-portcullis-roles", "admin");
    assert_eq!(caller.ask(spoofed.body(body("")).unwrap()).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn with_an_issuer_a_bearer_token_says_who_is_asking() {
    let (signer, echo) = (Signer::rsa("r"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let door = door(&echo, |plan| plan.snapshot.oidc = Some(idp.oidc())).await;
    let token = signer.token(&idp.claims("alice", &["door-user"], ""));
    let mut caller = Http2::new(door.tcp().await).await;
    eventually("the token is believed", || {
        let (mut caller, token) = (caller.clone(), token.clone());
        async move {
            let request = request("/guarded");
            let (mut parts, text) = request.into_parts();
            parts.headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            caller.ask(Request::from_parts(parts, text)).await.status == StatusCode::OK
        }
    })
    .await;
    let asked = Request::get("/guarded")
        .header("host", "door.example")
        .header("authorization", format!("Bearer {token}"));
    let seen: Seen = caller.ask(asked.body(body("")).unwrap()).await.json();
    assert_eq!((seen.all("x-portcullis-user"), seen.all("authorization")), (vec!["alice"], vec![]));
}

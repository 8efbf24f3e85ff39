//! Connectors behind an HTTP proxy.

use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;

use crate::support::proxy::Proxy;
use crate::support::tunnel::{Connector, WEB, answers, certificate, http, plan, settings, tunnel, visit};
use crate::support::{Backend, Door, eventually};

/// A gateway with one tunnel, and a connector that goes through this proxy.
async fn through(proxy: &str, echo: &Backend, websocket: bool) -> (Door, Connector) {
    let endpoint = http(echo.address);
    let mut plan = plan(vec![tunnel("web", &endpoint)]);
    plan.snapshot.clients.push(crate::support::door::client("dev"));
    let door = plan.start().await;
    let shown = if websocket {
        crate::support::pki::client(&door.client_ca, "dev")
    } else {
        certificate(&door.client_ca, "web")
    };
    let (mut settings, directory) = settings(&door, "web", &endpoint, &shown).await;
    settings.proxies = Arc::new(Matcher::builder().https(proxy).build());
    settings.websocket = websocket;
    (door, Connector::run(settings, directory))
}

#[tokio::test]
async fn a_connector_reaches_the_gateway_through_a_proxy_with_and_without_a_password() {
    let echo = Backend::echo().await;
    for (credentials, expected) in [("", None), ("alice:s%40fe@", Some("Basic YWxpY2U6c0BmZQ=="))] {
        for websocket in [false, true] {
            let proxy = Proxy::new(expected).await;
            let (door, _connector) =
                through(&format!("http://{credentials}{}", proxy.address), &echo, websocket).await;
            answers(&door, WEB, 200).await;
            let asked = proxy.asked.lock().unwrap().clone();
            let target = format!("localhost:{}", door.address.port());
            assert!(
                asked[0].starts_with(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")),
                "{asked:?}"
            );
            assert_eq!(asked[0].contains("Proxy-Authorization"), expected.is_some(), "{asked:?}");
        }
    }
}

#[tokio::test]
async fn a_connector_comes_again_after_a_proxy_that_refuses_or_speaks_garbage() {
    let echo = Backend::echo().await;
    let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X-A: 1\r\n".repeat(2_000)].concat();
    for (what, answer) in [
        ("a refusal", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("another refusal", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_vec()),
        ("a redirection", b"HTTP/1.1 302 Found\r\nLocation: https://login.example\r\n\r\n".to_vec()),
        ("a status that is none", b"HTTP/1.1 2000 OK\r\n\r\n".to_vec()),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()),
        ("nothing", Vec::new()),
        ("no end of the header", endless),
        ("an answer that is cut", b"HTTP/1.1 403 Forb".to_vec()),
    ] {
        let times = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        let proxy = Proxy::answering(move |_| {
            // The second attempt comes through.
            match counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => answer.clone(),
                _ => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            }
        })
        .await;
        let (door, _connector) = through(&format!("http://{}", proxy.address), &echo, false).await;
        answers(&door, WEB, 200).await;
        assert!(times.load(std::sync::atomic::Ordering::SeqCst) >= 2, "{what}");
    }
}

#[tokio::test]
async fn without_the_password_nobody_is_connected_and_the_password_is_not_sent_to_the_gateway() {
    let echo = Backend::echo().await;
    let proxy = Proxy::new(Some("Basic YWxpY2U6c2FmZQ==")).await;
    let (door, _connector) = through(&format!("http://alice:wrong@{}", proxy.address), &echo, false).await;
    eventually("it has asked twice", || async { proxy.asked.lock().unwrap().len() >= 2 }).await;
    assert_eq!(visit(&door, WEB, "/").await.status, 503);
    assert!(
        door.metric("portcullis_gateway_handshakes_total{result=\"ok\"}").await < 1.5,
        "the visitor's alone"
    );
}

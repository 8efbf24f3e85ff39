//! Who gets through the TLS handshake, who does not, and that each is told and counted.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::support::caller::exchange;
use crate::support::door::Plan;
use crate::support::{Backend, Door, pki, soon};

/// The alert that a handshake with this configuration ends with. With TLS 1.3 it comes after the caller's own part.
pub(crate) async fn alert(door: &Door, config: ClientConfig) -> AlertDescription {
    let error = match door.tls_with(config).await {
        Err(error) => error,
        Ok(mut stream) => soon("an alert", stream.read_u8()).await.unwrap_err(),
    };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("no alert but {other:?} ({error})"),
    }
}

pub(crate) fn handshakes(result: &str) -> String {
    format!("portcullis_gateway_handshakes_total{{result=\"{result}\"}}")
}

#[tokio::test]
async fn a_listed_client_is_served_over_every_protocol() {
    let backend = Backend::echo().await;
    let door = Door::to_http1(backend.address).await;
    assert_eq!(door.http1().await.get("/a").await.status, 200);
    assert_eq!(door.http2().await.get("/a").await.status, 200);
    door.counted(&handshakes("ok"), 2.0).await;
}

#[tokio::test]
async fn tls_1_2_is_served_too() {
    let backend = Backend::echo().await;
    let door = Door::to_http1(backend.address).await;
    let config = pki::client_config_of(&door.server_ca, Some(&door.ci), "h2", &[&rustls::version::TLS12]);
    let stream = door.tls_with(config).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    let mut caller = crate::support::caller::Http2::new(stream).await;
    assert_eq!(caller.get("/a").await.status, 200);
}

#[tokio::test]
async fn a_session_is_resumed() {
    let backend = Backend::echo().await;
    let door = Door::to_http1(backend.address).await;
    let config = Arc::new(pki::client_config(&door.server_ca, Some(&door.ci), "http/1.1"));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream =
            TlsConnector::from(Arc::clone(&config)).connect(name, door.tcp().await).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
}

#[tokio::test]
async fn a_caller_without_a_certificate_gets_an_alert() {
    let door = Plan::new(Vec::new()).start().await;
    let config = pki::client_config(&door.server_ca, None, "h2");
    assert_eq!(alert(&door, config).await, AlertDescription::CertificateRequired);
    door.counted(&handshakes("no_certificate"), 1.0).await;
}

#[tokio::test]
async fn an_expired_certificate_gets_an_alert() {
    let door = Plan::new(Vec::new()).start().await;
    let expired = pki::expired_client(&door.client_ca, "ci");
    let config = pki::client_config(&door.server_ca, Some(&expired), "h2");
    assert_eq!(alert(&door, config).await, AlertDescription::CertificateExpired);
    door.counted(&handshakes("expired"), 1.0).await;
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_gets_an_alert() {
    let door = Plan::new(Vec::new()).start().await;
    let foreign = pki::client(&pki::authority("foreign"), "ci");
    let config = pki::client_config(&door.server_ca, Some(&foreign), "h2");
    assert_eq!(alert(&door, config).await, AlertDescription::UnknownCA);
    door.counted(&handshakes("unknown_issuer"), 1.0).await;
}

#[tokio::test]
async fn a_foreign_authority_of_the_same_name_gets_an_alert() {
    let door = Plan::new(Vec::new()).start().await;
    let foreign = pki::client(&pki::authority("clients"), "ci");
    let config = pki::client_config(&door.server_ca, Some(&foreign), "h2");
    let alert = alert(&door, config).await;
    assert!(matches!(alert, AlertDescription::UnknownCA | AlertDescription::DecryptError), "{alert:?}");
    door.counted(&handshakes("unknown_issuer"), 1.0).await;
}

#[tokio::test]
async fn a_server_certificate_of_the_right_authority_gets_an_alert() {
    let door = Plan::new(Vec::new()).start().await;
    let server = pki::client_with_server_usage(&door.client_ca, "ci");
    let config = pki::client_config(&door.server_ca, Some(&server), "h2");
    assert_eq!(alert(&door, config).await, AlertDescription::UnsupportedCertificate);
    door.counted(&handshakes("bad_usage"), 1.0).await;
}

#[tokio::test]
async fn the_server_s_own_certificate_opens_nothing() {
    let door = Plan::new(Vec::new()).start().await;
    let config = pki::client_config(&door.server_ca, Some(&door.server), "h2");
    assert_eq!(alert(&door, config).await, AlertDescription::UnsupportedCertificate);
}

#[tokio::test]
async fn garbage_closes_the_connection_and_is_counted() {
    let door = Plan::new(Vec::new()).start().await;
    exchange(door.tcp().await, &[0xff; 2000]).await;
    // Begins like TLS and is not.
    exchange(door.tcp().await, &[0x16, 0x03, 0x01, 0x00, 0x05, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]).await;
    exchange(door.tcp().await, &[0x16, 0xff, 0xff, 0xff, 0xff, 0xff]).await;
    door.counted(&handshakes("not_tls"), 3.0).await;
    assert_eq!(door.http2().await.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn plaintext_http_is_told_to_use_tls() {
    let door = Plan::new(Vec::new()).start().await;
    let answer = exchange(door.tcp().await, b"GET / HTTP/1.1\r\nHost: door.example\r\n\r\n").await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("use https://"), "{answer}");
    door.counted(&handshakes("not_tls"), 1.0).await;
}

#[tokio::test]
async fn half_open_connections_time_out() {
    let mut plan = Plan::new(Vec::new());
    plan.options.limits.handshake_time = Duration::from_millis(100);
    let door = plan.start().await;
    // One that says nothing, and one that stops in the middle of its hello.
    let (silent, half) =
        tokio::join!(exchange(door.tcp().await, b""), exchange(door.tcp().await, &[0x16, 3, 1, 2]));
    assert!(silent.is_empty() && half.is_empty());
    door.counted(&handshakes("timeout"), 2.0).await;
}

#[tokio::test]
async fn connections_that_close_at_once_are_survived() {
    let door = Plan::new(Vec::new()).start().await;
    for _ in 0..50 {
        drop(door.tcp().await);
    }
    door.counted(&handshakes("other"), 50.0).await;
    assert_eq!(door.http1().await.get("/healthz").await.status, 200);
}

//! What TLS is spoken: versions, ciphers, and how keys are agreed on.

use std::sync::Arc;

use portcullis_contract::snapshot::TlsPolicy;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, ClientConfig, NamedGroup, ProtocolVersion};

use crate::support::{Backend, Door, pki};

/// A caller that has only some of what there is.
fn caller(door: &Door, change: impl FnOnce(&mut CryptoProvider), tls12: bool) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    change(&mut provider);
    let versions = if tls12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[versions])
        .unwrap()
        .with_root_certificates(pki::roots(&door.server_ca))
        .with_client_auth_cert(pki::chain(&door.ci), pki::key(&door.ci))
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn only(suites: &'static [CipherSuite]) -> impl FnOnce(&mut CryptoProvider) {
    |provider| provider.cipher_suites.retain(|it| suites.contains(&it.suite()))
}

fn exchanges(kind: &str) -> String {
    format!("portcullis_gateway_key_exchanges_total{{kind=\"{kind}\"}}")
}

#[tokio::test]
async fn keys_are_agreed_on_in_the_way_that_holds_against_quantum_computers_where_both_have_it() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    let stream = door.tls_with(caller(&door, |_| {}, false)).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    door.counted(&exchanges("hybrid"), 1.0).await;
    let without = |provider: &mut CryptoProvider| {
        provider.kx_groups.retain(|it| it.name() == NamedGroup::X25519);
    };
    let stream = door.tls_with(caller(&door, without, false)).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519, "whoever has it not comes in too");
    door.counted(&exchanges("classic"), 1.0).await;
}

async fn comes_in(door: &Door, config: ClientConfig) -> std::io::Result<Option<ProtocolVersion>> {
    door.tls_with(config).await.map(|stream| stream.get_ref().1.protocol_version())
}

#[tokio::test]
async fn a_policy_refuses_older_versions_and_shorter_keys_from_the_next_handshake_on() {
    const SHORT: &[CipherSuite] =
        &[CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let echo = Backend::echo().await;
    let mut door = Door::to_http1(echo.address).await;
    for tls12 in [false, true] {
        assert!(comes_in(&door, caller(&door, only(SHORT), tls12)).await.is_ok(), "without a policy");
    }
    let mut open = door.http2().await;
    for (number, policy) in [
        TlsPolicy { only_1_3: true, strict_ciphers: false },
        TlsPolicy { only_1_3: false, strict_ciphers: true },
    ]
    .into_iter()
    .enumerate()
    {
        door.snapshot.tls = policy;
        door.write_snapshot();
        door.counted(
            "portcullis_gateway_snapshots_applied_total",
            2.0 + f64::from(u8::try_from(number).unwrap()),
        )
        .await;
        let older = comes_in(&door, caller(&door, |_| {}, true)).await;
        assert_eq!(older.is_ok(), !policy.only_1_3, "{policy:?}: {older:?}");
        let shorter = comes_in(&door, caller(&door, only(SHORT), false)).await;
        assert_eq!(shorter.is_ok(), !policy.strict_ciphers, "{policy:?}: {shorter:?}");
        let shorter = comes_in(&door, caller(&door, only(SHORT), true)).await;
        assert!(shorter.is_err(), "{policy:?}");
        let version = comes_in(&door, caller(&door, |_| {}, false)).await.unwrap();
        assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
        assert_eq!(open.get("/").await.status, 200, "what is open stays");
    }
}

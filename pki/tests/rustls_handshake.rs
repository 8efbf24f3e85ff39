//! What rustls, which the gateway and the connector speak TLS with, says of our certificates: real
//! handshakes in memory, with the client verifier that the gateway uses.

#![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

use std::sync::Arc;

use portcullis_pki::{
    Authority, AuthorityProfile, KeyAlgorithm, Leaf, LeafProfile, NameConstraints, RandomMint, Usage,
    issue_authority, issue_leaf, read_authority,
};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00:00 UTC);
const CLIENT: &str = "spiffe://cluster.local/ns/demo/gateway/door/client/alice";

/// A clock that stands still.
#[derive(Debug)]
struct Standing(OffsetDateTime);

impl TimeProvider for Standing {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.unix_timestamp().try_into().ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

fn authority(name_constraints: NameConstraints) -> Authority {
    let (lifetime, key) = (Duration::days(3650), KeyAlgorithm::P256);
    let common_name = "portcullis demo/door".to_owned();
    let profile = AuthorityProfile { common_name, lifetime, name_constraints, key };
    issue_authority(&profile, 1, NOW, &RandomMint).unwrap()
}

fn leaf(authority: &Authority, usage: Usage, names: &[&str]) -> Leaf {
    let mut profile = LeafProfile {
        common_name: "leaf".to_owned(),
        usage,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        uris: Vec::new(),
        lifetime: Duration::days(7),
        renew_before: Duration::days(2),
    };
    for name in names {
        match name.parse() {
            Ok(address) => profile.ip_addresses.push(address),
            Err(_) if name.contains("://") => profile.uris.push((*name).to_owned()),
            Err(_) => profile.dns_names.push((*name).to_owned()),
        }
    }
    // Refuse nothing here: it is rustls that is to judge.
    let mut careless = authority.clone();
    careless.facts.name_constraints = NameConstraints::default();
    issue_leaf(&careless, &profile, NOW, &RandomMint).unwrap()
}

/// Shakes hands in memory at `now`; the error of the side that refuses.
fn handshake(
    authority: &Authority,
    server: &Leaf,
    client: &Leaf,
    name: &str,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = |leaf: &Leaf| PrivateKeyDer::from_pem_slice(leaf.key.expose().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&authority.certificate_pem)).unwrap();
    let roots = Arc::new(roots);
    let clock = || Arc::new(Standing(now));

    let clients =
        WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build().unwrap();
    let at_server = ServerConfig::builder_with_details(provider.clone(), clock())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate(&server.certificate_pem)], key(server))
        .unwrap();
    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build().unwrap();
    let at_client = ClientConfig::builder_with_details(provider, clock())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_webpki_verifier(servers)
        .with_client_auth_cert(vec![certificate(&client.certificate_pem)], key(client))
        .unwrap();

    let mut server = ServerConnection::new(Arc::new(at_server)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(at_client), name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

const NAMES: [&str; 5] = ["door.demo.svc", "localhost", "127.0.0.1", "10.2.3.4", "fd00::1"];

fn covering() -> NameConstraints {
    NameConstraints::covering(NAMES[..2].iter().copied(), NAMES[2..].iter().map(|name| name.parse().unwrap()))
}

#[test]
fn rustls_shakes_hands_on_every_name_with_and_without_name_constraints() {
    for constraints in [NameConstraints::default(), covering()] {
        let authority = authority(constraints);
        let server = leaf(&authority, Usage::Server, &NAMES);
        let client = leaf(&authority, Usage::Client, &[CLIENT]);
        for name in NAMES {
            assert_eq!(handshake(&authority, &server, &client, name, NOW), Ok(()), "{name}");
        }
    }
}

#[test]
fn rustls_refuses_a_server_beyond_its_authoritys_constraints() {
    for constraints in [covering(), NameConstraints::covering([], [])] {
        let authority = authority(constraints);
        let client = leaf(&authority, Usage::Client, &[CLIENT]);
        for name in ["www.example.org", "10.2.3.5", "fd00::2"] {
            let server = leaf(&authority, Usage::Server, &[name]);
            let refused = handshake(&authority, &server, &client, name, NOW).unwrap_err();
            assert!(refused.to_string().contains("NameConstraintViolation"), "{name}: {refused}");
        }
    }
}

#[test]
fn rustls_refuses_a_leaf_on_the_wrong_side() {
    let authority = authority(NameConstraints::default());
    let server = leaf(&authority, Usage::Server, &[NAMES[0], CLIENT]);
    let client = leaf(&authority, Usage::Client, &[NAMES[0], CLIENT]);
    let wrong = |refused: Result<(), Error>| {
        let refused = refused.unwrap_err();
        assert!(
            matches!(
                refused,
                Error::InvalidCertificate(
                    CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }
                )
            ),
            "{refused:?}"
        );
    };
    wrong(handshake(&authority, &client, &client, NAMES[0], NOW));
    wrong(handshake(&authority, &server, &server, NAMES[0], NOW));
}

#[test]
fn rustls_accepts_a_leaf_from_five_minutes_before_it_was_issued_until_its_end() {
    let authority = authority(NameConstraints::default());
    let server = leaf(&authority, Usage::Server, &[NAMES[0]]);
    let client = leaf(&authority, Usage::Client, &[CLIENT]);
    let at = |now| handshake(&authority, &server, &client, NAMES[0], now);
    let end = server.facts.not_after;
    assert_eq!([at(NOW - Duration::minutes(5)), at(end)], [Ok(()), Ok(())]);
    assert!(at(NOW - Duration::minutes(5) - Duration::seconds(1)).is_err());
    assert!(at(end + Duration::seconds(1)).is_err());
}

/// The reason that there are none (docs/adr/0004): were this to fail, URI constraints could return.
#[test]
fn rustls_refuses_every_uri_under_an_authority_that_constrains_uris() {
    // permittedSubtrees [0] { GeneralSubtree { [6] "cluster.local" } }
    let host = b"cluster.local";
    let length = u8::try_from(host.len()).unwrap();
    let mut content = vec![0x30, length + 6, 0xa0, length + 4, 0x30, length + 2, 0x86, length];
    content.extend_from_slice(host);
    let mut constraints = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
    constraints.set_criticality(true);
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.custom_extensions = vec![constraints];
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let authority = read_authority(1, &certificate, &key.serialize_pem()).unwrap();

    let server = leaf(&authority, Usage::Server, &[NAMES[0]]);
    let client = leaf(&authority, Usage::Client, &[CLIENT]);
    let refused = handshake(&authority, &server, &client, NAMES[0], NOW).unwrap_err();
    assert!(refused.to_string().contains("NameConstraintViolation"), "{refused}");
}

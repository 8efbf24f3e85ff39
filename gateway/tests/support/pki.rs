//! Certificates for gateway `shop/door`, issued by the crate that the operator issues with.

use std::sync::Arc;

use portcullis_pki::{
    Authority, AuthorityProfile, Leaf, LeafProfile, NameConstraints, RandomMint, Usage, issue_authority,
    issue_leaf,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use time::{Duration, OffsetDateTime};

#[expect(clippy::disallowed_methods, reason = "what a real handshake checks is the machine's own time")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) fn authority(name: &str) -> Authority {
    let profile = AuthorityProfile {
        common_name: name.to_owned(),
        lifetime: Duration::days(3650),
        name_constraints: NameConstraints::default(),
        key: portcullis_pki::KeyAlgorithm::P256,
    };
    issue_authority(&profile, 1, now() - Duration::days(60), &RandomMint).unwrap()
}

fn leaf(authority: &Authority, usage: Usage, uri: &str, issued: OffsetDateTime) -> Leaf {
    issue_leaf(authority, &profile(usage, uri), issued, &RandomMint).unwrap()
}

/// What a client's certificate says.
pub(crate) fn client_profile(name: &str) -> LeafProfile {
    profile(Usage::Client, &client_uri(name))
}

fn profile(usage: Usage, uri: &str) -> LeafProfile {
    LeafProfile {
        common_name: "test".to_owned(),
        usage,
        dns_names: if usage == Usage::Server {
            vec!["localhost".to_owned(), "*.t.example.com".to_owned()]
        } else {
            Vec::new()
        },
        ip_addresses: Vec::new(),
        uris: vec![uri.to_owned()],
        lifetime: Duration::days(7),
        renew_before: Duration::days(2),
    }
}

/// The server's certificate.
pub(crate) fn server(authority: &Authority) -> Leaf {
    leaf(authority, Usage::Server, "spiffe://cluster.local/ns/shop/gateway/door", now())
}

/// A certificate of the replica itself, as it shows the operator.
pub(crate) fn replica(authority: &Authority) -> Leaf {
    leaf(authority, Usage::Client, "spiffe://cluster.local/ns/shop/gateway/door", now())
}

pub(crate) fn client_uri(name: &str) -> String {
    format!("spiffe://cluster.local/ns/shop/gateway/door/client/{name}")
}

pub(crate) fn client(authority: &Authority, name: &str) -> Leaf {
    leaf(authority, Usage::Client, &client_uri(name), now())
}

pub(crate) fn client_with_uri(authority: &Authority, uri: &str) -> Leaf {
    leaf(authority, Usage::Client, uri, now())
}

pub(crate) fn expired_client(authority: &Authority, name: &str) -> Leaf {
    expired_client_with_uri(authority, &client_uri(name))
}

pub(crate) fn expired_client_with_uri(authority: &Authority, uri: &str) -> Leaf {
    leaf(authority, Usage::Client, uri, now() - Duration::days(30))
}

pub(crate) fn client_with_server_usage(authority: &Authority, name: &str) -> Leaf {
    leaf(authority, Usage::Server, &client_uri(name), now())
}

pub(crate) fn chain(leaf: &Leaf) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(leaf.certificate_pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}

pub(crate) fn key(leaf: &Leaf) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(leaf.key.expose().as_bytes()).unwrap()
}

pub(crate) fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate_pem.as_bytes()).unwrap()).unwrap();
    roots
}

/// TLS as a caller speaks it.
pub(crate) fn client_config(server: &Authority, client: Option<&Leaf>, alpn: &str) -> ClientConfig {
    client_config_of(server, client, alpn, &[&rustls::version::TLS13])
}

pub(crate) fn client_config_of(
    server: &Authority,
    client: Option<&Leaf>,
    alpn: &str,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots(server));
    let mut config = match client {
        Some(leaf) => builder.with_client_auth_cert(chain(leaf), key(leaf)).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config
}

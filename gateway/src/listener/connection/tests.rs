use super::*;
use crate::metrics::Metrics;
use crate::shutdown::Lifeline;
use portcullis_contract::snapshot::{self, Client, GatewayName, Snapshot};
use portcullis_pki::{AuthorityProfile, NameConstraints, RandomMint, issue_authority};
use portcullis_protocol::clock::Clock;
use time::{Duration, OffsetDateTime};

fn apply(shared: &Shared, clients: &[&str]) {
    let profile = AuthorityProfile {
        common_name: "clients".to_owned(),
        lifetime: Duration::days(1),
        name_constraints: NameConstraints::default(),
        key: portcullis_pki::KeyAlgorithm::P256,
    };
    let authority = issue_authority(&profile, 1, OffsetDateTime::UNIX_EPOCH, &RandomMint).unwrap();
    let client = |name: &&str| Client {
        name: (*name).to_owned(),
        user: (*name).to_owned(),
        roles: Vec::new(),
        scopes: None,
    };
    let json = Snapshot {
        gateway: GatewayName { namespace: "shop".to_owned(), name: "door".to_owned() },
        trust_domain: "cluster.local".to_owned(),
        revoked: Vec::new(),
        retired: Vec::new(),
        client_authorities: Vec::new(),
        tls: portcullis_contract::snapshot::TlsPolicy::default(),
        log_level: "info".to_owned(),
        trust: vec![authority.certificate_pem],
        server_fingerprint: "00".repeat(32),
        clients: clients.iter().map(client).collect(),
        backends: Vec::new(),
        mode: Mode::MutualTls,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        edge: None,
        oidc: None,
        drivers: Vec::new(),
        tunnels: None,
    }
    .to_json()
    .unwrap();
    shared.apply(snapshot::version(json.as_bytes()), json.as_bytes()).unwrap();
}

fn connection() -> Arc<Connection> {
    let (lifeline, clock) = (Lifeline::new(), Clock::manual(150));
    let shared = Shared::new(
        clock,
        Limits::default(),
        Arc::new(Metrics::new()),
        lifeline,
        "door-0".to_owned(),
        "/nowhere".into(),
    );
    let identity = Ok("spiffe://cluster.local/ns/shop/gateway/door/client/ci".to_owned());
    let certificate = Some(auth::ClientCertificate::for_test(identity, 100, 200));
    let chain = Chain { certificate, ..Chain::default() };
    let peer = Peer { socket: SocketAddr::from(([127, 0, 0, 1], 1)), on_behalf_of: None };
    Connection::new(Came { chain, peer, mode: Mode::MutualTls, door: Door::Own }, Arc::new(shared))
}

fn ask(connection: &Connection) -> Verdict {
    connection.principal(connection.shared.config().as_ref().unwrap(), &Carried::default())
}

#[test]
fn a_request_that_is_denied_before_the_connection_hears_of_the_change_hides_no_revocation() {
    let connection = connection();
    apply(&connection.shared, &["ci"]);
    assert!(ask(&connection).is_ok());
    assert!(!connection.is_revoked());
    apply(&connection.shared, &["other"]);
    assert!(ask(&connection).is_err());
    assert!(connection.is_revoked());
}

#[test]
fn whoever_was_never_let_in_has_nothing_to_lose() {
    let connection = connection();
    assert!(!connection.is_revoked());
    apply(&connection.shared, &["other"]);
    assert!(ask(&connection).is_err());
    assert!(!connection.is_revoked());
}

#[test]
fn a_certificate_holds_through_the_last_second_that_it_names() {
    let connection = connection();
    assert_eq!(connection.time_left().as_secs(), 51);
    for (now, left) in [(200, 1), (201, 0), (i64::MAX, 0)] {
        connection.shared.clock.set(now);
        assert_eq!(connection.time_left().as_secs(), left, "{now}");
    }
}

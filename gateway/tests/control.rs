//! The control channel: what the operator sends and hears.

use std::net::SocketAddr;

use http::Uri;
use portcullis_contract::control::report::Report as Word;
use portcullis_contract::files;
use portcullis_contract::snapshot::{Protocol, Snapshot};
use portcullis_gateway::Running;
use portcullis_pki::Authority;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::door::{Plan, backend, client, prefix};
use crate::support::operator::{Operator, write_credentials};
use crate::support::{Backend, Door, eventually, pki, port_of, soon};

/// A gateway that dials this endpoint.
async fn attached_door(endpoint: &str, control_ca: &Authority, address: SocketAddr) -> Door {
    let mut plan = Plan::new(vec![backend("api", prefix("/"), address, Protocol::Http1)]);
    plan.options.control_endpoint = Some(endpoint.parse::<Uri>().unwrap());
    write_credentials(plan.directory.path(), control_ca);
    plan.start().await
}

fn with_client(snapshot: &Snapshot, name: &str) -> Snapshot {
    let mut snapshot = snapshot.clone();
    snapshot.clients.push(client(name));
    snapshot
}

#[tokio::test]
async fn a_replica_says_hello_applies_what_it_gets_and_acknowledges_it() {
    let echo = Backend::echo().await;
    let authority = pki::authority("control");
    let operator = Operator::new(&authority).await;
    let door = attached_door(&operator.endpoint(), &authority, echo.address).await;
    let (mut attachment, hello) = operator.attached().await;
    assert_eq!((hello.pod.as_str(), hello.binary_version.as_str()), ("door-0", env!("CARGO_PKG_VERSION")));
    let dev = pki::client(&door.client_ca, "dev");
    assert_eq!(door.http1_of(&dev).await.get("/").await.status, 403);
    let version = attachment.send(&with_client(&door.snapshot, "dev")).await;
    let acknowledged = attachment.acknowledged().await;
    assert_eq!(acknowledged.version, version);
    assert_eq!(acknowledged.served_fingerprint, door.server.facts.fingerprint);
    // Acknowledged means served.
    assert_eq!(door.http1_of(&dev).await.get("/").await.status, 200);
    assert!((door.metric("portcullis_gateway_control_connected").await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_served_is_rejected_with_the_reason_and_the_old_one_stays() {
    let echo = Backend::echo().await;
    let authority = pki::authority("control");
    let operator = Operator::new(&authority).await;
    let door = attached_door(&operator.endpoint(), &authority, echo.address).await;
    let (mut attachment, _) = operator.attached().await;
    let with = |change: fn(&mut Snapshot)| {
        let mut snapshot = door.snapshot.clone();
        change(&mut snapshot);
        snapshot.to_json().unwrap().into_bytes()
    };
    for (json, words) in [
        (b"{\"gateway\":".to_vec(), "cannot be read"),
        (with(|it| it.trust.clear()), "trusts no authority"),
        (
            with(|it| {
                it.trust = vec!["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()];
            }),
            "authority",
        ),
        (with(|it| it.log_level = "loud".into()), "`loud` is no log level"),
        (with(|it| it.clients.push(client("ci"))), "two clients are named ci"),
        (with(|it| it.backends.push(it.backends[0].clone())), "two backends match"),
        (with(|it| it.backends[0].connect_timeout_ms = 0), "connect timeout"),
    ] {
        let version = attachment.send_json(json).await;
        match attachment.report().await {
            Word::Rejected(rejected) => {
                assert_eq!(rejected.version, version);
                assert!(rejected.reason.contains(words), "{}", rejected.reason);
            }
            other => panic!("not rejected but {other:?}"),
        }
        assert_eq!(door.http1().await.get("/").await.status, 200);
    }
    // The one after is served all the same.
    let version = attachment.send(&with_client(&door.snapshot, "dev")).await;
    assert_eq!(attachment.acknowledged().await.version, version);
}

#[tokio::test]
async fn a_snapshot_under_another_one_s_version_is_rejected() {
    let echo = Backend::echo().await;
    let authority = pki::authority("control");
    let operator = Operator::new(&authority).await;
    let door = attached_door(&operator.endpoint(), &authority, echo.address).await;
    let (mut attachment, _) = operator.attached().await;
    let json = with_client(&door.snapshot, "dev").to_json().unwrap().into_bytes();
    attachment.send_as("0123456789abcdef", json).await;
    match attachment.report().await {
        Word::Rejected(rejected) => {
            assert_eq!(rejected.version, "0123456789abcdef");
            assert!(rejected.reason.contains("its digest is"), "{}", rejected.reason);
        }
        other => panic!("not rejected but {other:?}"),
    }
    let dev = pki::client(&door.client_ca, "dev");
    assert_eq!(door.http1_of(&dev).await.get("/").await.status, 403);
}

#[tokio::test]
async fn a_new_certificate_is_acknowledged_once_and_nothing_is_acknowledged_for_nothing() {
    let echo = Backend::echo().await;
    let authority = pki::authority("control");
    let operator = Operator::new(&authority).await;
    let door = attached_door(&operator.endpoint(), &authority, echo.address).await;
    let (mut attachment, _) = operator.attached().await;
    let first = attachment.send(&door.snapshot).await;
    assert_eq!(attachment.acknowledged().await.version, first);
    // The snapshot comes before the Secret has been mounted: acknowledged with what is served, then with the rest.
    let renewed = pki::server(&door.server_ca);
    let mut snapshot = door.snapshot.clone();
    snapshot.server_fingerprint = renewed.facts.fingerprint.clone();
    let second = attachment.send(&snapshot).await;
    let acknowledged = attachment.acknowledged().await;
    assert_eq!(
        (acknowledged.version.as_str(), acknowledged.served_fingerprint.as_str()),
        (second.as_str(), door.server.facts.fingerprint.as_str())
    );
    door.write_pair(&renewed);
    let acknowledged = attachment.acknowledged().await;
    assert_eq!((acknowledged.version, acknowledged.served_fingerprint), (second, renewed.facts.fingerprint));
    // A change of trust makes a new TLS configuration with the same certificate: one report, not two.
    snapshot.trust.push(pki::authority("next").certificate_pem);
    let third = attachment.send(&snapshot).await;
    assert_eq!(attachment.acknowledged().await.version, third);
    let fourth = attachment.send(&with_client(&snapshot, "dev")).await;
    assert_eq!(attachment.acknowledged().await.version, fourth, "and nothing in between");
}

#[tokio::test]
async fn a_redirect_is_followed_and_the_leader_must_show_the_same_name() {
    let echo = Backend::echo().await;
    let authority = pki::authority("control");
    let (standby, leader) = (Operator::new(&authority).await, Operator::new(&authority).await);
    let door = attached_door(&standby.endpoint(), &authority, echo.address).await;
    let (attachment, _) = standby.attached().await;
    // The certificate is for `localhost`; the address is a number.
    attachment.redirect(leader.address.to_string()).await;
    let (mut attachment, _) = leader.attached().await;
    let version = attachment.send(&with_client(&door.snapshot, "dev")).await;
    assert_eq!(attachment.acknowledged().await.version, version);
    // With the leader gone, the replica asks again where it asked first.
    drop((attachment, leader));
    standby.attached().await;
}

#[tokio::test]
async fn with_the_operator_gone_the_last_snapshot_is_served_and_the_replica_comes_back() {
    let echo = Backend::echo().await;
    let authority = pki::authority("control");
    // Nobody else is given its port while it is away.
    let address = SocketAddr::from(([127, 0, 0, 1], port_of(&["127.0.0.1"])));
    let operator = Operator::listening(&authority, address).await;
    let door = attached_door(&operator.endpoint(), &authority, echo.address).await;
    let (mut attachment, _) = operator.attached().await;
    attachment.send(&with_client(&door.snapshot, "dev")).await;
    attachment.acknowledged().await;
    drop((attachment, operator));
    eventually("it is noticed", || async { door.metric("portcullis_gateway_control_connected").await < 0.5 })
        .await;
    let dev = pki::client(&door.client_ca, "dev");
    assert_eq!(door.http1_of(&dev).await.get("/").await.status, 200);
    let operator = Operator::listening(&authority, address).await;
    let (mut attachment, _) = operator.attached().await;
    let version = attachment.send(&door.snapshot).await;
    assert_eq!(attachment.acknowledged().await.version, version);
    assert_eq!(door.http1_of(&dev).await.get("/").await.status, 403);
}

#[tokio::test]
async fn a_replica_without_a_bootstrap_snapshot_waits_for_the_operator_s() {
    let authority = pki::authority("control");
    let operator = Operator::new(&authority).await;
    let mut plan = Plan::new(Vec::new());
    plan.options.control_endpoint = Some(operator.endpoint().parse().unwrap());
    write_credentials(plan.directory.path(), &authority);
    let server = pki::server(&pki::authority("server"));
    std::fs::write(plan.directory.path().join(files::SERVER_CERTIFICATE), &server.certificate_pem).unwrap();
    std::fs::write(plan.directory.path().join(files::SERVER_KEY), server.key.expose()).unwrap();
    let running: Running = portcullis_gateway::start(plan.options).await.unwrap();
    let (mut attachment, _) = operator.attached().await;
    assert_eq!(running.readiness(), Err("no snapshot yet"));
    attachment.send(&plan.snapshot).await;
    attachment.acknowledged().await;
    eventually("it is ready", || async { running.readiness().is_ok() }).await;
    let stop = CancellationToken::new();
    stop.cancel();
    soon("it stops", running.run_until(stop)).await;
}

#[tokio::test]
async fn an_operator_of_a_foreign_authority_is_not_listened_to() {
    let echo = Backend::echo().await;
    let impostor = Operator::new(&pki::authority("control")).await;
    let authority = pki::authority("control");
    let door = attached_door(&impostor.endpoint(), &authority, echo.address).await;
    // Credentials are read at every dial: with those of the other authority it attaches.
    let attaching = async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(300));
        tick.tick().await;
        tick.tick().await;
    };
    tokio::select! {
        _ = impostor.attached() => panic!("it attached to an impostor"),
        () = attaching => {}
    }
    assert_eq!(door.http1().await.get("/").await.status, 200);
}

#[tokio::test]
async fn credentials_are_read_at_every_dial() {
    let echo = Backend::echo().await;
    let (old, new) = (pki::authority("control"), pki::authority("control"));
    let operator = Operator::new(&new).await;
    let door = attached_door(&operator.endpoint(), &old, echo.address).await;
    write_credentials(door.directory.path(), &new);
    operator.attached().await;
}

#[tokio::test]
async fn an_operator_that_falls_silent_is_noticed_and_dialled_again() {
    let echo = Backend::echo().await;
    let authority = pki::authority("control");
    let operator = Operator::new(&authority).await;
    // A wire between them that can be cut without either end hearing of it.
    let wire = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wire_address = wire.local_addr().unwrap();
    let silence = CancellationToken::new();
    let (target, silent) = (operator.address, silence.clone());
    tokio::spawn(async move {
        let (mut first, _) = wire.accept().await.unwrap();
        let mut onward = TcpStream::connect(target).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut first, &mut onward) => {}
            () = silent.cancelled() => {}
        }
        // Both stay open, and nothing moves.
        while let Ok((mut next, _)) = wire.accept().await {
            let mut onward = TcpStream::connect(target).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut next, &mut onward).await });
        }
        drop((first, onward));
    });
    let endpoint = format!("https://localhost:{}", wire_address.port());
    let _door = attached_door(&endpoint, &authority, echo.address).await;
    let (_attachment, _) = operator.attached().await;
    silence.cancel();
    // Five seconds until it is asked, five until that counts as no answer.
    operator.attached().await;
}

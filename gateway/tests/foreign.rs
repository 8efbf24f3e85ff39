//! Clients with certificates of somebody else's authority: who they are, what they cannot be, and how they lose it.

use portcullis_contract::gateway::WhoAmIRequest;
use portcullis_contract::gateway::gateway_client::GatewayClient;
use portcullis_contract::snapshot::{ClientAuthority, ForeignIdentity};
use portcullis_pki::{Authority, Leaf};
use rustls::AlertDescription;

use crate::handshake::{alert, handshakes};
use crate::lifecycle::{breaks_off, endless, served};
use crate::own_services::channel;
use crate::support::caller::request;
use crate::support::tunnel::{Connector, WEB, answers, http, plan, settings, tunnel};
use crate::support::{Backend, Door, pki, soon};

const SHOP: &str = "spiffe://corp.example/team/shop";

fn identity(uri: &str, user: Option<&str>, roles: &[&str]) -> ForeignIdentity {
    ForeignIdentity {
        uri: uri.to_owned(),
        user: user.map(str::to_owned),
        roles: roles.iter().map(ToString::to_string).collect(),
        scopes: None,
    }
}

fn corp(authority: &Authority) -> ClientAuthority {
    ClientAuthority {
        name: "corp".to_owned(),
        roots: authority.certificate_pem.clone(),
        identities: vec![
            identity("spiffe://corp.example/team/*", None, &["user"]),
            identity("spiffe://corp.example/ops", Some("ops@corp"), &["admin"]),
        ],
        revoked: Vec::new(),
    }
}

/// A gateway that believes an authority of the company too.
async fn trusting(authority: &Authority, echo: &Backend) -> Door {
    let mut door = Door::to_http1(echo.address).await;
    door.snapshot.client_authorities = vec![corp(authority)];
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 2.0).await;
    door
}

async fn status(door: &Door, leaf: &Leaf) -> u16 {
    door.http1_of(leaf).await.get("/").await.status.as_u16()
}

#[tokio::test]
async fn whoever_a_company_has_certified_is_who_the_configuration_says() {
    let (authority, echo) = (pki::authority("corp"), Backend::echo().await);
    let door = trusting(&authority, &echo).await;
    for (uri, user, roles) in [(SHOP, SHOP, ["user"]), ("spiffe://corp.example/ops", "ops@corp", ["admin"])] {
        let leaf = pki::client_with_uri(&authority, uri);
        let mut client = GatewayClient::new(channel(&door, &leaf).await);
        let me = client.who_am_i(WhoAmIRequest {}).await.unwrap().into_inner();
        assert_eq!(
            (me.user.as_str(), me.identity.as_str(), me.proof.as_str()),
            (user, uri, "client-certificate")
        );
        assert_eq!(me.roles, roles);
        assert_eq!(status(&door, &leaf).await, 200);
    }
    assert_eq!(status(&door, &door.ci).await, 200, "the gateway's own client goes on");
}

#[tokio::test]
async fn neither_authority_speaks_for_identities_of_the_other() {
    let (authority, echo) = (pki::authority("corp"), Backend::echo().await);
    let door = trusting(&authority, &echo).await;
    for (leaf, reason) in [
        (pki::client_with_uri(&authority, &pki::client_uri("ci")), "other_gateway"),
        (pki::client_with_uri(&authority, "spiffe://cluster.local/ns/shop/gateway/door"), "other_gateway"),
        (pki::client_with_uri(&authority, "spiffe://corp.example/team/shop/admin"), "unknown_client"),
        (pki::client_with_uri(&authority, "spiffe://corp.example/team"), "unknown_client"),
        (pki::client_with_uri(&door.client_ca, SHOP), "no_identity"),
    ] {
        let denials = format!("portcullis_gateway_denials_total{{reason=\"{reason}\"}}");
        let before = door.metric(&denials).await;
        assert_eq!(status(&door, &leaf).await, 403, "{:?}", leaf.facts.uris);
        door.counted(&denials, before + 1.0).await;
    }
    let stranger = pki::authority("strangers");
    let config = pki::client_config(&door.server_ca, Some(&pki::client_with_uri(&stranger, SHOP)), "h2");
    assert_eq!(alert(&door, config).await, AlertDescription::UnknownCA);
}

#[tokio::test]
async fn what_is_below_one_root_for_both_is_whose_intermediate_signed_it() {
    // The company's root signs everything; it is what both are told to trust, and the gateway's own is asked first.
    let echo = Backend::echo().await;
    let mut door = Door::to_http1(echo.address).await;
    let shared = door.client_ca.clone();
    door.snapshot.client_authorities = vec![corp(&shared)];
    door.snapshot.revoked = vec![door.ci.facts.serial.clone()];
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 2.0).await;
    let revoked = pki::client_config(&door.server_ca, Some(&door.ci), "h2");
    assert_eq!(
        alert(&door, revoked).await,
        AlertDescription::CertificateRevoked,
        "it does not come in by the other"
    );
    let fresh = pki::client(&door.client_ca, "ci");
    assert_eq!(status(&door, &fresh).await, 200);
}

#[tokio::test]
async fn a_serial_is_revoked_for_the_authority_that_it_is_revoked_of() {
    let (endless, mut began) = endless().await;
    let authority = pki::authority("corp");
    let mut door = Door::to_http1(endless.address).await;
    door.snapshot.client_authorities = vec![corp(&authority)];
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 2.0).await;
    let leaf = pki::client_with_uri(&authority, SHOP);
    let config = pki::client_config(&door.server_ca, Some(&leaf), "h2");
    // The same number under the gateway's own authority is another certificate's.
    door.snapshot.revoked = vec![leaf.facts.serial.clone()];
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 3.0).await;
    assert!(served(&door, config.clone()).await);
    let mut caller = door.http2_of(&leaf).await;
    let mut stream = caller.send(request("/endless")).await.unwrap();
    let _held = soon("it began", began.recv()).await;
    door.snapshot.client_authorities[0].revoked = vec![leaf.facts.serial.clone()];
    door.write_snapshot();
    assert!(breaks_off(&mut stream).await, "what it had opened is cut");
    assert_eq!(alert(&door, config).await, AlertDescription::CertificateRevoked);
    assert!(door.metric(&handshakes("revoked")).await >= 1.0);
}

#[tokio::test]
async fn an_authority_that_is_taken_away_takes_its_connections_along_and_nobody_elses() {
    let (endless, mut began) = endless().await;
    let authority = pki::authority("corp");
    let mut door = Door::to_http1(endless.address).await;
    door.snapshot.client_authorities = vec![corp(&authority)];
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 2.0).await;
    let leaf = pki::client_with_uri(&authority, SHOP);
    let mut caller = door.http2_of(&leaf).await;
    let mut theirs = caller.send(request("/endless")).await.unwrap();
    let _held = soon("it began", began.recv()).await;
    let mut ours = door.http2().await;
    assert_eq!(ours.get("/").await.status, 200);
    door.snapshot.client_authorities.clear();
    door.write_snapshot();
    assert!(breaks_off(&mut theirs).await);
    assert_eq!(ours.get("/").await.status, 200);
    let config = pki::client_config(&door.server_ca, Some(&leaf), "h2");
    assert_eq!(alert(&door, config).await, AlertDescription::UnknownCA);
}

#[tokio::test]
async fn rights_that_change_hold_for_connections_that_are_open() {
    let (authority, echo) = (pki::authority("corp"), Backend::echo().await);
    let mut door = trusting(&authority, &echo).await;
    let leaf = pki::client_with_uri(&authority, SHOP);
    let config = pki::client_config(&door.server_ca, Some(&leaf), "h2");
    assert!(served(&door, config.clone()).await);
    door.snapshot.client_authorities[0].identities.remove(0);
    door.write_snapshot();
    door.counted("portcullis_gateway_snapshots_applied_total", 3.0).await;
    assert_eq!(status(&door, &leaf).await, 403);
}

#[tokio::test]
async fn a_companys_certificate_that_looks_like_a_connectors_serves_no_tunnel() {
    let echo = Backend::echo().await;
    let (authority, endpoint) = (pki::authority("corp"), http(echo.address));
    let mut plan = plan(vec![tunnel("web", &endpoint)]);
    let like = "spiffe://corp.example/ns/shop/gateway/door/tunnel/shop/web";
    let identities = vec![
        identity(like, None, &[]),
        ForeignIdentity {
            roles: vec!["user".to_owned()],
            ..identity("spiffe://corp.example/dev", None, &[])
        },
    ];
    plan.snapshot.client_authorities = vec![ClientAuthority { identities, ..corp(&authority) }];
    let door = plan.start().await;
    let leaf = pki::client_with_uri(&authority, like);
    let (told, directory) = settings(&door, "web", &endpoint, &leaf).await;
    let refused = Connector::run(told, directory);
    door.counted("portcullis_gateway_connectors_refused_total", 1.0).await;
    drop(refused);
    let leaf = pki::client_with_uri(&authority, "spiffe://corp.example/dev");
    let (told, directory) = settings(&door, "web", &endpoint, &leaf).await;
    let _connector = Connector::run(told, directory);
    answers(&door, WEB, 200).await;
}

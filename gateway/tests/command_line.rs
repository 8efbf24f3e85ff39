//! The command line's channels against the real data plane: each mode, with what is shown and without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use portcullis_cli::channel::{Access, Anonymous, Channel, Held, Token, TokenSource};
use portcullis_cli::failure::{Exit, Failure};
use portcullis_cli::gateways::{Discovered, Resolved, Rule, discover, verify};
use portcullis_cli::portable::Tokens;
use portcullis_cli::store::{self, Bundle, Metadata};
use portcullis_contract::gateway::gateway_client::GatewayClient;
use portcullis_contract::gateway::{GetInfoRequest, WhoAmIRequest};
use portcullis_contract::snapshot::{Mode, Protocol};

use crate::support::door::{Plan, backend, prefix};
use crate::support::idp::Idp;
use crate::support::relay::{End, Relay};
use crate::support::signer::Signer;
use crate::support::{Backend, Door, eventually, nobody, pki};
use crate::tokens::until_believed;

/// As if it had been stored.
fn gateway(door: &Door, scheme: &str, mode: store::Mode) -> Resolved {
    let endpoint = format!("{scheme}://{}", door.address);
    let metadata = Metadata {
        endpoint: endpoint.clone(),
        mode,
        server_name: Some("localhost".to_owned()),
        ..Metadata::default()
    };
    Resolved { stored: None, endpoint: endpoint.parse().unwrap(), metadata, rule: Rule::Endpoint }
}

fn ca(door: &Door) -> Bundle {
    Bundle { ca: Some(door.server_ca.certificate_pem.clone().into_bytes()), identity: None }
}

fn bundle(door: &Door) -> Bundle {
    let identity = (door.ci.certificate_pem.clone().into_bytes(), door.ci.key.expose().as_bytes().to_vec());
    Bundle { identity: Some(identity), ..ca(door) }
}

fn access(bundle: Bundle, tokens: Arc<dyn TokenSource>) -> Access {
    Access::new(bundle, tokens, false, Duration::from_secs(40))
}

fn bearer(token: &str) -> Arc<dyn TokenSource> {
    let oidc = serde_json::json!({ "access_token": token }).to_string().into_bytes();
    Arc::new(Held(Tokens { oidc: Some(oidc), edge: None }))
}

fn edge(token: &str) -> Arc<dyn TokenSource> {
    Arc::new(Held(Tokens { edge: Some(token.as_bytes().to_vec()), oidc: None }))
}

async fn user(gateway: &Resolved, access: &Access) -> Result<(String, String), (Exit, String)> {
    let verified = verify(gateway, access).await.map_err(|failure| (failure.exit, words(&failure)))?;
    Ok((verified.me.user, verified.me.proof))
}

fn words(failure: &Failure) -> String {
    format!("{failure} ({})", failure.hint.clone().unwrap_or_default())
}

fn some(user: &str, proof: &str) -> (String, String) {
    (user.to_owned(), proof.to_owned())
}

async fn plan() -> (Plan, Backend) {
    let echo = Backend::echo().await;
    (Plan::new(vec![backend("api", prefix("/"), echo.address, Protocol::Http1)]), echo)
}

#[tokio::test]
async fn a_client_certificate_opens_the_door_and_who_has_none_is_told_what_to_do() {
    let (plan, _echo) = plan().await;
    let door = plan.start().await;
    let gateway = gateway(&door, "https", store::Mode::MutualTLS);
    let own = access(bundle(&door), Arc::new(Anonymous));
    assert_eq!(user(&gateway, &own).await, Ok(some("ci@shop", "client-certificate")));
    assert!(matches!(discover(&gateway, &own).await, Ok(Discovered::Says(_))));

    let none = access(ca(&door), Arc::new(Anonymous));
    let (exit, words) = user(&gateway, &none).await.unwrap_err();
    assert_eq!(exit, Exit::Denied);
    assert!(words.contains("demands a client certificate") && words.contains("--bundle"), "{words}");
    assert!(matches!(discover(&gateway, &none).await, Ok(Discovered::CertificateRequired(_))));

    let stranger = pki::client(&pki::authority("clients"), "ci");
    let identity = (stranger.certificate_pem.into_bytes(), stranger.key.expose().as_bytes().to_vec());
    let strange = access(Bundle { identity: Some(identity), ..ca(&door) }, Arc::new(Anonymous));
    let (exit, words) = user(&gateway, &strange).await.unwrap_err();
    assert!(exit == Exit::Denied && words.contains("does not accept the client certificate"), "{words}");
}

#[tokio::test]
async fn keys_with_the_command_line_are_agreed_on_in_the_way_that_holds_against_quantum_computers() {
    let (plan, _echo) = plan().await;
    let door = plan.start().await;
    let gateway = gateway(&door, "https", store::Mode::MutualTLS);
    let own = access(bundle(&door), Arc::new(Anonymous));
    assert!(user(&gateway, &own).await.is_ok());
    let exchanges = |kind: &str| format!("portcullis_gateway_key_exchanges_total{{kind=\"{kind}\"}}");
    door.counted(&exchanges("hybrid"), 1.0).await;
    assert!(door.metric(&exchanges("classic")).await < 1.0);
}

#[tokio::test]
async fn an_unknown_server_is_not_believed_and_the_insecure_flag_skips_that_and_nothing_else() {
    let (plan, _echo) = plan().await;
    let door = plan.start().await;
    let gateway = gateway(&door, "https", store::Mode::MutualTLS);
    let public = Bundle { ca: None, ..bundle(&door) };
    let (exit, words) = user(&gateway, &access(public.clone(), Arc::new(Anonymous))).await.unwrap_err();
    assert!(exit == Exit::Unreachable && words.contains("--ca FILE"), "{words}");
    let other = Resolved {
        metadata: Metadata { server_name: Some("other.example".to_owned()), ..gateway.metadata.clone() },
        ..gateway.clone()
    };
    let (exit, words) = user(&other, &access(bundle(&door), Arc::new(Anonymous))).await.unwrap_err();
    assert!(exit == Exit::Unreachable && words.contains("other.example"), "{words}");

    let insecure = Access { insecure: true, ..access(public, Arc::new(Anonymous)) };
    assert_eq!(user(&gateway, &insecure).await, Ok(some("ci@shop", "client-certificate")));
    let without = Access { bundle: Bundle::default(), ..insecure };
    assert_eq!(
        user(&gateway, &without).await.unwrap_err().0,
        Exit::Denied,
        "it is no way around the certificate"
    );
}

#[tokio::test]
async fn a_bearer_token_over_mutual_tls_says_who_is_asking() {
    let (mut plan, _echo) = plan().await;
    let signer = Signer::ec("a");
    let idp = Idp::new(&signer).await;
    plan.snapshot.oidc = Some(idp.oidc());
    let door = plan.start().await;
    let gateway = gateway(&door, "https", store::Mode::MutualTLS);
    let token = signer.token(&idp.claims("alice", &["door-user"], "portcullis:all"));
    let with = access(bundle(&door), bearer(&token));
    eventually("the token is believed", || async { user(&gateway, &with).await.is_ok() }).await;
    assert_eq!(user(&gateway, &with).await.unwrap().0, "alice");
    let spoilt = access(bundle(&door), bearer("a.b.c"));
    let (exit, words) = user(&gateway, &spoilt).await.unwrap_err();
    assert!(exit == Exit::Denied && words.contains("gateway login"), "{words}");
    assert!(!words.contains("a.b.c"));
    let Ok(Discovered::Says(config)) = discover(&gateway, &with).await else { panic!("nothing was said") };
    assert_eq!(config.oidc.unwrap().client_id, "cli");
}

#[tokio::test]
async fn behind_a_trusted_proxy_a_token_suffices_and_without_one_a_login_is_asked_for() {
    let (mut plan, _echo) = plan().await;
    let signer = Signer::ec("a");
    let idp = Idp::new(&signer).await;
    (plan.snapshot.mode, plan.snapshot.oidc) = (Mode::Plaintext, Some(idp.oidc()));
    let door = plan.start().await;
    let gateway = gateway(&door, "http", store::Mode::Plaintext);
    let token = signer.token(&idp.claims("alice", &["door-user"], "portcullis:all"));
    let with = access(Bundle::default(), bearer(&token));
    eventually("the token is believed", || async { user(&gateway, &with).await.is_ok() }).await;
    assert_eq!(user(&gateway, &with).await, Ok(some("alice", "bearer-token")));
    let without = access(Bundle::default(), Arc::new(Anonymous));
    assert_eq!(user(&gateway, &without).await.unwrap_err().0, Exit::Denied);
    let Ok(Discovered::Says(config)) = discover(&gateway, &without).await else { panic!("nothing was said") };
    assert_eq!(config.mode, store::Mode::Plaintext);
}

#[tokio::test]
async fn through_an_edge_calls_go_in_a_websocket_that_the_token_opens() {
    let (signer, echo) = (Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let door = crate::tokens::door(&idp, &echo, |_| {}).await;
    let token = signer.token(&idp.claims("alice", &["door-user"], "portcullis:all"));
    until_believed(&door, &token).await;
    let gateway = gateway(&door, "https", store::Mode::Edge);
    let with = access(ca(&door), edge(&token));
    assert_eq!(user(&gateway, &with).await, Ok(some("alice", "edge-token")));
    let (exit, words) = user(&gateway, &access(ca(&door), Arc::new(Anonymous))).await.unwrap_err();
    assert!(exit == Exit::Denied && words.contains("gateway login"), "{words}");
    // A person who is logged in at the provider, and not at the edge.
    assert_eq!(user(&gateway, &access(ca(&door), bearer(&token))).await.unwrap().0, "alice");

    let channel = Channel::open(&gateway, &with).await.unwrap();
    let mut client = GatewayClient::new(channel.service());
    let calls = (0..50).map(|_| {
        let mut client = client.clone();
        async move { client.get_info(GetInfoRequest {}).await.unwrap().into_inner().name }
    });
    assert!(futures::future::join_all(calls).await.iter().all(|name| name == "door"));
    let info = channel.call("ask", client.get_info(GetInfoRequest {})).await.unwrap();
    assert_eq!(info.mode, "Edge");
}

#[tokio::test]
async fn an_edge_may_take_its_token_as_a_bearer_token_though_the_gateway_believes_another_issuer_too() {
    let (signer, other, echo) = (Signer::ec("a"), Signer::ec("b"), Backend::echo().await);
    let (edge_s, provider) = (Idp::new(&signer).await, Idp::new(&other).await);
    let door = crate::tokens::door(&provider, &echo, |plan| {
        plan.snapshot.edge = Some(edge_s.edge());
        plan.snapshot.edge.as_mut().unwrap().cookie_name = "edge_session".to_owned();
    })
    .await;
    until_believed(&door, &other.token(&provider.claims("bob", &["door-user"], "portcullis:all"))).await;
    let token = signer.token(&edge_s.claims("alice", &["door-user"], "portcullis:all"));
    let mut gateway = gateway(&door, "https", store::Mode::Edge);
    let Ok(Discovered::Says(config)) = discover(&gateway, &access(ca(&door), Arc::new(Anonymous))).await
    else {
        panic!("nothing was said");
    };
    (gateway.metadata.edge, gateway.metadata.oidc) = (config.edge, config.oidc);
    assert_eq!(gateway.metadata.edge.as_ref().unwrap().cookie, "edge_session");
    let with = access(ca(&door), edge(&token));
    eventually("the edge's token is believed", || async { user(&gateway, &with).await.is_ok() }).await;
    assert_eq!(user(&gateway, &with).await, Ok(some("alice", "edge-token")));
}

/// Its token is not taken, and can be renewed once.
#[derive(Debug)]
struct Renewable {
    good: Token,
    renewed: AtomicUsize,
}

impl TokenSource for Renewable {
    fn bearer(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>> {
        let renewed = self.renewed.load(Ordering::Relaxed) > 0;
        Box::pin(async move { Ok(if renewed { Some(self.good.clone()) } else { Token::new("a.b.c") }) })
    }

    fn instead_of<'a>(&'a self, refused: &'a Token) -> BoxFuture<'a, Result<Option<Token>, Failure>> {
        Box::pin(async {
            assert_eq!(refused.as_str(), "a.b.c");
            self.renewed.fetch_add(1, Ordering::Relaxed);
            Ok(Some(self.good.clone()))
        })
    }

    fn edge(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>> {
        Box::pin(async { Ok(None) })
    }
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_renewed_once_and_the_call_goes_well() {
    let (signer, echo) = (Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let token = signer.token(&idp.claims("alice", &["door-user"], "portcullis:all"));
    let renewable = || {
        let good = Token::new(&token).unwrap();
        Arc::new(Renewable { good, renewed: AtomicUsize::new(0) })
    };
    // Through a WebSocket, which is refused before it opens.
    let door = crate::tokens::door(&idp, &echo, |_| {}).await;
    until_believed(&door, &token).await;
    let source = renewable();
    let with = access(ca(&door), Arc::clone(&source) as Arc<dyn TokenSource>);
    assert_eq!(user(&gateway(&door, "https", store::Mode::Edge), &with).await.unwrap().0, "alice");
    assert_eq!(source.renewed.load(Ordering::Relaxed), 1);
    // In a call, on a connection that a certificate has opened.
    let (mut plan, _echo) = plan().await;
    plan.snapshot.oidc = Some(idp.oidc());
    let door = plan.start().await;
    let gateway = gateway(&door, "https", store::Mode::MutualTLS);
    let good = access(bundle(&door), bearer(&token));
    eventually("the token is believed", || async { user(&gateway, &good).await.is_ok() }).await;
    let source = renewable();
    let channel =
        Channel::open(&gateway, &access(bundle(&door), Arc::clone(&source) as Arc<dyn TokenSource>)).await;
    let channel = channel.unwrap();
    let mut client = GatewayClient::new(channel.service());
    let me = channel.call("ask", client.who_am_i(WhoAmIRequest {})).await.unwrap();
    assert_eq!((me.user.as_str(), source.renewed.load(Ordering::Relaxed)), ("alice", 1));
}

#[tokio::test]
async fn where_nothing_listens_it_is_said_which_address_was_tried() {
    let (plan, _echo) = plan().await;
    let door = plan.start().await;
    let mut gateway = gateway(&door, "https", store::Mode::MutualTLS);
    let (_held, nobody) = nobody();
    gateway.endpoint = format!("https://{nobody}").parse().unwrap();
    let (exit, words) = user(&gateway, &access(bundle(&door), Arc::new(Anonymous))).await.unwrap_err();
    assert!(exit == Exit::Unreachable && words.contains(&nobody.to_string()), "{words}");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    gateway.endpoint = format!("https://{}", silent.local_addr().unwrap()).parse().unwrap();
    let brief = Access { timeout: Duration::from_millis(200), ..access(bundle(&door), Arc::new(Anonymous)) };
    let (exit, words) = user(&gateway, &brief).await.unwrap_err();
    assert!(exit == Exit::TimedOut && words.contains("--timeout"), "{words}");
}

#[tokio::test]
async fn a_connection_that_broke_is_opened_again() {
    let (plan, _echo) = plan().await;
    let door = plan.start().await;
    let relay = Relay::new(&[door.address]).await;
    let mut gateway = gateway(&door, "https", store::Mode::MutualTLS);
    gateway.endpoint = format!("https://{}", relay.address).parse().unwrap();
    let channel = Channel::open(&gateway, &access(bundle(&door), Arc::new(Anonymous))).await.unwrap();
    let client = GatewayClient::new(channel.service());
    client.clone().get_info(GetInfoRequest {}).await.unwrap();
    relay.lines[0].end(End::Reset);
    eventually("a call goes well again", || async {
        client.clone().get_info(GetInfoRequest {}).await.is_ok()
    })
    .await;
}

//! Behind an identity-aware edge: the WebSocket that carries a connection, and the page that lets a program in.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, StatusCode};
use portcullis_contract::gateway::gateway_client::GatewayClient;
use portcullis_contract::gateway::{GetInfoRequest, WhoAmIRequest};
use portcullis_contract::snapshot::Mode;
use portcullis_protocol::clock::Clock;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tonic::Code;

use crate::support::caller::Http1;
use crate::support::door::client;
use crate::support::grpc::{Line, origin};
use crate::support::idp::Idp;
use crate::support::signer::Signer;
use crate::support::{Answer, Backend, Door, Seen, body, eventually, pki, request, soon};
use crate::tokens::{door, until_believed};

/// A WebSocket's bytes, and the close code that it ends with.
struct Tunnel {
    bytes: DuplexStream,
    closed: oneshot::Receiver<Option<u16>>,
}

/// Opens a tunnel with these fields in its request, or says which status came instead.
async fn tunnel(door: &Door, fields: &[(&str, &str)]) -> Result<Tunnel, u16> {
    let mut request = "wss://door.example/_ws_tunnel".into_client_request().unwrap();
    for (name, value) in fields {
        request.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    let stream = door.tls_anonymous("http/1.1").await;
    let opened =
        soon("the WebSocket opens", Box::pin(tokio_tungstenite::client_async(request, stream))).await;
    let socket = match opened {
        Ok((socket, _)) => socket,
        Err(tungstenite::Error::Http(answer)) => return Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    };
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (told, closed) = oneshot::channel();
    tokio::spawn(async move {
        let (mut sink, mut stream) = socket.split();
        let (mut read, mut write) = tokio::io::split(far);
        let up = async {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(length @ 1..) = read.read(&mut buffer).await {
                if sink.send(Message::Binary(buffer[..length].to_vec().into())).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let down = async {
            while let Some(message) = stream.next().await {
                match message {
                    // Who speaks HTTP/2 over it may have gone before the WebSocket closes.
                    Ok(Message::Binary(bytes)) => drop(write.write_all(&bytes).await),
                    Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            None
        };
        let code = tokio::select! { code = down => code, () = up => None };
        let _ = told.send(code);
    });
    Ok(Tunnel { bytes: near, closed })
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

struct Stage {
    signer: Signer,
    idp: Idp,
    echo: Backend,
    door: Door,
}

impl Stage {
    async fn new(change: impl FnOnce(&mut crate::support::door::Plan)) -> Self {
        let signer = Signer::ec("a");
        let (idp, echo) = (Idp::new(&signer).await, Backend::echo().await);
        let door = door(&idp, &echo, change).await;
        until_believed(&door, &signer.token(&idp.claims("first", &["door-user"], ""))).await;
        Self { signer, idp, echo, door }
    }

    fn token(&self, user: &str, roles: &[&str]) -> String {
        self.signer.token(&self.idp.claims(user, roles, "portcullis:all"))
    }
}

#[tokio::test]
async fn a_tunnel_is_opened_for_whoever_is_known_and_nobody_else() {
    let stage = Stage::new(|_| {}).await;
    let token = stage.token("alice", &["door-user"]);
    for fields in [
        vec![("authorization", bearer(&token))],
        vec![("cf-access-jwt-assertion", token.clone())],
        vec![("cookie", format!("CF_Authorization={token}"))],
    ] {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let tunnel =
            tunnel(&stage.door, &fields).await.map_err(|status| format!("{status} {fields:?}")).unwrap();
        let mut client = GatewayClient::with_origin(Line::new(tunnel.bytes).await, origin());
        assert_eq!(client.who_am_i(WhoAmIRequest {}).await.unwrap().into_inner().user, "alice");
    }
    assert_eq!(tunnel(&stage.door, &[]).await.err(), Some(401), "nothing shown");
    assert_eq!(tunnel(&stage.door, &[("authorization", "Bearer x")]).await.err(), Some(401));
    let (cookie, evil) = (format!("CF_Authorization={token}"), "https://evil.example");
    assert_eq!(
        tunnel(&stage.door, &[("cookie", &cookie), ("origin", evil)]).await.err(),
        Some(400),
        "another site's page"
    );
}

#[tokio::test]
async fn whatever_stands_in_requests_inside_the_one_who_opened_it_asks() {
    let stage = Stage::new(|_| {}).await;
    let (user, admin) = (stage.token("alice", &["door-user"]), stage.token("boss", &["door-admin"]));
    let tunnel = tunnel(&stage.door, &[("authorization", &bearer(&user))]).await.ok().unwrap();
    let line = Line::new(tunnel.bytes).await;
    for line in [
        line.clone(),
        line.bearer(&admin),
        line.bearer("rubbish"),
        line.with("cf-access-jwt-assertion", &admin),
        line.with("cookie", &format!("CF_Authorization={admin}")),
        line.with("x-portcullis-user", "boss").with("x-portcullis-roles", "admin"),
    ] {
        let me =
            GatewayClient::with_origin(line, origin()).who_am_i(WhoAmIRequest {}).await.unwrap().into_inner();
        assert_eq!((me.user.as_str(), me.roles), ("alice", vec!["user".to_owned()]));
    }
    drop(stage.echo);
}

#[tokio::test]
async fn a_tunnel_carries_http_1_and_backends_see_the_same_caller() {
    let stage = Stage::new(|_| {}).await;
    let token = stage.token("alice", &["door-user"]);
    let tunnel = tunnel(&stage.door, &[("authorization", &bearer(&token))]).await.ok().unwrap();
    let mut caller = Http1::new(tunnel.bytes).await;
    let spoofed = Request::get("/x?y=1")
        .header("host", "door.example")
        .header("x-portcullis-user", "boss")
        .header("x-forwarded-for", "6.6.6.6")
        .header("client-cert", "x");
    let seen: Seen = caller.ask(spoofed.body(body("")).unwrap()).await.json();
    assert_eq!((seen.uri.as_str(), seen.all("x-portcullis-user")), ("/x?y=1", vec!["alice"]));
    assert_eq!((seen.all("x-forwarded-for"), seen.all("client-cert")), (vec!["127.0.0.1"], vec![]));
    let nested =
        caller.ask(Request::get("/_ws_tunnel").header("host", "door.example").body(body("")).unwrap()).await;
    assert_eq!(nested.status, StatusCode::BAD_REQUEST, "a tunnel within a tunnel");
}

#[tokio::test]
async fn a_tunnel_ends_with_its_token_after_the_grace_and_says_so() {
    let clock = Clock::manual(pki::now().unix_timestamp());
    let stage = Stage::new(|plan| {
        plan.options.clock = clock.clone();
        plan.options.limits.header_time = Duration::from_millis(50);
        plan.snapshot.edge.as_mut().unwrap().expiry_grace_seconds = 30;
    })
    .await;
    let claims = stage.idp.claims("alice", &["door-user"], "portcullis:all");
    let token = stage.signer.token(&claims);
    let tunnel = tunnel(&stage.door, &[("authorization", &bearer(&token))]).await.ok().unwrap();
    let mut client = GatewayClient::with_origin(Line::new(tunnel.bytes).await, origin());
    client.get_info(GetInfoRequest {}).await.unwrap();
    // As clocks may differ.
    let end = claims["exp"].as_i64().unwrap() + 60;
    clock.set(end + 20);
    client.get_info(GetInfoRequest {}).await.expect("within the grace it goes on");
    clock.set(end + 60);
    assert_eq!(soon("the tunnel closes", tunnel.closed).await.unwrap(), Some(3000));
}

#[tokio::test]
async fn a_tunnel_ends_when_its_key_is_withdrawn_and_when_the_gateway_stops_and_says_why() {
    let stage = Stage::new(|_| {}).await;
    let token = stage.token("alice", &["door-user"]);
    let revoked = tunnel(&stage.door, &[("authorization", &bearer(&token))]).await.ok().unwrap();
    let opener = Line::new(revoked.bytes).await;
    GatewayClient::with_origin(opener.clone(), origin()).get_info(GetInfoRequest {}).await.unwrap();
    let other = Signer::ec("other");
    stage.idp.publish(&[&other]);
    let renewed = other.token(&stage.idp.claims("bob", &["door-user"], ""));
    until_believed(&stage.door, &renewed).await;
    assert_eq!(soon("the tunnel closes", revoked.closed).await.unwrap(), Some(3003));

    let draining = tunnel(&stage.door, &[("authorization", &bearer(&renewed))]).await.ok().unwrap();
    let line = Line::new(draining.bytes).await;
    GatewayClient::with_origin(line.clone(), origin()).get_info(GetInfoRequest {}).await.unwrap();
    let closing = tokio::spawn(stage.door.close());
    assert_eq!(soon("the tunnel closes", draining.closed).await.unwrap(), Some(1001));
    soon("the gateway stops", closing).await.unwrap();
}

#[tokio::test]
async fn a_megabyte_each_way_and_a_reader_that_stalls_lose_nothing() {
    let stage = Stage::new(|_| {}).await;
    let token = stage.token("alice", &["door-user"]);
    let tunnel = tunnel(&stage.door, &[("authorization", &bearer(&token))]).await.ok().unwrap();
    let mut caller = Http1::new(tunnel.bytes).await;
    let sent = "0123456789abcdef".repeat(64 * 1024);
    let response = caller
        .send(Request::post("/").header("host", "door.example").body(body(sent.clone())).unwrap())
        .await
        .unwrap();
    let seen: Seen = Answer::of(response).await.unwrap().json();
    assert_eq!((seen.body.len(), seen.body == sent), (sent.len(), true));
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

const VERIFIER: &str = "a-verifier-of-forty-three-characters-or-more";

async fn ask(door: &Door, request: http::request::Builder, text: &str) -> Answer {
    door.http1_anonymous()
        .await
        .ask(request.header("host", "door.example").body(body(text.to_owned())).unwrap())
        .await
}

#[tokio::test]
async fn a_person_lets_a_program_in_and_the_token_never_stands_in_a_url() {
    let stage = Stage::new(|_| {}).await;
    let token = stage.token("alice<script>", &["door-user"]);
    let path = format!(
        "/auth/connect?callback_port=40123&state=state-1234&code_challenge={}&code=AB12",
        challenge(VERIFIER)
    );
    let cookie = format!("CF_Authorization={token}");
    let page =
        ask(&stage.door, Request::get(&path).header("cookie", &cookie).header("accept", "text/html"), "")
            .await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text.contains("alice&lt;script&gt;")
            && page.text.contains("40123")
            && page.text.contains("AB12"),
        "{}",
        page.text
    );
    assert!(!page.text.contains(&token) && !page.text.contains("<script"));
    let policy = page.field("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("form-action 'self' http://127.0.0.1:40123"), "{policy}");
    assert_eq!((page.field("x-frame-options"), page.field("referrer-policy")), ("DENY", "no-referrer"));
    let seal =
        page.text.split("name=\"seal\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let post = |cookie: &str, form: &str, site: &'static str| {
        let request = Request::post(&path)
            .header("cookie", cookie)
            .header("sec-fetch-site", site)
            .header("content-type", "application/x-www-form-urlencoded");
        let (door, form) = (&stage.door, form.to_owned());
        async move { ask(door, request, &form).await }
    };
    let form = format!("seal={seal}");
    assert_eq!(
        post(&cookie, &form, "cross-site").await.status,
        StatusCode::BAD_REQUEST,
        "another site's page"
    );
    assert_eq!(
        post(&cookie, "seal=", "same-origin").await.status,
        StatusCode::BAD_REQUEST,
        "no page of ours"
    );
    let mallory = format!("CF_Authorization={}", stage.token("mallory", &["door-user"]));
    assert_eq!(
        post(&mallory, &form, "same-origin").await.status,
        StatusCode::BAD_REQUEST,
        "somebody else's page"
    );
    assert_eq!(post("", &form, "same-origin").await.status, StatusCode::UNAUTHORIZED);
    let sent = post(&cookie, &form, "same-origin").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    let location = sent.field("location").to_owned();
    let code = location
        .strip_prefix("http://127.0.0.1:40123/callback?code=")
        .unwrap()
        .strip_suffix("&state=state-1234")
        .unwrap();
    assert!(!location.contains(&token) && !location.contains(token.split('.').nth(1).unwrap()), "{location}");

    let redeem = |verifier: &str| {
        let text = serde_json::json!({ "code": code, "code_verifier": verifier }).to_string();
        let request = Request::post("/auth/token").header("content-type", "application/json");
        let door = &stage.door;
        async move { ask(door, request, &text).await }
    };
    assert_eq!(redeem(&VERIFIER.replace('a', "b")).await.status, StatusCode::BAD_REQUEST);
    let redeemed = redeem(VERIFIER).await;
    assert_eq!(redeemed.json::<serde_json::Value>()["token"], token.as_str());
    assert_eq!(redeemed.field("cache-control"), "no-store");
    assert_eq!(redeem(VERIFIER).await.status, StatusCode::BAD_REQUEST, "once");
}

#[tokio::test]
async fn the_page_wants_an_address_that_a_program_has_made() {
    let stage = Stage::new(|_| {}).await;
    let cookie = format!("CF_Authorization={}", stage.token("alice", &["door-user"]));
    let good = challenge(VERIFIER);
    for query in [
        String::new(),
        format!("callback_port=80&state=state-1234&code_challenge={good}"),
        format!("callback_port=99999&state=state-1234&code_challenge={good}"),
        format!("callback_port=40123&state=x&code_challenge={good}"),
        format!("callback_port=40123&state=a%0d%0ab-1234&code_challenge={good}"),
        "callback_port=40123&state=state-1234&code_challenge=short".to_owned(),
        format!("callback_port=40123&state=state-1234&code_challenge={good}&code=%3Cb%3E"),
        format!(
            "callback_port=40123&state=state-1234&code_challenge={good}&redirect_uri=https://evil.example"
        ),
    ] {
        let request = Request::get(format!("/auth/connect?{query}")).header("cookie", &cookie);
        assert_eq!(ask(&stage.door, request, "").await.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn where_to_log_in_is_told_to_anybody_and_no_header_changes_it() {
    let stage = Stage::new(|_| {}).await;
    let plain = ask(&stage.door, Request::get("/auth/oidc-config"), "").await;
    let told: serde_json::Value = plain.json();
    assert_eq!(told["mode"], "Edge");
    assert_eq!(told["oidc"]["issuer"], stage.idp.issuer());
    assert_eq!(
        (told["oidc"]["client_id"].as_str(), told["oidc"]["audience"].as_str()),
        (Some("cli"), Some("door"))
    );
    let spoofed = Request::get("/auth/oidc-config")
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example");
    assert_eq!(ask(&stage.door, spoofed, "").await.text, plain.text);
}

#[tokio::test]
async fn a_certificate_may_be_shown_behind_an_edge_and_must_hold() {
    let stage = Stage::new(|plan| plan.snapshot.clients.push(client("dev"))).await;
    let me = |line| async { GatewayClient::with_origin(line, origin()).who_am_i(WhoAmIRequest {}).await };
    let me_ci = me(Line::new(stage.door.tls(&stage.door.ci, "h2").await).await).await.unwrap().into_inner();
    assert_eq!((me_ci.user.as_str(), me_ci.proof.as_str()), ("ci@shop", "client-certificate"));
    let stranger = pki::client(&stage.door.client_ca, "stranger");
    let denied = me(Line::new(stage.door.tls(&stranger, "h2").await).await).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_change_of_mode_ends_the_connections_of_the_one_before() {
    let mut stage = Stage::new(|_| {}).await;
    let mut caller = stage.door.http1_anonymous().await;
    assert_eq!(caller.get("/").await.status, StatusCode::UNAUTHORIZED);
    stage.door.snapshot.mode = Mode::MutualTls;
    stage.door.snapshot.edge = None;
    stage.door.write_snapshot();
    eventually("the connection is cut", || {
        let mut closed = caller.0.is_closed();
        async move { std::mem::take(&mut closed) }
    })
    .await;
    assert!(
        stage.door.http1_anonymous().await.send(request("/")).await.is_err(),
        "TLS wants a certificate now"
    );
}

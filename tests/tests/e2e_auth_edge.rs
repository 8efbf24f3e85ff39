//! Behind an identity-aware edge: Apache with mod_auth_openidc in front, a Gateway in mode Edge behind it, and a browser
//! in which people sign in.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{SinkExt as _, StreamExt as _};
use portcullis_tests::door::{Door, json_of, text};
use portcullis_tests::real::browser::{Browser, Seen};
use portcullis_tests::real::caller::Caller;
use portcullis_tests::real::edge::{Edge, HOST, Registration};
use portcullis_tests::real::provider::Provider;
use portcullis_tests::real::tunnel::{self, Tunnel};
use portcullis_tests::real::{BRIDGE, FORGED, arrived};
use portcullis_tests::{is, until};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_tungstenite::tungstenite::{Error, Message};

const WHO_AM_I: &str = "portcullis.gateway.v1.Gateway/WhoAmI";
/// What the program on the person's machine made up.
const VERIFIER: &str = "a-verifier-of-the-tests-that-is-long-enough-for-rfc-7636";
const STATE: &str = "a-state-of-the-tests";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

/// The address that a program opens in a browser.
fn connect() -> String {
    format!("https://{HOST}/auth/connect?callback_port={{port}}&state={STATE}&code_challenge={}", challenge())
}

/// A Gateway behind an edge, and both are ready.
struct Site {
    _door: Door,
    provider: Provider,
    edge: Edge,
    browser: Browser,
}

impl Site {
    async fn start(provider: Provider, id_token_seconds: u32) -> Self {
        let door = Door::site().await;
        Provider::bring_roots(&door).await;
        let registration = Registration::with(&provider, id_token_seconds).await;
        let mut access = provider.edge_access(&registration.client);
        access["trustedProxies"] = json!([format!("{BRIDGE}/32")]);
        access["edge"]["clockSkew"] = json!("0s");
        let spec = json!({
            "replicas": 1,
            "access": access,
            "oidc": provider.oidc(true),
            "pki": { "server": { "dnsNames": [HOST] } },
            "backends": [{ "name": "httpbin", "match": { "pathPrefix": "/" }, "service": { "name": "httpbin", "port": 80 } }],
        });
        door.apply(&spec.to_string()).await;
        door.until_ready().await;
        until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "Discovered")).await;
        let edge = Edge::start(&door, &provider, &registration).await;
        let browser = Browser::new(&[provider.resolved(), (HOST.to_owned(), edge.address.clone())]).await;
        Self { _door: door, provider, edge, browser }
    }

    /// Redeems a code as a program does; status and answer.
    async fn redeem(&self, code: &str, verifier: &str) -> (String, Value) {
        let body = json!({ "code": code, "code_verifier": verifier }).to_string();
        let more =
            ["--header", "Content-Type: application/json", "--data", &body, "--write-out", "\n%{http_code}"];
        let said = text(&self.edge.curl("/auth/token", &more).await.stdout);
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.to_owned(), serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }

    /// The edge's token of somebody who signs in and lets a program act for them.
    async fn signed_in(&self, who: &str) -> String {
        let steps = json!([
            { "do": "open", "url": connect() },
            { "do": "sign-in", "name": who, "password": format!("{who}-password") },
            { "do": "press", "button": "Continue" },
            { "do": "called-back" },
        ]);
        let walk = self.browser.walk(true, &steps).await;
        let (status, answer) = self.redeem(&walk.calls[0].query["code"], VERIFIER).await;
        assert_eq!(status, "200", "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }
}

/// What a caller might wish to be believed, the edge's own header among it.
fn forged() -> impl Iterator<Item = &'static str> {
    FORGED.into_iter().chain(["X-Edge-Token;", "X_Edge_Token: forged", "x-edge_token: forged"])
}

/// The picture of a page as it should be.
fn shown(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("real/browser/shown").join(format!("{name}.png"))
}

/// A page looks as its picture does, but for what fonts and their renderers make of it.
fn looks_right(page: &Seen) {
    let difference = page.difference.expect("it was compared");
    assert!(difference < 0.01, "{} differs from {} by {difference}", page.file.display(), page.name);
}

async fn a_person_signs_in(provider: Provider) {
    let site = Site::start(provider, 3600).await;
    let steps = json!([
        { "do": "open", "url": connect() },
        { "do": "see", "as": "sign-in" },
        { "do": "sign-in", "name": "alice", "password": "alice-password" },
        { "do": "see", "as": "connect", "shown": shown("connect") },
        { "do": "press", "button": "Continue" },
        { "do": "called-back" },
        { "do": "see", "as": "done" },
    ]);
    let walk = site.browser.walk(true, &steps).await;
    let asked = &walk.page("sign-in").url;
    assert!(!asked.starts_with(&format!("https://{HOST}")), "the provider asks, not the edge: {asked}");
    let page = walk.page("connect");
    assert!(
        page.text.contains("alice") && page.text.contains(&walk.port.to_string()),
        "who, and which program: {}",
        page.text
    );
    assert_eq!(page.buttons, ["Continue"]);
    assert!(!page.text.contains("eyJ") && !page.url.contains("eyJ"), "a token is nowhere to be seen");
    looks_right(page);

    let [call] = walk.calls.as_slice() else {
        panic!("called back {} times: {:?}", walk.calls.len(), walk.calls)
    };
    assert_eq!((call.method.as_str(), call.query["state"].as_str()), ("GET", STATE));
    assert_eq!(call.query.keys().collect::<Vec<_>>(), ["code", "state"], "no token stands in a URL");
    assert_eq!(call.referer, None);
    let code = &call.query["code"];
    let (status, answer) = site.redeem(code, "another-verifier-that-is-long-enough-for-rfc-7636").await;
    assert_eq!(
        (status.as_str(), &answer["error"]),
        ("400", &json!("invalid_grant")),
        "the code is bound to its verifier"
    );
    let (status, answer) = site.redeem(code, VERIFIER).await;
    assert_eq!(status, "200", "{answer}");
    assert_eq!(site.redeem(code, VERIFIER).await.0, "400", "a code is good once");

    // What the program has got opens the gateway through the edge, by a cookie and through a tunnel.
    let token = answer["token"].as_str().unwrap();
    let cookie = format!("edge_session={token}");
    let told = json_of(&site.edge.curl("/headers", &["--cookie", &cookie]).await);
    assert_eq!(told["headers"]["X-Portcullis-User"], json!(["alice"]), "{told}");
    assert!(!told.to_string().contains(token), "the token goes no further than the gateway: {told}");
    let tunnel = Tunnel::start(HOST, &site.edge.address, &[("cookie", &cookie)]).await;
    let who = Caller::plain(tunnel.address).call(None, WHO_AM_I, "{}").await;
    assert_eq!((&who.body["user"], &who.body["proof"]), (&json!("alice"), &json!("edge-token")), "{who:?}");
    assert!(who.body["roles"].as_array().is_some_and(|roles| roles.contains(&json!("admin"))), "{who:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_at_oidc_provider_and_lets_a_program_act_for_them() {
    Box::pin(a_person_signs_in(Provider::oidc_provider().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_at_keycloak_and_lets_a_program_act_for_them() {
    Box::pin(a_person_signs_in(Provider::keycloak().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_works_without_javascript() {
    let site = Site::start(Provider::oidc_provider().await, 3600).await;
    let steps = json!([
        { "do": "open", "url": connect() },
        { "do": "sign-in", "name": "bob", "password": "bob-password" },
        { "do": "press", "button": "Continue" },
        { "do": "called-back" },
    ]);
    let walk = site.browser.walk(false, &steps).await;
    assert_eq!(site.redeem(&walk.calls[0].query["code"], VERIFIER).await.0, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_no_program_made_is_refused_on_a_page_that_says_so() {
    let site = Site::start(Provider::oidc_provider().await, 3600).await;
    let privileged = connect().replace("{port}", "22");
    let steps = json!([
        { "do": "open", "url": privileged },
        { "do": "sign-in", "name": "alice", "password": "alice-password" },
        { "do": "see", "as": "refused", "shown": shown("refused") },
        { "do": "open", "url": format!("https://{HOST}/auth/connect") },
        { "do": "see", "as": "nothing" },
        { "do": "open", "url": connect().replace("code_challenge=", "code_challenge=%3Cscript%3E") },
        { "do": "see", "as": "script" },
    ]);
    let walk = site.browser.walk(true, &steps).await;
    for name in ["refused", "nothing", "script"] {
        let page = walk.page(name);
        assert_eq!(page.status, Some(400), "{page:?}");
        assert!(page.text.contains("callback_port") && page.buttons.is_empty(), "{page:?}");
    }
    looks_right(walk.page("refused"));
    assert!(walk.calls.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_outlived_its_token_is_told_to_sign_in_again() {
    // Long enough to be looked at in time, on a machine that is busy too.
    let site = Site::start(Provider::oidc_provider().await, 30).await;
    let steps = json!([
        { "do": "open", "url": connect() },
        { "do": "sign-in", "name": "alice", "password": "alice-password" },
        { "do": "see", "as": "before" },
        { "do": "reload-until", "text": "expired", "seconds": 120 },
        { "do": "see", "as": "expired", "shown": shown("expired") },
    ]);
    let walk = site.browser.walk(true, &steps).await;
    assert_eq!(walk.page("before").status, Some(200), "{:?}", walk.page("before"));
    let page = walk.page("expired");
    assert_eq!(page.status, Some(401), "{page:?}");
    assert!(page.text.contains("Sign in again") && page.buttons.is_empty(), "{page:?}");
    looks_right(page);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_somebody_else_gets_a_code_for_a_person_who_is_signed_in() {
    let site = Site::start(Provider::oidc_provider().await, 3600).await;
    let address = connect();
    let steps = json!([
        { "do": "open", "url": address },
        { "do": "sign-in", "name": "alice", "password": "alice-password" },
        { "do": "see", "as": "signed-in" },
        // Framed, so that the person would press what they do not see.
        { "do": "lure", "html": format!("<!doctype html><title>Lure</title><iframe src='{address}'></iframe>") },
        { "do": "see", "as": "framed" },
        // Sent for them.
        { "do": "lure", "html": format!("<!doctype html><title>Lure</title><form method=post action='{address}'><input name=seal value=x><button>Win a prize</button></form>") },
        { "do": "press", "button": "Win a prize" },
        { "do": "see", "as": "sent" },
    ]);
    let walk = site.browser.walk(true, &steps).await;
    assert_eq!(walk.page("signed-in").buttons, ["Continue"]);
    assert!(
        !walk.page("framed").frames.iter().any(|text| text.contains("Continue")),
        "{:?}",
        walk.page("framed")
    );
    assert!(!walk.page("sent").buttons.contains(&"Continue".to_owned()), "{:?}", walk.page("sent"));
    assert!(walk.calls.is_empty(), "a code was handed out: {:?}", walk.calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_of_a_caller_that_speaks_of_identity_gets_through_the_edge_to_a_backend() {
    let site = Site::start(Provider::oidc_provider().await, 3600).await;
    let bob = format!("Authorization: Bearer {}", site.provider.token("bob", "sandbox:read").await);
    let fields: Vec<_> = forged().flat_map(|field| ["--header", field]).chain(["--header", &bob]).collect();
    let told = json_of(&site.edge.curl("/headers", &fields).await);
    assert_eq!(arrived(&told), Vec::<String>::new(), "{told}");
    assert_eq!(told["headers"]["X-Portcullis-User"], json!(["bob"]), "{told}");
    assert!(
        !told.to_string().contains("Bearer"),
        "a backend is told who is asking, and gets no token: {told}"
    );
    assert_eq!(
        site.edge.code("/get", &["--header", "X-Edge-Token: a.b.c"]).await,
        "302",
        "the edge alone says who is signed in"
    );

    // Through a tunnel, whose principal is that of its opening.
    let token = site.signed_in("bob").await;
    let tunnel =
        Tunnel::start(HOST, &site.edge.address, &[("cookie", &format!("edge_session={token}"))]).await;
    let inside = Caller::plain(tunnel.address);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let fields: Vec<_> = forged().flat_map(|field| ["--header", field]).chain([version]).collect();
        let told = json_of(&inside.curl(None, "/headers", &fields).await);
        assert_eq!(arrived(&told), Vec::<String>::new(), "{told}");
        assert_eq!(told["headers"]["X-Portcullis-User"], json!(["bob"]), "{told}");
    }
    let answer = inside
        .call_with(None, WHO_AM_I, "{}", &["x-portcullis-user: forged", "x-portcullis-roles: admin"])
        .await;
    assert_eq!(
        (&answer.body["user"], &answer.body["roles"]),
        (&json!("bob"), &json!(["user", "everybody"])),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_refused_before_it_opens_to_whoever_shows_nothing_that_holds() {
    let site = Site::start(Provider::oidc_provider().await, 3600).await;
    let refused = async |host: &str, address: &str, fields: &[(&'static str, &str)]| match tunnel::open(
        host, address, fields,
    )
    .await
    {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("no answer by HTTP: {other:?}"),
    };
    assert_eq!(refused(HOST, &site.edge.address, &[]).await, 401);
    assert_eq!(refused(HOST, &site.edge.address, &[("cookie", "edge_session=a.b.c")]).await, 401);
    assert_eq!(refused(HOST, &site.edge.address, &[("x-edge-token", "a.b.c")]).await, 401);
    let foreign = site.provider.token("bob", "").await;
    assert_eq!(
        refused(HOST, &site.edge.address, &[("cookie", &format!("edge_session={foreign}"))]).await,
        401,
        "no token of the edge's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_carries_what_it_is_given_and_ends_with_its_token_saying_so() {
    let site = Site::start(Provider::oidc_provider().await, 30).await;
    let cookie = format!("edge_session={}", site.signed_in("alice").await);
    let mut socket = tunnel::open(HOST, &site.edge.address, &[("cookie", &cookie)]).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    socket.send(Message::binary(request.into_bytes())).await.unwrap();
    // More than fits into any buffer on the way.
    let through = Tunnel::start(HOST, &site.edge.address, &[("cookie", &cookie)]).await;
    let body = "x".repeat(900_000);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(body.as_bytes()).unwrap();
    let posted = ["--http2-prior-knowledge", "--data-binary", &format!("@{}", file.path().display())];
    let echoed = Caller::plain(through.address).curl(None, "/post", &posted).await;
    assert!(text(&echoed.stdout).contains(&body), "{} bytes came back", echoed.stdout.len());

    let closed = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("it ended without a word: {other:?}"),
            }
        }
    };
    let frame =
        tokio::time::timeout(Duration::from_mins(3), closed).await.expect("it ends").expect("it says why");
    assert_eq!(u16::from(frame.code), 3000, "{frame:?}");
    assert!(frame.reason.contains("expired"), "{frame:?}");
    let again = tunnel::open(HOST, &site.edge.address, &[("cookie", &cookie)]).await;
    assert!(matches!(again, Err(Error::Http(answer)) if answer.status() == 401));
}

//! Bearer tokens on real connections: keys that come and go, an issuer that is away, and what callers are told.

use std::time::Duration;

use http::{Request, StatusCode};
use portcullis_contract::gateway::WhoAmIRequest;
use portcullis_contract::gateway::gateway_client::GatewayClient;
use portcullis_contract::snapshot::{Auth, Mode, Protocol, Requirement};

use crate::support::door::{Plan, backend, prefix};
use crate::support::grpc::{Line, origin};
use crate::support::idp::Idp;
use crate::support::signer::Signer;
use crate::support::{Answer, Backend, Door, Seen, body, eventually};

/// A door in mode Edge to an echoing backend, which takes bearer tokens of this issuer.
pub(crate) async fn door(idp: &Idp, echo: &Backend, change: impl FnOnce(&mut Plan)) -> Door {
    let mut plan = Plan::new(vec![backend("api", prefix("/"), echo.address, Protocol::Http1)]);
    plan.snapshot.mode = Mode::Edge;
    plan.snapshot.edge = Some(idp.edge());
    plan.snapshot.oidc = Some(idp.oidc());
    plan.options.limits.issuer_pause = Duration::from_millis(200);
    change(&mut plan);
    plan.start().await
}

pub(crate) async fn get(door: &Door, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::get("/").header("host", "door.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    door.http1_anonymous().await.ask(request.body(body("")).unwrap()).await
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Waits until the issuer's keys have come.
pub(crate) async fn until_believed(door: &Door, token: &str) {
    eventually("a good token is believed", || async {
        get(door, &[("authorization", &bearer(token))]).await.status == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn backends_are_told_who_a_token_speaks_for_and_never_get_the_token() {
    let (signer, echo) = (Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let door = door(&idp, &echo, |_| {}).await;
    let token = signer.token(&idp.claims("alice@shop", &["door-admin", "buyer"], ""));
    until_believed(&door, &token).await;
    for fields in [
        vec![("authorization", bearer(&token))],
        vec![("cf-access-jwt-assertion", token.clone())],
        vec![("cookie", format!("theme=dark; CF_Authorization={token}"))],
    ] {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let seen: Seen = get(&door, &fields).await.json();
        assert_eq!(seen.all("x-portcullis-user"), ["alice@shop"], "{fields:?}");
        assert_eq!(seen.all("x-portcullis-roles"), ["admin,buyer"]);
        assert!(seen.headers.iter().all(|(_, value)| !value.contains(&token)), "{:?}", seen.headers);
    }
    let fields = [("cookie", &*format!("a=1; CF_Authorization={token}; b=2"))];
    assert_eq!(get(&door, &fields).await.json::<Seen>().all("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn whoever_shows_nothing_or_something_bad_is_told_that_much_and_no_more() {
    let (signer, stranger, echo) = (Signer::ec("a"), Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let door = door(&idp, &echo, |_| {}).await;
    until_believed(&door, &signer.token(&idp.claims("alice", &["door-user"], ""))).await;
    let nobody = get(&door, &[]).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert_eq!(nobody.field("www-authenticate"), "Bearer");
    let mut expired = idp.claims("alice", &[], "");
    expired["exp"] = 1.into();
    let mut told = Vec::new();
    for token in [
        signer.token(&expired),
        stranger.token(&idp.claims("alice", &[], "")),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let answer = get(&door, &[("authorization", &bearer(&token))]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.field("www-authenticate"), "Bearer error=\"invalid_token\"");
        told.push(answer.text);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "the caller cannot tell what was wrong: {told:?}");
    for reason in ["no_evidence", "token_expired", "token_signature", "token_malformed"] {
        assert!(
            door.metric(&format!("portcullis_gateway_denials_total{{reason=\"{reason}\"}}")).await >= 1.0,
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_token_of_a_key_that_came_since_is_believed_at_once_and_none_of_a_key_that_went() {
    let (old, new, echo) = (Signer::ec("old"), Signer::rsa("new"), Backend::echo().await);
    let idp = Idp::new(&old).await;
    let door = door(&idp, &echo, |_| {}).await;
    let token = |signer: &Signer| signer.token(&idp.claims("alice", &["door-user"], ""));
    until_believed(&door, &token(&old)).await;
    let status = async |token: String| get(&door, &[("authorization", &bearer(&token))]).await.status;
    eventually("both issuers of the snapshot were asked", || async { idp.fetches() >= 2 }).await;
    let fetches = idp.fetches();
    idp.publish(&[&old, &new]);
    eventually("the new key's token is believed", || async { status(token(&new)).await == StatusCode::OK })
        .await;
    // Once for the new key; an answer that was slow at first may be asked for again.
    assert!((1..=2).contains(&(idp.fetches() - fetches)), "{} times", idp.fetches() - fetches);
    assert_eq!(status(token(&old)).await, StatusCode::OK);
    idp.publish(&[&new]);
    eventually("the old key's token is refused", || async {
        // Somebody's unknown key makes the gateway look.
        status(token(&Signer::ec("unknown"))).await;
        status(token(&old)).await == StatusCode::UNAUTHORIZED
    })
    .await;
    assert_eq!(status(token(&new)).await, StatusCode::OK);
}

#[tokio::test]
async fn ten_thousand_unknown_keys_make_no_storm() {
    let (signer, echo) = (Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let door = door(&idp, &echo, |plan| plan.options.limits.issuer_pause = Duration::from_mins(10)).await;
    let token = signer.token(&idp.claims("alice", &["door-user"], ""));
    until_believed(&door, &token).await;
    eventually("both issuers of the snapshot were asked", || async { idp.fetches() >= 2 }).await;
    let before = idp.fetches();
    let mut caller = door.http2_anonymous().await;
    let stranger = Signer::ed("stranger");
    let claims = idp.claims("mallory", &["door-admin"], "").to_string();
    for number in 0..10_000 {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{number}"}}"#);
        let request = Request::get("/")
            .header("host", "door.example")
            .header("authorization", bearer(&stranger.sign(&header, &claims)));
        let answer = caller.ask(request.body(body("")).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(idp.fetches(), before);
    // The first one may have ended meanwhile.
    let token = signer.token(&idp.claims("alice", &["door-user"], ""));
    assert_eq!(get(&door, &[("authorization", &bearer(&token))]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn with_the_issuer_away_known_keys_go_on_and_unknown_ones_are_refused() {
    let (signer, later, echo) = (Signer::ec("a"), Signer::ec("b"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let door = door(&idp, &echo, |_| {}).await;
    let token = |signer: &Signer, user| signer.token(&idp.claims(user, &["door-user"], ""));
    until_believed(&door, &token(&signer, "alice")).await;
    let status = async |token: String| get(&door, &[("authorization", &bearer(&token))]).await.status;
    idp.set_broken(true);
    idp.publish(&[&signer, &later]);
    assert_eq!(status(token(&later, "bob")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        status(token(&signer, "carol")).await,
        StatusCode::OK,
        "a token that was never seen, of a known key"
    );
    idp.set_broken(false);
    eventually("it heals by itself", || async { status(token(&later, "bob")).await == StatusCode::OK }).await;
}

#[tokio::test]
async fn a_replica_starts_without_the_issuer_and_lets_nobody_in_until_it_answers() {
    let (signer, echo) = (Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    idp.set_broken(true);
    let door = door(&idp, &echo, |_| {}).await;
    let token = signer.token(&idp.claims("alice", &["door-user"], ""));
    let answer = get(&door, &[("authorization", &bearer(&token))]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.field("retry-after"), "5");
    idp.set_broken(false);
    until_believed(&door, &token).await;
}

#[tokio::test]
async fn a_certificate_still_opens_the_door_and_a_bad_token_beside_it_closes_it() {
    let (signer, echo) = (Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let door = door(&idp, &echo, |plan| {
        plan.snapshot.mode = Mode::MutualTls;
        plan.snapshot.edge = None;
    })
    .await;
    let line = Line::new(door.tls(&door.ci, "h2").await).await;
    let me = async |line: Line| GatewayClient::with_origin(line, origin()).who_am_i(WhoAmIRequest {}).await;
    assert_eq!(me(line.clone()).await.unwrap().into_inner().user, "ci@shop");
    let token = signer.token(&idp.claims("alice", &["door-user"], "sandbox:read"));
    eventually("the token is believed", || async { me(line.bearer(&token)).await.is_ok() }).await;
    let alice = me(line.bearer(&token)).await.unwrap().into_inner();
    assert_eq!((alice.user.as_str(), alice.proof.as_str()), ("alice", "client-certificate+bearer-token"));
    assert_eq!((alice.subject.as_str(), alice.issuer), ("id-of-alice", idp.issuer()));
    assert_eq!(alice.certificate_serial, door.ci.facts.serial);
    let denied = me(line.bearer("nonsense")).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::Unauthenticated);
    let alone = Request::get("/").header("host", "door.example").header("authorization", bearer(&token));
    let mut without = door.http1_anonymous().await;
    assert!(
        without.send(alone.body(body("")).unwrap()).await.is_err(),
        "a token without a certificate opens nothing"
    );
}

#[tokio::test]
async fn backends_ask_for_roles_scopes_and_methods_or_for_nothing() {
    let (signer, echo) = (Signer::ec("a"), Backend::echo().await);
    let idp = Idp::new(&signer).await;
    let of = |path: &str, auth, requires| {
        let mut backend = backend(&path[1..], prefix(path), echo.address, Protocol::Http1);
        (backend.auth, backend.requires) = (auth, requires);
        backend
    };
    let requirement = |methods: &[&str], role: Option<&str>, scopes: &[&str]| Requirement {
        methods: methods.iter().map(ToString::to_string).collect(),
        role: role.map(str::to_owned),
        scopes: scopes.iter().map(ToString::to_string).collect(),
    };
    let door = door(&idp, &echo, |plan| {
        plan.snapshot.backends = vec![
            of("/open", Auth::None, Vec::new()),
            of("/maybe", Auth::Optional, Vec::new()),
            of("/known", Auth::Required, Vec::new()),
            of(
                "/rw",
                Auth::Required,
                vec![requirement(&["GET"], Some("user"), &[]), requirement(&["POST"], Some("admin"), &[])],
            ),
            of("/buy", Auth::Required, vec![requirement(&[], Some("buyer"), &["shop:buy"])]),
        ];
    })
    .await;
    let user = signer.token(&idp.claims("user", &["door-user"], ""));
    let admin = signer.token(&idp.claims("admin", &["door-admin"], "portcullis:all"));
    let buyer = signer.token(&idp.claims("buyer", &["buyer"], "shop:buy"));
    let looker = signer.token(&idp.claims("looker", &["buyer"], "shop:look"));
    let ask = async |method: &str, path: &str, token: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path).header("host", "door.example");
        if let Some(token) = token {
            request = request.header("authorization", bearer(token));
        }
        door.http1_anonymous().await.ask(request.body(body("")).unwrap()).await
    };
    eventually("the issuer is known", async || {
        ask("GET", "/known", Some(&user)).await.status == StatusCode::OK
    })
    .await;
    for (method, path, token, status) in [
        ("GET", "/open", None, 200),
        ("GET", "/open", Some("nonsense"), 200),
        ("GET", "/maybe", None, 200),
        ("GET", "/maybe", Some(user.as_str()), 200),
        ("GET", "/maybe", Some("nonsense"), 401),
        ("GET", "/known", None, 401),
        ("GET", "/known", Some(&looker), 200),
        ("GET", "/rw", Some(&user), 200),
        ("POST", "/rw", Some(&user), 403),
        ("POST", "/rw", Some(&admin), 200),
        ("GET", "/rw", Some(&admin), 200),
        ("GET", "/rw", Some(&buyer), 403),
        ("PUT", "/rw", Some(&admin), 403),
        ("GET", "/buy", Some(&buyer), 200),
        ("GET", "/buy", Some(&looker), 403),
        ("GET", "/buy", Some(&admin), 403),
        ("GET", "/buy", None, 401),
        ("GET", "/nowhere", None, 401),
        ("GET", "/nowhere", Some(&user), 404),
    ] {
        assert_eq!(ask(method, path, token).await.status.as_u16(), status, "{method} {path} {token:?}");
    }
    let seen: Seen = ask("GET", "/maybe", None).await.json();
    assert!(seen.all("x-portcullis-user").is_empty(), "nobody is nobody");
    let seen: Seen = ask("GET", "/open", Some("theirs")).await.json();
    assert_eq!(
        seen.all("authorization"),
        ["Bearer theirs"],
        "where nobody is looked at, it is the backend's"
    );
    let lacking = ask("GET", "/buy", Some(&looker)).await;
    assert_eq!(lacking.field("www-authenticate"), "Bearer error=\"insufficient_scope\", scope=\"shop:buy\"");
    assert!(lacking.text.contains("the scope shop:buy"), "{}", lacking.text);
}

//! Who may do what with the tokens of two OpenID providers of different make, as foreign clients see it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_tests::door::{Door, text};
use portcullis_tests::real::caller::Caller;
use portcullis_tests::real::provider::{ALL, OwnProvider, Provider};
use portcullis_tests::real::{CREDENTIAL, bring_credentials, drivers};
use portcullis_tests::{PATIENCE, is, message, until};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

const RESOLVE: (&str, &str) =
    ("portcullis.gateway.v1.Credentials/ResolveCredential", r#"{"name":"registry"}"#);
const LIST_CREDENTIALS: (&str, &str) = ("portcullis.gateway.v1.Credentials/ListCredentials", "{}");
const LIST_SANDBOXES: (&str, &str) = ("portcullis.gateway.v1.Sandboxes/ListSandboxes", "{}");
const CREATE_SANDBOX: (&str, &str) = ("portcullis.gateway.v1.Sandboxes/CreateSandbox", r#"{"name":"one"}"#);
const WHO_AM_I: (&str, &str) = ("portcullis.gateway.v1.Gateway/WhoAmI", "{}");

const LET_IN: &str = "OK";
const UNKNOWN: &str = "Unauthenticated";
const DENIED: &str = "PermissionDenied";

/// How long the gateway leaves an issuer alone after it was asked for keys.
const PAUSE: Duration = Duration::from_secs(30);

/// A new key of Keycloak's, which all tests share, is refused by a Gateway that has only just asked for its keys: whoever
/// calls with its tokens is alone with it.
static KEYS_OF_KEYCLOAK: Mutex<()> = Mutex::const_new(());

/// A Gateway that callers reach with a token alone, with both drivers.
fn spec(oidc: &Value, access: &Value) -> Value {
    let (drivers, template) = drivers();
    json!({
        "replicas": 1,
        "access": access,
        "oidc": oidc,
        "drivers": drivers,
        "podTemplate": template,
        "backends": [{ "name": "httpbin", "match": { "pathPrefix": "/" }, "service": { "name": "httpbin", "port": 80 } }],
    })
}

/// It is Ready and has the provider's keys.
async fn door(oidc: &Value, access: &Value) -> (Door, Caller) {
    let door = Door::site().await;
    Provider::bring_roots(&door).await;
    bring_credentials(&door).await;
    door.apply(&spec(oidc, access).to_string()).await;
    door.until_ready().await;
    until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "Discovered")).await;
    let caller = Caller::direct(&door).await;
    caller.until_code(None, "/healthz", "200").await;
    (door, caller)
}

/// Who asks, with which token, for which method and message, and what becomes of it.
type Row<'a> = (&'a str, Option<String>, (&'a str, &'a str), &'a str);

/// Calls all of them and compares.
async fn hold(caller: &Caller, rows: &[Row<'_>]) {
    let mut wrong = String::new();
    for (what, token, (method, body), expected) in rows {
        let answer = caller.call(token.as_deref(), method, body).await;
        if answer.code != *expected {
            let _ = writeln!(wrong, "{what}: {method}: expected {expected}, and it is {answer:?}");
        }
    }
    assert!(wrong.is_empty(), "of {} cases these are wrong:\n{wrong}", rows.len());
}

/// The cases with roles alone, those with scopes on top, and the denials that belong to them.
async fn cases_hold(provider: &Provider, other: &Provider, foreign_client: Option<&str>) {
    let access = provider.edge_access("portcullis-edge");
    let (open, scoped) = (provider.oidc(false), provider.oidc(true));
    let ((_door, caller), (_scoped_door, scoped)) =
        tokio::join!(door(&open, &access), door(&scoped, &access));

    let some = async |who: &str, scopes: &str| Some(provider.token(who, scopes).await);
    let (alice, bob, carol) = (some("alice", "").await, some("bob", "").await, some("carol", "").await);
    hold(
        &caller,
        &[
            ("an admin may", alice.clone(), RESOLVE, LET_IN),
            ("a user may not", bob.clone(), RESOLVE, DENIED),
            ("a user may", bob.clone(), LIST_SANDBOXES, LET_IN),
            ("nobody may not", None, LIST_SANDBOXES, UNKNOWN),
            ("an admin is a user too", alice.clone(), LIST_SANDBOXES, LET_IN),
            ("a user may list", bob.clone(), LIST_CREDENTIALS, LET_IN),
            ("nobody may not list", None, LIST_CREDENTIALS, UNKNOWN),
            ("nobody may not resolve", None, RESOLVE, UNKNOWN),
            ("nobody is nobody", None, WHO_AM_I, UNKNOWN),
            ("who has no role may not", carol.clone(), LIST_SANDBOXES, DENIED),
            ("who has no role may not list", carol.clone(), LIST_CREDENTIALS, DENIED),
            ("who has no role may not resolve", carol.clone(), RESOLVE, DENIED),
            ("who has no role is somebody all the same", carol, WHO_AM_I, LET_IN),
            (
                "half a token is none",
                alice.as_ref().map(|it| it[..it.len() / 2].to_owned()),
                LIST_SANDBOXES,
                UNKNOWN,
            ),
            ("no token is none", Some(String::new()), LIST_SANDBOXES, UNKNOWN),
            (
                "another provider's token is none",
                Some(other.token("alice", "").await),
                LIST_SANDBOXES,
                UNKNOWN,
            ),
        ],
    )
    .await;
    assert!(caller.is_healthy().await, "health is for everybody");
    if let Some(client) = foreign_client {
        let foreign = provider.token_with("alice", ALL, client, &[]).await;
        hold(&caller, &[("a token for somebody else is none", Some(foreign), LIST_SANDBOXES, UNKNOWN)]).await;
    }

    let (ci, ci_without) = (Some(provider.ci_token("sandbox:read").await), Some(provider.ci_token("").await));
    hold(
        &scoped,
        &[
            ("a scope for it will do", some("bob", "sandbox:read").await, LIST_SANDBOXES, LET_IN),
            (
                "a scope for something else will not",
                some("bob", "sandbox:read").await,
                LIST_CREDENTIALS,
                DENIED,
            ),
            ("all scopes will do", some("alice", ALL).await, RESOLVE, LET_IN),
            ("all scopes will do to list", some("alice", ALL).await, LIST_CREDENTIALS, LET_IN),
            ("all scopes will do to write", some("alice", ALL).await, CREATE_SANDBOX, LET_IN),
            ("no scope will not", bob.clone(), LIST_SANDBOXES, DENIED),
            ("a machine may", ci.clone(), LIST_SANDBOXES, LET_IN),
            ("a machine may no more than its scopes", ci.clone(), LIST_CREDENTIALS, DENIED),
            ("a machine may no more than its role", Some(provider.ci_token(ALL).await), RESOLVE, DENIED),
            ("a machine without scopes may not", ci_without, LIST_SANDBOXES, DENIED),
            ("an admin needs the scope too", some("alice", "sandbox:read").await, RESOLVE, DENIED),
            ("an admin without scopes may not", alice, LIST_SANDBOXES, DENIED),
            ("a scope widens no role", some("bob", "credential:read").await, RESOLVE, DENIED),
            ("all scopes widen no role", some("bob", ALL).await, RESOLVE, DENIED),
            ("a scope gives no role", some("carol", ALL).await, LIST_SANDBOXES, DENIED),
            ("reading is not writing", some("bob", "sandbox:read").await, CREATE_SANDBOX, DENIED),
            ("writing is not reading", some("bob", "sandbox:write").await, LIST_SANDBOXES, DENIED),
            ("who one is needs no scope", bob, WHO_AM_I, LET_IN),
            ("nobody may not", None, LIST_SANDBOXES, UNKNOWN),
        ],
    )
    .await;
    assert!(scoped.is_healthy().await, "health is for everybody");

    let secret = scoped.call(some("alice", "credential:read").await.as_deref(), RESOLVE.0, RESOLVE.1).await;
    assert_eq!(secret.body, json!({ "token": CREDENTIAL, "tokenType": "Bearer" }), "{secret:?}");
    let made = scoped.call(some("bob", "sandbox:read").await.as_deref(), LIST_SANDBOXES.0, "{}").await.body;
    assert_eq!(
        (&made["sandboxes"][0]["name"], &made["sandboxes"][0]["createdBy"]),
        (&json!("one"), &json!("alice")),
        "{made}"
    );

    let who = scoped
        .call(some("bob", "sandbox:read sandbox:write").await.as_deref(), WHO_AM_I.0, WHO_AM_I.1)
        .await
        .body;
    assert_eq!((&who["user"], &who["issuer"]), (&json!("bob"), &json!(provider.issuer)), "{who}");
    assert!(who["roles"].as_array().unwrap().contains(&json!("user")), "{who}");
    assert_eq!(who["scopes"], json!(["sandbox:read", "sandbox:write"]), "{who}");
    let verdict = |method: &str| {
        let methods = who["methods"].as_array().unwrap().iter();
        methods
            .clone()
            .find(|it| it["method"] == format!("/{method}"))
            .unwrap_or_else(|| panic!("{method}: {who}"))
            .clone()
    };
    assert_eq!(verdict(LIST_SANDBOXES.0)["allowed"], json!(true));
    let denied = verdict(RESOLVE.0);
    assert_ne!(denied["allowed"], json!(true));
    assert!(denied["missing"].as_str().is_some_and(|missing| missing.contains("admin")), "{denied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_is_as_written_with_tokens_of_keycloak() {
    let _alone = KEYS_OF_KEYCLOAK.lock().await;
    let (keycloak, other) = tokio::join!(Provider::keycloak(), Provider::oidc_provider());
    Box::pin(cases_hold(&keycloak, &other, Some("portcullis-other"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_is_as_written_with_tokens_of_oidc_provider() {
    let (provider, other) = tokio::join!(Provider::oidc_provider(), Provider::keycloak());
    Box::pin(cases_hold(&provider, &other, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_opens_the_door_and_a_token_says_who_is_asking() {
    let provider = Provider::oidc_provider().await;
    let door = Door::site().await;
    Provider::bring_roots(&door).await;
    bring_credentials(&door).await;
    let mut spec = spec(&provider.oidc(false), &json!({ "mode": "MutualTLS" }));
    spec["clients"] = json!([{ "name": "laptop", "user": "laptop@example.com" }]);
    door.apply(&spec.to_string()).await;
    door.until_ready().await;
    until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "Discovered")).await;
    let laptop = door.bundle("laptop").await;
    door.until_code(&laptop, "/get", "200").await;
    let ask = async |token: Option<String>| {
        let field = token.map(|token| format!("Authorization: Bearer {token}"));
        let more: Vec<_> = field.iter().flat_map(|field| ["--header", field]).collect();
        let more: Vec<_> = more.into_iter().chain(["--write-out", "\n%{http_code}"]).collect();
        let said = text(&door.curl(Some(&laptop), "/headers", &more).await.stdout);
        let (body, code) = said.rsplit_once('\n').unwrap();
        let told: Value = serde_json::from_str(body).unwrap_or_default();
        (code.to_owned(), told["headers"]["X-Portcullis-User"].clone(), body.to_owned())
    };
    assert_eq!(ask(None).await.1, json!(["laptop@example.com"]));
    let (code, user, body) = ask(Some(provider.token("bob", "").await)).await;
    assert_eq!((code.as_str(), user), ("200", json!(["bob"])), "{body}");
    assert!(!body.contains("Bearer"), "a backend is told who is asking, and gets no token: {body}");
    assert_eq!(
        ask(Some("a.b.c".to_owned())).await.0,
        "401",
        "a token that is shown must hold, certificate or not"
    );
    let nobody = door
        .curl(
            None,
            "/headers",
            &["--header", &format!("Authorization: Bearer {}", provider.token("bob", "").await)],
        )
        .await;
    assert!(!nobody.status.success(), "a token does not open the door: {}", text(&nobody.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_says_so() {
    let provider = Provider::oidc_provider().await;
    let mut oidc = provider.oidc(false);
    oidc["clockSkew"] = json!("0s");
    let (_door, caller) = door(&oidc, &provider.edge_access("portcullis-edge")).await;
    let token = provider.token_with("bob", "", "portcullis-cli", &["lifetime=20"]).await;
    let (asked, mut answers) = (Instant::now(), 0);
    while caller.call(Some(&token), LIST_SANDBOXES.0, "{}").await.code == LET_IN {
        answers += 1;
        assert!(asked.elapsed() < Duration::from_secs(90), "it goes on after {answers} answers");
    }
    assert!(answers > 0, "it never held");
    assert_eq!(caller.call(Some(&token), LIST_SANDBOXES.0, "{}").await.code, UNKNOWN);
}

/// Asks again and again until a future is done; how often, and what went wrong.
async fn while_asking(caller: &Caller, token: &str, done: impl Future<Output = ()>) -> (usize, Vec<String>) {
    tokio::pin!(done);
    let (mut answers, mut failures) = (0, Vec::new());
    loop {
        tokio::select! {
            () = &mut done => return (answers, failures),
            code = caller.code(Some(token), "/get", &[]) => {
                answers += 1;
                if code != "200" { failures.push(code); }
            }
        }
    }
}

/// Old tokens and new ones are good while the provider takes new keys.
async fn no_request_fails_while_keys_change(provider: &Provider) {
    let (_door, caller) = door(&provider.oidc(false), &provider.edge_access("portcullis-edge")).await;
    let began = Instant::now();
    let old = provider.token("bob", "").await;
    let changed = async {
        // Requests run until the gateway may ask for keys again: it asks at most once in that time, whoever wants it to.
        sleep(PAUSE.saturating_sub(began.elapsed())).await;
        provider.rotate().await;
        let new = provider.token("bob", "").await;
        assert_ne!(key_of(&new), key_of(&old), "the provider signs with its new key");
        for _ in 0..50 {
            assert_eq!(caller.code(Some(&new), "/get", &[]).await, "200", "a token of the new key");
        }
    };
    let (answers, failures) = while_asking(&caller, &old, changed).await;
    assert!(answers > 20, "only {answers} requests were made");
    assert!(failures.is_empty(), "{} of {answers} failed: {failures:?}", failures.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_keycloak_takes_a_new_key() {
    let _alone = KEYS_OF_KEYCLOAK.lock().await;
    no_request_fails_while_keys_change(&Provider::keycloak().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_oidc_provider_takes_a_new_key() {
    let site = Door::site().await;
    let own = OwnProvider::start(&site).await;
    no_request_fails_while_keys_change(&own.provider).await;
}

/// The key that a token names.
fn key_of(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_go_on_while_the_provider_is_away_and_unknown_ones_are_refused() {
    let site = Door::site().await;
    let mut own = OwnProvider::start(&site).await;
    let (door, caller) = door(&own.provider.oidc(false), &own.provider.edge_access("portcullis-edge")).await;
    let token = own.provider.token("bob", "").await;
    let unseen = own.provider.token("alice", "").await;
    assert_eq!(caller.code(Some(&token), "/get", &[]).await, "200");

    let began = Instant::now();
    own.kill().await;
    let away = async {
        sleep(PAUSE.saturating_sub(began.elapsed())).await;
        // A key that nobody knows makes the gateway ask, in vain.
        assert_eq!(caller.code(Some(&renamed(&token, "unknown")), "/get", &[]).await, "401");
        assert_eq!(
            caller.code(Some(&unseen), "/get", &[]).await,
            "200",
            "a token that it had not seen, of a key that it knows"
        );
        let kept =
            until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "LastGoodKeys")).await;
        let said = message(&kept, "OIDCDiscovered");
        assert!(said.contains(&own.provider.issuer) && said.contains("last good keys"), "{said}");
    };
    let (answers, failures) = Box::pin(while_asking(&caller, &token, away)).await;
    assert!(answers > 20 && failures.is_empty(), "{answers} requests, of which failed {failures:?}");

    own.start_again().await;
    assert_eq!(
        caller.code(Some(&own.provider.token("bob", "").await), "/get", &[]).await,
        "200",
        "its keys are the same"
    );
    until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "Discovered")).await;
}

/// A token that names another key.
fn renamed(token: &str, key: &str) -> String {
    let rest = token.split_once('.').unwrap().1;
    format!(
        "{}.{rest}",
        URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256", "typ": "at+jwt", "kid": key }).to_string())
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tokens_of_unknown_keys_make_the_gateway_ask_at_most_once_in_half_a_minute() {
    const TOKENS: usize = 10_000;
    let site = Door::site().await;
    let own = OwnProvider::start(&site).await;
    let (_door, caller) = door(&own.provider.oidc(false), &own.provider.edge_access("portcullis-edge")).await;
    let token = own.provider.token("bob", "").await;
    assert_eq!(caller.code(Some(&token), "/get", &[]).await, "200");

    let (before, began) = (own.provider.keys_asked().await, Instant::now());
    let tokens = (0..TOKENS).map(|number| renamed(&token, &format!("unknown-{number}")));
    let answers = caller.flood("/get", tokens).await;
    let (asked, took) = (own.provider.keys_asked().await - before, began.elapsed());
    assert_eq!(answers, BTreeMap::from([(401, TOKENS)]), "after {took:?}");
    let most = 1 + took.as_secs() / PAUSE.as_secs();
    assert!(asked <= most, "it asked {asked} times in {took:?}");
    assert_eq!(caller.code(Some(&token), "/get", &[]).await, "200");
}

/// What is wrong, how a spec comes to have it, and what `kubectl describe` must say.
type Mistake<'a> = (&'a str, &'a dyn Fn(&mut Value), &'a [&'a str]);

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_describe_names_the_fix_where_the_provider_cannot_be_asked() {
    let provider = Provider::oidc_provider().await;
    let door = Door::site().await;
    Provider::bring_roots(&door).await;
    bring_credentials(&door).await;
    let access = provider.edge_access("portcullis-edge");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut oidc = provider.oidc(false);
        change(&mut oidc);
        spec(&oidc, &access).to_string()
    };
    let cases: [Mistake<'_>; 5] = [
        (
            "a realm that is not there",
            &|it| it["issuer"] = json!("https://keycloak.parts.svc:8443/realms/shop"),
            &["404", "Is the issuer's URL right?"],
        ),
        (
            "an issuer that calls itself otherwise",
            &|it| it["issuer"] = json!("https://idp.parts.svc:9443/"),
            &["says that its issuer is \"https://idp.parts.svc:9443\"", "to the letter"],
        ),
        (
            "a host that is not there",
            &|it| it["issuer"] = json!("https://idp.nowhere.svc:9443"),
            &["failed to reach https://idp.nowhere.svc:9443"],
        ),
        (
            "roots that are not named",
            &|it| drop(it.as_object_mut().unwrap().remove("caBundleRef")),
            &["caBundleRef", "its TLS certificate does not hold"],
        ),
        (
            "roots that are not there",
            &|it| it["caBundleRef"]["name"] = json!("forgotten"),
            &["caBundleRef", "there is no such ConfigMap"],
        ),
    ];
    for (what, change, words) in cases {
        door.apply(&with(change)).await;
        let says = |gateway: &portcullis_api::Gateway| {
            is("OIDCDiscovered", "False", "KeysMissing")(gateway)
                && words.iter().all(|word| message(gateway, "OIDCDiscovered").contains(word))
        };
        until(&door.client, &door.namespace, "door", says).await;
        // Where the pod is replaced, the new one has still to say the same. `describe` breaks no lines within a message.
        let began = Instant::now();
        loop {
            let described = door.kubectl(&["describe", "gateway", "door"], None).await;
            if words.iter().chain(&["KeysMissing", "OIDCDiscovered"]).all(|word| described.contains(word)) {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {described}");
            sleep(Duration::from_millis(200)).await;
        }
    }
    door.apply(&with(&|_| {})).await;
    until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "Discovered")).await;

    let mut object = json!({ "apiVersion": "portcullis.dev/v1alpha1", "kind": "Gateway", "metadata": { "name": "unheard" } });
    let mut oidc = provider.oidc(false);
    oidc.as_object_mut().unwrap().remove("audience");
    object["spec"] = spec(&oidc, &access);
    let refused = door.kubectl_refused(&["apply", "-f", "-"], &object.to_string()).await;
    assert!(refused.contains("spec.oidc.audience: Required value"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_describe_names_the_socket_of_a_driver_that_is_missing_and_what_needs_it_is_unavailable() {
    let provider = Provider::oidc_provider().await;
    let door = Door::site().await;
    Provider::bring_roots(&door).await;
    bring_credentials(&door).await;
    let whole = spec(&provider.oidc(false), &provider.edge_access("portcullis-edge"));
    let mut lacking = whole.clone();
    lacking["drivers"]["compute"] = json!({ "socketPath": "/run/nobody/compute.sock" });
    door.apply(&lacking.to_string()).await;
    door.until_ready().await;
    let gateway =
        until(&door.client, &door.namespace, "door", is("Degraded", "True", "DriverUnavailable")).await;
    let said = message(&gateway, "Degraded");
    assert!(said.contains("/run/nobody/compute.sock") && said.contains("compute driver"), "{said}");
    let described = door.kubectl(&["describe", "gateway", "door"], None).await;
    assert!(
        described.contains("DriverUnavailable") && described.contains("/run/nobody/compute.sock"),
        "{described}"
    );

    let caller = Caller::direct(&door).await;
    caller.until_code(None, "/healthz", "200").await;
    let alice = provider.token("alice", "").await;
    let answer = caller.call(Some(&alice), LIST_SANDBOXES.0, LIST_SANDBOXES.1).await;
    assert_eq!(answer.code, "Unavailable", "{answer:?}");
    let answer = caller.call(Some(&alice), RESOLVE.0, RESOLVE.1).await;
    assert_eq!(answer.code, LET_IN, "the other driver is there: {answer:?}");
    assert_eq!(caller.call(None, LIST_SANDBOXES.0, "{}").await.code, UNKNOWN, "strangers do not learn of it");

    door.apply(&whole.to_string()).await;
    until(&door.client, &door.namespace, "door", is("Degraded", "False", "DriversConnected")).await;
    // The replica before goes on with what it has, until kube-proxy leads callers to the new one.
    let began = Instant::now();
    loop {
        let answer = caller.call(Some(&alice), LIST_SANDBOXES.0, LIST_SANDBOXES.1).await;
        if answer.code == LET_IN {
            break;
        }
        assert!(answer.code == "Unavailable" && began.elapsed() < PATIENCE, "{answer:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

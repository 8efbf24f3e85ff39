//! Behind a trusted proxy that ends TLS: nginx in front, and a Gateway in mode Plaintext.

use portcullis_tests::door::{Door, json_of, kubectl, text};
use portcullis_tests::real::caller::Caller;
use portcullis_tests::real::provider::Provider;
use portcullis_tests::real::proxy::Proxy;
use portcullis_tests::real::{BRIDGE, FORGED, NODE, arrived};
use portcullis_tests::{is, message, until};
use serde_json::{Value, json};
use tokio::process::Command;

const PORT: u16 = 80;

fn spec(access: &Value) -> Value {
    json!({
        "replicas": 1,
        "access": access,
        "service": { "port": PORT },
        "backends": [
            { "name": "httpbin", "match": { "pathPrefix": "/" }, "service": { "name": "httpbin", "port": 80 } },
            { "name": "open", "match": { "pathPrefix": "/headers" }, "service": { "name": "httpbin", "port": 80 }, "auth": "Optional" },
        ],
    })
}

/// Only what comes through the Service from the machine that the tests run on is a trusted proxy.
fn access(proxy_protocol: bool) -> Value {
    json!({ "mode": "Plaintext", "trustedProxies": [format!("{BRIDGE}/32")], "proxyProtocol": proxy_protocol })
}

async fn door(provider: &Provider, access: &Value) -> Door {
    let door = Door::site().await;
    Provider::bring_roots(&door).await;
    let mut spec = spec(access);
    spec["oidc"] = provider.oidc(true);
    door.apply(&spec.to_string()).await;
    door.until_ready().await;
    until(&door.client, &door.namespace, "door", is("OIDCDiscovered", "True", "Discovered")).await;
    door
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx_callers_are_known_by_their_tokens_in_every_protocol() {
    let provider = Provider::keycloak().await;
    let door = door(&provider, &access(false)).await;
    let proxy = Proxy::start(&door, PORT).await;
    let caller = Caller::through_proxy(&proxy, 443);
    let bob = provider.token("bob", "sandbox:read").await;
    caller.until_code(Some(&bob), "/get", "200").await;
    for (version, shown) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let said = text(
            &caller.curl(Some(&bob), "/headers", &[version, "--write-out", "\n%{http_version}"]).await.stdout,
        );
        let (body, spoken) = said.rsplit_once('\n').unwrap();
        assert_eq!(spoken, shown);
        let told: Value = serde_json::from_str(body).unwrap();
        assert_eq!(told["headers"]["X-Portcullis-User"], json!(["bob"]), "{body}");
        assert_eq!(told["headers"]["X-Forwarded-Proto"], json!(["https"]), "{body}");
        assert!(!body.contains("Bearer"), "a backend is told who is asking, and gets no token: {body}");
    }
    assert_eq!(caller.code(None, "/get", &[]).await, "401");
    assert_eq!(caller.code(Some("a.b.c"), "/get", &[]).await, "401");
    let who = caller.call(Some(&bob), "portcullis.gateway.v1.Gateway/WhoAmI", "{}").await;
    assert_eq!((&who.body["user"], &who.body["proof"]), (&json!("bob"), &json!("bearer-token")), "{who:?}");
    assert_eq!(caller.call(None, "portcullis.gateway.v1.Gateway/WhoAmI", "{}").await.code, "Unauthenticated");
    assert!(caller.is_healthy().await, "health is for everybody");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_of_a_caller_that_speaks_of_identity_gets_through_nginx_to_a_backend() {
    let provider = Provider::keycloak().await;
    let door = door(&provider, &access(false)).await;
    let proxy = Proxy::start(&door, PORT).await;
    let caller = Caller::through_proxy(&proxy, 443);
    caller.until_code(None, "/headers", "200").await;
    let bob = provider.token("bob", "sandbox:read").await;
    for version in ["--http1.1", "--http2"] {
        for (token, user) in [(None, json!(null)), (Some(bob.as_str()), json!(["bob"]))] {
            let forged: Vec<_> =
                FORGED.iter().flat_map(|field| ["--header", field]).chain([version]).collect();
            let told = json_of(&caller.curl(token, "/headers", &forged).await);
            assert_eq!(arrived(&told), Vec::<String>::new(), "{told}");
            assert_eq!(told["headers"]["X-Portcullis-User"], user, "{told}");
            assert_eq!(told["headers"]["X-Forwarded-For"], json!(["127.0.0.1"]), "{told}");
            assert_eq!(told["headers"]["X-Forwarded-Proto"], json!(["https"]), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_proxy_is_not_answered_whatever_is_shown() {
    let provider = Provider::keycloak().await;
    let door = door(&provider, &access(false)).await;
    let bob = provider.token("bob", "sandbox:read").await;
    let pod = ["get", "pods", "-l", "portcullis.dev/gateway=door", "-o", "jsonpath={.items[0].status.podIP}"];
    let pod = door.kubectl(&pod, None).await;
    let port = [
        "get",
        "pods",
        "-l",
        "portcullis.dev/gateway=door",
        "-o",
        "jsonpath={.items[0].spec.containers[0].ports[?(@.name=='https')].containerPort}",
    ];
    let url = format!("http://{pod}:{}/headers", door.kubectl(&port, None).await);
    let ask = async |from: &str| {
        let token = format!("Authorization: Bearer {bob}");
        let fields = ["--header", &token, "--header", "X-Forwarded-For: 10.255.0.1", "--interface", from];
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "60", "--write-out", "\n%{http_code}"])
            .args(fields)
            .arg(&url)
            .output();
        text(&output.await.unwrap().stdout)
    };
    // To a pod the machine is the pods' bridge, unless it says otherwise.
    let stranger = ask(NODE).await;
    let closed = stranger.ends_with("\n000") || stranger.ends_with("\n403");
    assert!(closed && !stranger.contains("X-Portcullis"), "{stranger}");
    let proxy = ask(BRIDGE).await;
    assert!(proxy.ends_with("\n200"), "{proxy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_proxy_protocol_the_caller_s_address_is_the_header_s() {
    let provider = Provider::keycloak().await;
    let door = door(&provider, &access(true)).await;
    let bob = provider.token("bob", "sandbox:read").await;
    let proxy = Proxy::without_probe(&door, PORT).await;
    let caller = Caller::through_proxy(&proxy, 8443);
    caller.until_code(Some(&bob), "/get", "200").await;
    for version in ["--http1.1", "--http2"] {
        let forged = ["--header", "X-Forwarded-For: 192.0.2.1", "--interface", "127.0.0.9", version];
        let told = json_of(&caller.curl(Some(&bob), "/headers", &forged).await);
        let told_address = told["headers"]["X-Forwarded-For"].to_string();
        assert!(told_address.contains("127.0.0.9"), "{told}");
    }
    let who = caller.call(Some(&bob), "portcullis.gateway.v1.Gateway/WhoAmI", "{}").await;
    assert_eq!(who.body["user"], json!("bob"), "{who:?}");
    let without = Caller::plain(format!("{}:{PORT}", door.address().await).parse().unwrap());
    assert_eq!(
        without.code(Some(&bob), "/get", &[]).await,
        "000",
        "a connection without the header is closed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_the_status_warns_and_only_open_backends_answer() {
    let door = Door::site().await;
    door.apply(&spec(&access(false)).to_string()).await;
    let gateway = door.until_ready().await;
    assert!(is("Warning", "True", "NobodyKnown")(&gateway), "{:#?}", gateway.status);
    assert!(message(&gateway, "Warning").contains("Write spec.oidc"), "{}", message(&gateway, "Warning"));
    let described = kubectl(&door.namespace, &["describe", "gateway", "door"], None).await;
    assert!(described.contains("NobodyKnown"), "{described}");
    let proxy = Proxy::start(&door, PORT).await;
    let caller = Caller::through_proxy(&proxy, 443);
    caller.until_code(None, "/headers", "200").await;
    assert_eq!(caller.code(None, "/get", &[]).await, "401");
    assert_eq!(caller.code(Some("a.b.c"), "/get", &[]).await, "401", "nobody can be known");
    assert_eq!(caller.call(None, "portcullis.gateway.v1.Gateway/WhoAmI", "{}").await.code, "Unauthenticated");
}

//! What goes wrong between a login and its provider, with a provider that errs on purpose.

mod fake;
mod renewal;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::callback::Callback;
use super::{Error, Means, Tokens, Word, choose, connect, discover, login};
use fake::{Fake, Form, NOW};

/// The address of a login.
fn parts(url: &str) -> (String, Form) {
    let (place, query) = url.split_once('?').unwrap();
    (place.to_owned(), serde_urlencoded::from_str(query).unwrap())
}

/// What a browser does: status and page.
async fn visit(url: &str) -> (u16, String) {
    let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.get(url.parse().unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let page = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(page.to_vec()).unwrap())
}

fn granted(more: &Value) -> (u16, Value) {
    let mut answer = json!({
        "access_token": "access-1", "refresh_token": "refresh-1", "token_type": "Bearer", "expires_in": 300,
    });
    for (name, value) in more.as_object().unwrap() {
        answer[name] = value.clone();
    }
    (200, answer)
}

/// Logs in by the browser's way, while something is done with the address; pages that were seen come with it.
async fn by_browser<F: Future<Output = ()> + Send + 'static>(
    fake: &Fake,
    browse: impl Fn(Form) -> F,
) -> (Result<Tokens, Error>, Vec<String>) {
    let (web, ask) = (fake.web(), fake.ask());
    let provider = discover::provider(&web, &ask.issuer).await.unwrap();
    let (sender, opened) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let notes = Mutex::new(Vec::new());
    let show = |word: Word<'_>| match word {
        Word::Open { url, .. } => drop(sender.lock().unwrap().take().unwrap().send(url.to_owned())),
        Word::Note(note) => notes.lock().unwrap().push(note.to_owned()),
        _ => {}
    };
    let tokens = super::code::login(&web, &provider, &ask, false, &show);
    let browse = async { tokio::spawn(browse(parts(&opened.await.unwrap()).1)).await.unwrap() };
    let (tokens, ()) = tokio::join!(tokens, browse);
    (tokens, notes.into_inner().unwrap())
}

/// A provider whose token endpoint gives ID tokens with the nonce of the login, and these claims besides.
async fn with_claims(claims: Value) -> (Arc<Fake>, Arc<OnceLock<String>>) {
    let own: Arc<OnceLock<Arc<Fake>>> = Arc::default();
    let nonce: Arc<OnceLock<String>> = Arc::default();
    let (giver, known) = (Arc::clone(&own), Arc::clone(&nonce));
    let fake = Fake::start(move |path, _| {
        (path == "/token").then(|| {
            let mut all = json!({ "nonce": known.get() });
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            granted(&json!({ "id_token": giver.get().unwrap().id_token(&all) }))
        })
    })
    .await;
    let fake = Arc::new(fake);
    assert!(own.set(Arc::clone(&fake)).is_ok());
    (fake, nonce)
}

async fn with_id_token(claims: Value) -> Result<Tokens, Error> {
    let (fake, nonce) = with_claims(claims).await;
    let (tokens, _) = by_browser(&fake, |query| {
        nonce.get_or_init(|| query["nonce"].clone());
        async move {
            visit(&format!("{}?code=c&state={}", query["redirect_uri"], query["state"])).await;
        }
    })
    .await;
    tokens
}

#[tokio::test]
async fn a_browser_brings_a_code_that_only_this_login_can_redeem() {
    let (fake, nonce) = with_claims(json!({})).await;
    let challenge: Arc<OnceLock<String>> = Arc::default();
    let (tokens, notes) = by_browser(&fake, |query| {
        assert_eq!(
            (query["code_challenge_method"].as_str(), query["response_type"].as_str()),
            ("S256", "code")
        );
        assert_eq!((query["scope"].as_str(), query["audience"].as_str()), ("openid tunnel:write", "gateway"));
        assert!(query["redirect_uri"].starts_with("http://127.0.0.1:"), "{query:?}");
        nonce.get_or_init(|| query["nonce"].clone());
        challenge.get_or_init(|| query["code_challenge"].clone());
        async move {
            let (back, state) = (&query["redirect_uri"], &query["state"]);
            let (status, page) = visit(&format!("{back}?code=stolen&state=another")).await;
            assert!(status == 400 && page.contains("another login"), "{page}");
            assert_eq!(visit(&back.replace("/callback", "/elsewhere")).await.0, 404);
            let first = format!("{back}?code=c&state={state}");
            let (status, page) = visit(&first).await;
            assert!(status == 200 && page.contains("as alice"), "{page}");
        }
    })
    .await;
    let tokens = tokens.unwrap();
    assert_eq!((tokens.access_token.expose(), tokens.account.as_str()), ("access-1", "alice"));
    assert_eq!((tokens.expires_at, tokens.scopes), (Some(NOW + 300), vec!["tunnel:write".to_owned()]));
    let form = &fake.forms("/token")[0];
    assert_eq!(form["code"], "c");
    let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    assert_eq!(Some(&verifier), challenge.get());
    assert!(notes.iter().any(|note| note.contains("another login")), "{notes:?}");
}

#[tokio::test]
async fn a_browser_that_comes_back_twice_is_told_so() {
    let mut callback = Callback::listen("s".to_owned()).await.unwrap();
    let address = format!("{}?code=c&state=s", callback.address());
    let first = tokio::spawn({
        let address = address.clone();
        async move { visit(&address).await }
    });
    let arrived = callback.arrived(Duration::from_mins(1), &|_| {}).await.unwrap();
    let (status, page) = visit(&address).await;
    assert!(status == 400 && page.contains("finished before"), "{page}");
    arrived.answer(super::page::done("alice", "here"));
    assert_eq!(first.await.unwrap().0, 200);
    callback.finish().await;
}

#[tokio::test]
async fn nobody_is_waited_for_forever() {
    let mut callback = Callback::listen("s".to_owned()).await.unwrap();
    let late = callback.arrived(Duration::from_millis(1), &|_| {}).await.unwrap_err();
    assert!(late.hint().unwrap().contains("run the command again"), "{late}");
}

#[tokio::test]
async fn a_page_elsewhere_whose_name_points_here_gets_nothing() {
    let callback = Callback::listen("s".to_owned()).await.unwrap();
    let address = callback.address().replace("127.0.0.1", "localhost");
    assert_eq!(visit(&format!("{address}?code=c&state=s")).await.0, 404);
}

#[tokio::test]
async fn a_link_leads_elsewhere_once() {
    let mut callback = Callback::lead("/logout/x".to_owned(), "https://idp/end?hint=secret").await.unwrap();
    let address = callback.address();
    assert_eq!(visit(&address).await.0, 404, "nobody logs in there");
    let link = address.replace("/callback", "/logout/x");
    assert_eq!(visit(&link).await.0, 303);
    assert!(callback.followed(Duration::from_mins(1)).await);
    assert_eq!(visit(&link).await.0, 404, "once");
}

#[tokio::test]
async fn consent_that_is_denied_ends_the_login_in_the_browser_and_in_the_terminal() {
    let fake = Fake::start(|_, _| None).await;
    let (tokens, _) = by_browser(&fake, |query| async move {
        let back = format!(
            "{}?error=access_denied&error_description=no%1b[2J&state={}",
            query["redirect_uri"], query["state"]
        );
        let (status, page) = visit(&back).await;
        assert!(status == 400 && page.contains("not allowed"), "{page}");
    })
    .await;
    let error = tokens.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && !error.to_string().contains('\x1b'), "{error}");
    assert!(fake.forms("/token").is_empty());
}

#[tokio::test]
async fn a_browser_that_comes_from_another_provider_is_not_believed() {
    let fake = Fake::start(|_, _| None).await;
    let (tokens, _) = by_browser(&fake, |query| async move {
        let back =
            format!("{}?code=c&iss=https%3A%2F%2Fevil&state={}", query["redirect_uri"], query["state"]);
        visit(&back).await;
    })
    .await;
    assert!(matches!(tokens, Err(Error::Identity { .. })), "{tokens:?}");
    assert!(fake.forms("/token").is_empty(), "the code went nowhere");
}

#[tokio::test]
async fn an_id_token_that_cannot_be_believed_ends_the_login() {
    assert_eq!(with_id_token(json!({})).await.unwrap().subject, "4711");
    assert_eq!(with_id_token(json!({ "aud": ["cli", "x"], "azp": "cli" })).await.unwrap().account, "alice");
    for (claims, word) in [
        (json!({ "nonce": "another" }), "another login"),
        (json!({ "nonce": null }), "another login"),
        (json!({ "aud": "other" }), "another client"),
        (json!({ "aud": ["cli", "other"] }), "another client"),
        (json!({ "azp": "other" }), "another client"),
        (json!({ "iss": "https://evil" }), "https://evil"),
        (json!({ "exp": NOW - 100 }), "ended already"),
        (json!({ "exp": null }), "ended already"),
        (json!({ "sub": "" }), "nobody's"),
    ] {
        let error = with_id_token(claims.clone()).await.unwrap_err().to_string();
        assert!(error.contains(word), "{claims}: {error}");
    }
}

#[tokio::test]
async fn an_id_token_of_another_key_or_of_none_ends_the_login() {
    let (stranger, _) = with_claims(json!({})).await;
    let foreign = stranger.id_token(&json!({}));
    let unsigned =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), foreign.split('.').nth(1).unwrap());
    let shared = format!(
        "{}.{}.AAAA",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        foreign.split('.').nth(1).unwrap()
    );
    for token in [foreign, unsigned, shared, "rubbish".to_owned(), String::new()] {
        let given = token.clone();
        let fake =
            Fake::start(move |path, _| (path == "/token").then(|| granted(&json!({ "id_token": given }))))
                .await;
        let (tokens, _) = by_browser(&fake, |query| async move {
            visit(&format!("{}?code=c&state={}", query["redirect_uri"], query["state"])).await;
        })
        .await;
        assert!(matches!(tokens, Err(Error::Identity { .. })), "{token}: {tokens:?}");
    }
}

#[tokio::test]
async fn a_provider_that_calls_itself_otherwise_is_not_asked_for_tokens() {
    let fake = Fake::start(|path, _| {
        let named = json!({ "issuer": "https://other", "token_endpoint": "https://other/token" });
        (path == "/.well-known/openid-configuration").then_some((200, named))
    })
    .await;
    let error = discover::provider(&fake.web(), &fake.issuer).await.unwrap_err();
    assert!(matches!(error, Error::Issuer { .. }), "{error}");
    let with_slash = format!("{}/", fake.issuer);
    assert!(discover::provider(&fake.web(), &with_slash).await.is_err(), "a slash more is another issuer");
}

#[tokio::test]
async fn a_provider_whose_token_endpoint_is_not_encrypted_gets_nothing() {
    let own: Arc<OnceLock<String>> = Arc::default();
    let issuer = Arc::clone(&own);
    let fake = Fake::start(move |path, _| {
        let named = json!({ "issuer": issuer.get(), "token_endpoint": "http://idp.example.com/token" });
        (path == "/.well-known/openid-configuration").then_some((200, named))
    })
    .await;
    own.get_or_init(|| fake.issuer.clone());
    let error = discover::provider(&fake.web(), &fake.issuer).await.unwrap_err();
    assert!(matches!(error, Error::Url { .. }), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_said_and_the_login_goes_on() {
    for ahead in [3600, -3600] {
        let own: Arc<OnceLock<Arc<Fake>>> = Arc::default();
        let giver = Arc::clone(&own);
        let fake = Fake::start(move |path, _| match path {
            "/device" => Some((
                200,
                json!({ "device_code": "d", "user_code": "ABCD", "verification_uri": "https://x", "expires_in": 60, "interval": 0 }),
            )),
            "/token" => Some(granted(&json!({ "id_token": giver.get().unwrap().id_token(&json!({})) }))),
            _ => None,
        })
        .await;
        let fake = Arc::new(fake);
        fake.set_ahead(ahead);
        assert!(own.set(Arc::clone(&fake)).is_ok());
        let notes = Mutex::new(Vec::new());
        let show = |word: Word<'_>| {
            if let Word::Note(note) = word {
                notes.lock().unwrap().push(note.to_owned());
            }
        };
        let tokens = login(&fake.web(), &fake.ask(), &Means::Code, &show).await.unwrap();
        let note = notes.into_inner().unwrap().join("\n");
        assert!(
            note.contains("60 minutes") && note.contains(if ahead > 0 { "behind" } else { "ahead" }),
            "{note}"
        );
        assert_eq!(tokens.expires_at, Some(NOW + 300), "by this machine's clock");
    }
}

#[tokio::test]
async fn a_code_for_another_machine_is_asked_about_as_slowly_as_the_provider_wants() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let fake = Fake::start(move |path, form| match path {
        "/device" => Some((
            200,
            json!({
                "device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": "https://x/device",
                "verification_uri_complete": "https://x/device?user_code=ABCD-EFGH", "expires_in": 600, "interval": 0,
            }),
        )),
        "/token" => {
            assert_eq!((form["device_code"].as_str(), form["code_verifier"].len()), ("d", 43));
            Some(match count.fetch_add(1, Ordering::Relaxed) {
                0 => (400, json!({ "error": "authorization_pending" })),
                1 => (400, json!({ "error": "slow_down" })),
                _ => granted(&json!({})),
            })
        }
        _ => None,
    })
    .await;
    let words = Mutex::new(Vec::new());
    let show = |word: Word<'_>| words.lock().unwrap().push(format!("{word:?}"));
    let provider = discover::provider(&fake.web(), &fake.issuer).await.unwrap();
    let waited = Mutex::new(Vec::new());
    let wait = |time: Duration| {
        waited.lock().unwrap().push(time.as_secs());
        std::future::ready(())
    };
    let tokens = super::device::login_with(&fake.web(), &provider, &fake.ask(), &show, wait).await.unwrap();
    assert_eq!(tokens.access_token.expose(), "access-1");
    assert_eq!(*waited.lock().unwrap(), [0, 5], "five seconds more, once it was too fast");
    let words = words.into_inner().unwrap().join("\n");
    assert!(words.contains("https://x/device") && words.contains("ABCD-EFGH"), "{words}");
}

#[tokio::test]
async fn a_code_that_nobody_types_or_somebody_refuses_ends_the_login() {
    for (error, word) in [("expired_token", "nobody logged in"), ("access_denied", "not allowed")] {
        let fake = Fake::start(move |path, _| match path {
            "/device" => Some((
                200,
                json!({ "device_code": "d", "user_code": "A", "verification_uri": "https://x", "expires_in": 60, "interval": 0 }),
            )),
            "/token" => Some((400, json!({ "error": error }))),
            _ => None,
        })
        .await;
        let said = login(&fake.web(), &fake.ask(), &Means::Code, &|_| {}).await.unwrap_err().to_string();
        assert!(said.contains(word), "{error}: {said}");
    }
}

#[tokio::test]
async fn a_machine_shows_its_secret_to_the_provider_and_to_nobody_else() {
    let fake = Fake::start(|path, form| {
        (path == "/token").then(|| {
            assert_eq!(form["grant_type"], "client_credentials");
            assert_eq!(form.get("scope").map(String::as_str), Some("tunnel:write"));
            (401, json!({ "error": "invalid_client", "error_description": "unknown client" }))
        })
    })
    .await;
    let variable = |name: &str| match name {
        "PORTCULLIS_CLIENT_ID" => Some("ci".to_owned()),
        "PORTCULLIS_CLIENT_SECRET" => Some("a-word".to_owned()),
        _ => None,
    };
    let means = choose(false, &variable).unwrap();
    let error = login(&fake.web(), &fake.ask(), &means, &|_| {}).await.unwrap_err();
    let said = format!("{error} {error:?} {means:?}");
    assert!(said.contains("unknown client") && !said.contains("a-word"), "{said}");
}

/// Plays the browser that brings the gateway's one-time code.
async fn past_the_edge(fake: &Fake, code: &str) -> Result<Tokens, Error> {
    let (sender, opened) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let show = |word: Word<'_>| {
        if let Word::Open { url, .. } = word {
            drop(sender.lock().unwrap().take().unwrap().send(url.to_owned()));
        }
    };
    let web = fake.web();
    let browse = async {
        let (place, query) = parts(&opened.await.unwrap());
        assert!(place.ends_with("/auth/connect"), "{place}");
        let code = serde_urlencoded::to_string([("code", code), ("state", &query["state"])]).unwrap();
        visit(&format!("http://127.0.0.1:{}/callback?{code}", query["callback_port"])).await;
    };
    tokio::join!(connect(&web, &fake.issuer, false, &show), browse).0
}

#[tokio::test]
async fn the_edges_token_is_redeemed_with_the_verifier_and_ends_by_this_machines_clock() {
    let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://edge","sub":"42","email":"alice@example.com"}"#);
    let token = format!("{}.{claims}.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#));
    let given = token.clone();
    let fake = Fake::start(move |path, form| {
        (path == "/auth/token").then(|| match form["code"].as_str() {
            "good" => (200, json!({ "token": given, "expires_at": NOW + 3600 + 900 })),
            _ => (400, json!({ "error": "invalid_grant" })),
        })
    })
    .await;
    fake.set_ahead(3600);
    let tokens = past_the_edge(&fake, "good").await.unwrap();
    assert_eq!(
        (tokens.access_token.expose(), tokens.account.as_str()),
        (token.as_str(), "alice@example.com")
    );
    assert_eq!(tokens.expires_at, Some(NOW + 900));
    assert_eq!(fake.forms("/auth/token")[0]["code_verifier"].len(), 43);
    let error = past_the_edge(&fake, "bad").await.unwrap_err();
    assert!(matches!(error, Error::Code { .. }), "{error}");
}

#[tokio::test]
async fn an_edge_is_told_by_where_it_sends_whom_it_does_not_know() {
    for (status, edge) in [(302, true), (303, true), (401, false), (400, false)] {
        let fake = Fake::start(move |path, _| (path == "/auth/connect").then(|| (status, json!({})))).await;
        assert_eq!(super::is_in_front(&fake.web(), &fake.issuer).await.unwrap(), edge, "{status}");
    }
}

#[tokio::test]
async fn an_edge_that_wants_a_login_of_the_program_itself_is_named_as_what_is_wrong() {
    let fake = Fake::start(|path, _| (path == "/auth/token").then(|| (302, json!({})))).await;
    let error = past_the_edge(&fake, "good").await.unwrap_err().to_string();
    assert!(error.contains("302") && error.contains("without a login"), "{error}");
}

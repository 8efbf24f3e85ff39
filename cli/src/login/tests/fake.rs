//! A provider that errs as a test says. Those that do not err are real ones, in the end-to-end tests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::login::way::Ask;
use crate::login::web::Web;
use portcullis_protocol::clock::Clock;

/// The time on this machine, in the tests.
pub(super) const NOW: i64 = 1_800_000_000;

/// Fields of a form, or of a query.
pub(super) type Form = BTreeMap<String, String>;

type Answer = dyn Fn(&str, &Form) -> Option<(u16, Value)> + Send + Sync;

/// A provider.
pub(super) struct Fake {
    pub(super) issuer: String,
    pub(super) clock: Clock,
    shared: Arc<Shared>,
}

struct Shared {
    issuer: String,
    answer: Box<Answer>,
    key: EcdsaKeyPair,
    asked: Mutex<Vec<(String, Form)>>,
    /// Seconds that its clock is ahead.
    ahead: AtomicI64,
}

impl Fake {
    /// One that answers so, and where that is None as a good provider does.
    pub(super) async fn start(
        answer: impl Fn(&str, &Form) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let shared = Arc::new(Shared {
            issuer: issuer.clone(),
            answer: Box::new(answer),
            key,
            asked: Mutex::default(),
            ahead: AtomicI64::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(shared.respond(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { issuer, clock: Clock::manual(NOW), shared }
    }

    /// Whoever asks it.
    pub(super) fn web(&self) -> Arc<Web> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        Arc::new(Web::new(tls, None, self.clock.clone()).unwrap())
    }

    pub(super) fn ask(&self) -> Ask {
        Ask {
            issuer: self.issuer.clone(),
            client_id: "cli".to_owned(),
            audience: "gateway".to_owned(),
            scopes: vec!["tunnel:write".to_owned()],
            anew: false,
        }
    }

    pub(super) fn set_ahead(&self, seconds: i64) {
        self.shared.ahead.store(seconds, Ordering::Relaxed);
    }

    /// The forms that came to a path.
    pub(super) fn forms(&self, path: &str) -> Vec<Form> {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|it| it.0 == path).map(|it| it.1.clone()).collect()
    }

    /// An ID token with these claims instead of the usual ones.
    pub(super) fn id_token(&self, more: &Value) -> String {
        self.shared.id_token(more)
    }
}

impl Shared {
    async fn respond(&self, request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let is_json = head.headers.get("content-type").is_some_and(|it| it == "application/json");
        let form: Form = if is_json {
            serde_json::from_slice(&body).unwrap()
        } else {
            serde_urlencoded::from_bytes(&body).unwrap()
        };
        let path = head.uri.path();
        self.asked.lock().unwrap().push((path.to_owned(), form.clone()));
        let (status, answer) = (self.answer)(path, &form)
            .or_else(|| self.good(path))
            .unwrap_or((404, json!({ "error": "nothing" })));
        let seconds = NOW + self.ahead.load(Ordering::Relaxed);
        let date = UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap());
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .header("date", httpdate::fmt_http_date(date))
            .body(Full::new(answer.to_string().into()))
            .unwrap()
    }

    fn good(&self, path: &str) -> Option<(u16, Value)> {
        let at = |place: &str| format!("{}{place}", self.issuer);
        match path {
            "/.well-known/openid-configuration" => Some((
                200,
                json!({
                    "issuer": self.issuer,
                    "authorization_endpoint": at("/authorize"),
                    "token_endpoint": at("/token"),
                    "device_authorization_endpoint": at("/device"),
                    "revocation_endpoint": at("/revoke"),
                    "jwks_uri": at("/keys"),
                }),
            )),
            "/keys" => {
                let point = self.key.public_key().as_ref();
                let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
                let key = json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "kid": "one", "alg": "ES256",
                    "x": coordinate(1..33), "y": coordinate(33..65),
                });
                // And one of a kind that nobody knows yet.
                Some((200, json!({ "keys": [{ "kty": "XYZ", "kid": "two" }, key] })))
            }
            _ => None,
        }
    }

    fn id_token(&self, more: &Value) -> String {
        let mut claims = json!({
            "iss": self.issuer, "sub": "4711", "aud": "cli", "preferred_username": "alice",
            "exp": NOW + self.ahead.load(Ordering::Relaxed) + 300,
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": "one" })), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

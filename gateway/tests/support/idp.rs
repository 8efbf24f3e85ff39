//! An issuer of tokens on loopback, for the faults that a real one cannot be brought to: it counts how often it is asked,
//! goes away and answers nonsense. The real ones are in the end-to-end tests.

use std::sync::{Arc, Mutex};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use portcullis_contract::snapshot;
use serde_json::{Value, json};

use super::backend::{Backend, reply};
use super::pki;
use super::signer::{Signer, jwks};

/// The issuer, until dropped.
pub(crate) struct Idp {
    state: Arc<Mutex<State>>,
    _server: Backend,
}

#[derive(Default)]
struct State {
    issuer: String,
    jwks: Value,
    fetches: usize,
    broken: bool,
}

impl Idp {
    /// With this one key.
    pub(crate) async fn new(signer: &Signer) -> Self {
        let state = Arc::new(Mutex::new(State { jwks: jwks(&[signer]), ..State::default() }));
        let shared = Arc::clone(&state);
        let server = Backend::new(move |request: Request<Incoming>| {
            let answer = answer(&mut shared.lock().unwrap(), request.uri().path());
            async move { Ok(answer) }
        })
        .await;
        state.lock().unwrap().issuer = format!("http://{}", server.address);
        Self { state, _server: server }
    }

    pub(crate) fn issuer(&self) -> String {
        self.state.lock().unwrap().issuer.clone()
    }

    /// It publishes these from now on.
    pub(crate) fn publish(&self, signers: &[&Signer]) {
        self.state.lock().unwrap().jwks = jwks(signers);
    }

    /// It answers 500, or does no longer.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.state.lock().unwrap().broken = broken;
    }

    /// How often it was asked for its keys.
    pub(crate) fn fetches(&self) -> usize {
        self.state.lock().unwrap().fetches
    }

    /// As the snapshot names it.
    pub(crate) fn parameters(&self) -> snapshot::Issuer {
        snapshot::Issuer {
            user_claim: "email".to_owned(),
            roles_claim: Some("realm_access.roles".to_owned()),
            admin_role: Some("door-admin".to_owned()),
            user_role: Some("door-user".to_owned()),
            scopes_claim: Some("scope".to_owned()),
            ..snapshot::Issuer::of(self.issuer(), "door")
        }
    }

    pub(crate) fn oidc(&self) -> snapshot::Oidc {
        snapshot::Oidc {
            issuer: self.parameters(),
            client_id: "cli".to_owned(),
            scopes: vec!["openid".to_owned()],
            revoked_subjects: Vec::new(),
        }
    }

    pub(crate) fn edge(&self) -> snapshot::Edge {
        snapshot::Edge {
            issuer: snapshot::Issuer { scopes_claim: None, ..self.parameters() },
            header_name: "cf-access-jwt-assertion".to_owned(),
            cookie_name: "CF_Authorization".to_owned(),
            expiry_grace_seconds: 0,
        }
    }

    /// Claims of a person with these roles and scopes, for five minutes.
    pub(crate) fn claims(&self, user: &str, roles: &[&str], scope: &str) -> Value {
        let now = pki::now().unix_timestamp();
        json!({
            "iss": self.issuer(), "aud": "door", "sub": format!("id-of-{user}"), "email": user,
            "iat": now, "exp": now + 300, "realm_access": { "roles": roles }, "scope": scope,
        })
    }
}

fn answer(state: &mut State, path: &str) -> super::backend::Reply {
    let (status, text) = match path {
        _ if state.broken => (StatusCode::INTERNAL_SERVER_ERROR, "broken".to_owned()),
        "/.well-known/openid-configuration" => {
            let jwks = format!("{}/keys", state.issuer);
            (StatusCode::OK, json!({ "issuer": state.issuer, "jwks_uri": jwks }).to_string())
        }
        "/keys" => {
            state.fetches += 1;
            (StatusCode::OK, state.jwks.to_string())
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = reply(text);
    *response.status_mut() = status;
    response
}

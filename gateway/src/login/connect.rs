//! `/auth/connect?callback_port=…&state=…&code_challenge=…[&code=…]`: a person, whom the edge knows, lets a program on
//! this very machine act for them. A GET shows who is let in where, a POST of the page's form does it. No JavaScript.

use std::sync::Arc;

use axum::extract::Query;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;

use super::{Codes, body, expect, page};
use crate::auth::{Carried, Principal};
use crate::body::Body;
use crate::config::Config;
use crate::fault::Fault;

/// What a program asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// Where it listens on 127.0.0.1.
    pub(super) callback_port: u16,
    /// Comes back to it unchanged, so that it knows its own question.
    pub(super) state: String,
    /// Base64url of its verifier's SHA-256.
    pub(super) code_challenge: String,
    /// What it shows too, for the person to compare.
    #[serde(default)]
    pub(super) code: String,
}

impl Wish {
    fn read<B>(request: &Request<B>) -> Result<Self, Fault> {
        let wrong = Fault::Malformed(
            "callback_port (1024 to 65535), state and code_challenge (S256, 43 characters) are needed: open the address that the program shows",
        );
        let Ok(Query(wish)) = Query::<Self>::try_from_uri(request.uri()) else { return Err(wrong) };
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        let fits = wish.callback_port >= 1024
            && (8..=256).contains(&wish.state.len())
            && wish.code_challenge.len() == 43
            && wish.code.len() <= 16
            && [&wish.state, &wish.code_challenge, &wish.code].into_iter().all(|text| is_plain(text));
        if fits { Ok(wish) } else { Err(wrong) }
    }

    /// What the page's form is sealed for: this wish of this person.
    fn purpose(&self, principal: &Principal) -> String {
        let subject = principal.token.as_ref().map_or("", |token| &token.subject);
        format!("{}\n{}\n{}\n{}", subject, self.callback_port, self.state, self.code_challenge)
    }
}

/// What the page's form sends.
#[derive(Deserialize)]
struct Consent {
    seal: String,
}

/// Answers a person whom the edge knows.
pub(crate) async fn connect(
    request: Request<Incoming>,
    principal: &Arc<Principal>,
    config: &Config,
    codes: &Codes,
    now: i64,
) -> Result<Response<Body>, Fault> {
    expect(&request, &[Method::GET, Method::HEAD, Method::POST])?;
    let wish = Wish::read(&request)?;
    let carried = Carried::read(request.headers(), config);
    let token = carried.edge.or(carried.bearer).and_then(Result::ok);
    let token = token.as_ref().and_then(|token| token.to_str().ok()).ok_or(Fault::NoToken)?;
    let purpose = wish.purpose(principal);
    if request.method() != Method::POST {
        let seal = codes.seal_form(&purpose, now).ok_or(Fault::NotReady)?;
        return Ok(page::ask(principal, &wish, &seal));
    }
    if is_foreign(request.headers()) {
        return Err(Fault::Malformed(
            "the form was sent from another site's page: open the program's address again",
        ));
    }
    let consent: Consent = serde_urlencoded::from_bytes(&body(request).await?)
        .map_err(|_| Fault::Malformed("send the form of the page"))?;
    if !codes.is_form(&consent.seal, &purpose, now) {
        return Err(Fault::Malformed(
            "the page was open for too long, or for somebody else: open the program's address again",
        ));
    }
    let code = codes.issue(token, principal.expires_at, &wish.code_challenge, now).ok_or(Fault::NotReady)?;
    tracing::info!(user = %principal.user, "a person has let a program on their machine act for them");
    let location =
        format!("http://127.0.0.1:{}/callback?code={code}&state={}", wish.callback_port, wish.state);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::try_from(location).map_err(|_| Fault::NotReady)?;
    response.headers_mut().insert(header::LOCATION, location);
    page::protect(response.headers_mut(), wish.callback_port);
    Ok(response)
}

/// Whether a browser says that another site's page has sent this. Those that say nothing are held by the form's seal.
fn is_foreign(headers: &HeaderMap) -> bool {
    const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none")
}

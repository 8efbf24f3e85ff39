//! What a command line needs to log somebody in: `/auth/oidc-config` says where, `/auth/connect` hands what the edge knows
//! of a person in a browser to a program on that person's machine, `/auth/token` is where that program fetches it.
//!
//! The token never stands in a URL. The browser carries a code that is good once, for a minute, for whoever knows the
//! verifier (PKCE, RFC 7636); the program redeems it over TLS.
//!
//! What must not live here: who the person is ([`crate::auth`]).

mod code;
mod connect;
mod page;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use crate::body::Body;
use crate::config::Config;
use crate::fault::Fault;

pub(crate) use code::Codes;
pub(crate) use connect::connect;

/// No form and no document that is sent here is longer: the longest token, and what goes with it.
const LONGEST: usize = 64 * 1024;

/// A page, or a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Where to log in. Anybody may know.
    Config,
    /// For a person in a browser, whom the edge knows.
    Connect,
    /// For the program that the person has let in.
    Token,
}

impl Page {
    pub(crate) fn find(path: &str) -> Option<Self> {
        match path.strip_prefix("/auth/")? {
            "oidc-config" => Some(Self::Config),
            "connect" => Some(Self::Connect),
            "token" => Some(Self::Token),
            _ => None,
        }
    }
}

/// `/auth/oidc-config`: from the configuration alone, whatever the request's headers say.
pub(crate) fn config<B>(request: &Request<B>, config: &Config) -> Result<Response<Body>, Fault> {
    expect(request, &[Method::GET, Method::HEAD])?;
    let oidc = config.oidc.as_ref().map(|oidc| {
        json!({
            "issuer": oidc.issuer.name(),
            "client_id": oidc.client_id,
            "audience": oidc.issuer.audience(),
            "scopes": oidc.scopes,
        })
    });
    let edge =
        config.edge.as_ref().map(|edge| json!({ "header": edge.header.as_str(), "cookie": edge.cookie }));
    Ok(document(StatusCode::OK, &json!({ "mode": config.mode.as_str(), "oidc": oidc, "edge": edge })))
}

/// What a program sends to redeem a code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redemption {
    code: String,
    code_verifier: String,
}

/// `/auth/token`: the token that a code stands for.
pub(crate) async fn token(
    request: Request<Incoming>,
    codes: &Codes,
    now: i64,
) -> Result<Response<Body>, Fault> {
    expect(&request, &[Method::POST])?;
    let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|it| {
        it.as_bytes()
            .split(|byte| *byte == b';')
            .next()
            .is_some_and(|it| it.eq_ignore_ascii_case(b"application/json"))
    });
    // A form from somebody else's page cannot say this without asking first.
    if !is_json {
        return Err(Fault::Malformed("send JSON: {\"code\": …, \"code_verifier\": …}"));
    }
    let body = body(request).await?;
    let redemption: Redemption = serde_json::from_slice(&body)
        .map_err(|_| Fault::Malformed("send JSON: {\"code\": …, \"code_verifier\": …}"))?;
    match codes.redeem(&redemption.code, &redemption.code_verifier, now) {
        Ok((token, expires_at)) => {
            Ok(document(StatusCode::OK, &json!({ "token": token, "expires_at": expires_at })))
        }
        // RFC 6749, 5.2.
        Err(_) => Ok(document(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_grant" }))),
    }
}

fn expect<B>(request: &Request<B>, methods: &[Method]) -> Result<(), Fault> {
    if methods.contains(request.method()) { Ok(()) } else { Err(Fault::MethodNotAllowed) }
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Fault> {
    let body = Limited::new(request.into_body(), LONGEST).collect().await;
    Ok(body.map_err(|_| Fault::Malformed("the body is longer than can be meant, or breaks off"))?.to_bytes())
}

fn document(status: StatusCode, json: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(format!("{json}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

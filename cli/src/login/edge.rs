//! The way past an identity-aware edge: a person, whom the edge knows, allows it on a page of the gateway; the browser brings
//! a one-time code, which is redeemed for the edge's token (docs/adr/0010-login-codes.md).

use http::{Request, StatusCode, header};
use oauth2::{CsrfToken, PkceCodeChallenge};
use serde::Deserialize;
use serde_json::json;

use super::browser;
use super::callback::{Callback, PATIENCE};
use super::error::Error;
use super::grant::plain;
use super::identity;
use super::page;
use super::secret::Secret;
use super::tokens::Tokens;
use super::web::{self, Web};
use super::word::{Show, Word};

/// What can be read aloud without mistaking it.
const LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";

#[derive(Deserialize)]
struct Redeemed {
    token: Secret,
    expires_at: i64,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Gets the token of an edge before a gateway, such as `https://door.example.com`; without `open` the person opens the
/// address. It cannot be renewed: it ends as the person's session at the edge does.
///
/// # Errors
/// See [`Error`].
pub async fn connect(web: &Web, endpoint: &str, open: bool, show: &Show<'_>) -> Result<Tokens, Error> {
    let endpoint = endpoint.trim_end_matches('/');
    let state = CsrfToken::new_random_len(32);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let code = compared();
    let mut callback = Callback::listen(state.secret().clone()).await?;
    let query = [
        ("callback_port", callback.port().to_string()),
        ("state", state.secret().clone()),
        ("code_challenge", challenge.as_str().to_owned()),
        ("code", code.clone()),
    ];
    let query = serde_urlencoded::to_string(query).map_err(|error| web::malformed(endpoint, &error))?;
    let url = format!("{endpoint}/auth/connect?{query}");
    let opened = open && browser::open(&url);
    show(Word::Open { url: &url, opened });
    show(Word::Compare { code: &code });

    let arrived = callback.arrived(PATIENCE, show).await?;
    let tokens = match arrived.field("code") {
        Some(code) => redeem(web, endpoint, code, verifier.secret()).await,
        None => Err(Error::Code { said: "there was none".to_owned() }),
    };
    let page = match &tokens {
        Ok(tokens) => page::done(tokens.name(), endpoint),
        Err(error) => page::failed(&error.to_string()),
    };
    arrived.answer(page);
    callback.finish().await;
    tokens
}

/// Eight letters, four and four.
fn compared() -> String {
    let mut letters = (0..8).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())]));
    let first: String = letters.by_ref().take(4).collect();
    format!("{first}-{}", letters.collect::<String>())
}

async fn redeem(web: &Web, endpoint: &str, code: &str, verifier: &str) -> Result<Tokens, Error> {
    let url = format!("{endpoint}/auth/token");
    let body = json!({ "code": code, "code_verifier": verifier }).to_string().into_bytes();
    let request = Request::post(&url).header(header::CONTENT_TYPE, "application/json").body(body);
    let response = web.send(request.map_err(|error| web::malformed(&url, &error))?).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST => {
            let said = serde_json::from_slice::<Refused>(response.body()).map(|it| plain(&it.error));
            return Err(Error::Code { said: said.unwrap_or_else(|_| "400".to_owned()) });
        }
        status if status.is_redirection() || matches!(status.as_u16(), 401 | 403) => {
            return Err(match web::answered(&url, &response) {
                Error::Answered { url, status, more } => Error::Answered {
                    url,
                    status,
                    more: format!("{more}: the edge must let this path pass without a login of its own"),
                },
                other => other,
            });
        }
        _ => return Err(web::answered(&url, &response)),
    }
    let redeemed: Redeemed =
        serde_json::from_slice(response.body()).map_err(|error| web::malformed(&url, &error))?;
    let who = identity::peek(redeemed.token.expose()).unwrap_or_default();
    Ok(Tokens {
        access_token: redeemed.token,
        refresh_token: None,
        id_token: None,
        // The gateway's time, told in this machine's.
        expires_at: Some(redeemed.expires_at.saturating_sub(web.skew().unwrap_or(0))),
        issuer: who.issuer,
        client_id: String::new(),
        scopes: Vec::new(),
        subject: who.subject,
        account: who.account,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_to_compare_fits_what_a_gateway_takes() {
        let code = compared();
        assert_eq!(code.len(), 9);
        assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-'), "{code}");
        assert_ne!(code, compared());
    }
}

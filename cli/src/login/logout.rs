//! Gives tokens back: the provider is told that they are good no more (RFC 7009), and a browser is led to where its session
//! ends (OpenID Connect RP-Initiated Logout).

use std::time::Duration;

use http::{Request, StatusCode, header};
use oauth2::CsrfToken;
use serde::Deserialize;

use super::browser;
use super::callback::Callback;
use super::discover::{self, Provider};
use super::error::Error;
use super::grant::plain;
use super::machine::Machine;
use super::secret::Secret;
use super::tokens::Tokens;
use super::web::{self, Web};
use super::word::{Show, Word};

/// How long a browser may take to follow a link.
const FOLLOW: Duration = Duration::from_secs(20);

/// What a logout came to at the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Whether it takes the refresh token no more; true where there was none.
    pub refresh_revoked: bool,
    /// Whether it knows that the access token is given back. Gateways that check signatures alone take it until it ends.
    pub access_revoked: bool,
    /// Whether a browser was led to the end of its session.
    pub session_ended: bool,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Gives tokens back. What the provider does not offer is left out; what it refuses is shown. Whoever keeps the tokens
/// forgets them, whatever comes of this.
///
/// # Errors
/// Where the provider does not answer, or refuses to revoke the refresh token.
pub async fn logout(
    web: &Web,
    tokens: &Tokens,
    machine: Option<&Machine>,
    open: bool,
    show: &Show<'_>,
) -> Result<Left, Error> {
    let provider = discover::provider(web, &tokens.issuer).await?;
    let mut left = Left { refresh_revoked: tokens.refresh_token.is_none(), ..Left::default() };
    if let Some(endpoint) = &provider.revocation_endpoint {
        if let Some(token) = &tokens.refresh_token {
            revoke(web, &provider, endpoint, tokens, machine, ("refresh_token", token)).await?;
            left.refresh_revoked = true;
        }
        let access = ("access_token", &tokens.access_token);
        match revoke(web, &provider, endpoint, tokens, machine, access).await {
            Ok(()) => left.access_revoked = true,
            // Most providers cannot take back what a signature alone proves.
            Err(Error::Refused { said, .. }) if said == "unsupported_token_type" => {}
            Err(error) => show(Word::Note(&format!("the access token was not given back: {error}"))),
        }
    } else {
        show(Word::Note("the provider takes no tokens back: they are forgotten here, and end by themselves"));
    }
    if machine.is_none()
        && open
        && let Some(endpoint) = &provider.end_session_endpoint
    {
        left.session_ended = end_session(endpoint, tokens).await?;
    }
    Ok(left)
}

async fn revoke(
    web: &Web,
    provider: &Provider,
    endpoint: &str,
    tokens: &Tokens,
    machine: Option<&Machine>,
    (kind, token): (&str, &Secret),
) -> Result<(), Error> {
    let mut form =
        vec![("token", token.expose()), ("token_type_hint", kind), ("client_id", &tokens.client_id)];
    let in_header = provider.takes_secrets_in_the_header();
    if let Some(machine) = machine.filter(|_| !in_header) {
        form.push(("client_secret", machine.secret.expose()));
    }
    let body = serde_urlencoded::to_string(form).map_err(|error| web::malformed(endpoint, &error))?;
    let mut request =
        Request::post(endpoint).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(machine) = machine.filter(|_| in_header) {
        request = request.header(header::AUTHORIZATION, machine.basic());
    }
    let request = request.body(body.into_bytes());
    let response = web.send(request.map_err(|error| web::malformed(endpoint, &error))?).await?;
    match response.status() {
        StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
        _ => match serde_json::from_slice::<Refusal>(response.body()) {
            Ok(refusal) => {
                Err(Error::Refused { issuer: provider.issuer.clone(), said: plain(&refusal.error) })
            }
            Err(_) => Err(web::answered(endpoint, &response)),
        },
    }
}

/// Leads a browser there; whether it went. The ID token goes in the address, so the program that opens a browser, whose
/// arguments everybody on this machine can read, is given a link to this command instead.
async fn end_session(endpoint: &str, tokens: &Tokens) -> Result<bool, Error> {
    let mut query = vec![("client_id", tokens.client_id.as_str())];
    if let Some(hint) = &tokens.id_token {
        query.push(("id_token_hint", hint.expose()));
    }
    let query = serde_urlencoded::to_string(query).map_err(|error| web::malformed(endpoint, &error))?;
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    let path = format!("/logout/{}", CsrfToken::new_random_len(32).secret());
    let mut callback = Callback::lead(path.clone(), &format!("{endpoint}{separator}{query}")).await?;
    let link = format!("http://127.0.0.1:{}{path}", callback.port());
    let followed = browser::open(&link) && callback.followed(FOLLOW).await;
    callback.finish().await;
    Ok(followed)
}

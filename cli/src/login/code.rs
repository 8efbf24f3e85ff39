//! The browser's way: an authorization code with PKCE (RFC 7636, S256 alone), which a browser on this machine brings to
//! 127.0.0.1 (RFC 8252).

use oauth2::{AuthUrl, AuthorizationCode, CsrfToken, PkceCodeChallenge, RedirectUrl};

use super::browser;
use super::callback::{Arrived, Callback, PATIENCE};
use super::discover::Provider;
use super::error::Error;
use super::grant::{self, plain};
use super::page;
use super::tokens::Tokens;
use super::way::Ask;
use super::web::{self, Web};
use super::word::{Show, Word};

/// Logs a person in.
pub(super) async fn login(
    web: &Web,
    provider: &Provider,
    ask: &Ask,
    open: bool,
    show: &Show<'_>,
) -> Result<Tokens, Error> {
    let place = provider.authorization_endpoint.clone();
    let place =
        place.ok_or(Error::Lacks { issuer: provider.issuer.clone(), what: "a login in a browser" })?;
    let state = CsrfToken::new_random_len(32);
    let mut callback = Callback::listen(state.secret().clone()).await?;
    let redirect = callback.address();
    let client = grant::client(provider, &ask.client_id, None)?
        .set_auth_uri(AuthUrl::new(place.clone()).map_err(|error| web::malformed(&place, &error))?)
        .set_redirect_uri(
            RedirectUrl::new(redirect.clone()).map_err(|error| web::malformed(&redirect, &error))?,
        );
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let nonce = CsrfToken::new_random_len(32);
    let mut request = client
        .authorize_url(|| state)
        .add_scopes(grant::scopes(ask, true))
        .set_pkce_challenge(challenge)
        .add_extra_param("nonce", nonce.secret());
    if !ask.audience.is_empty() {
        request = request.add_extra_param("audience", ask.audience.as_str());
    }
    if let Some(prompt) = ask.prompt() {
        request = request.add_extra_param("prompt", prompt);
    }
    let (url, _) = request.url();
    let opened = open && browser::open(url.as_str());
    show(Word::Open { url: url.as_str(), opened });

    let arrived = callback.arrived(PATIENCE, show).await?;
    let tokens = async {
        let code = code_of(provider, &arrived)?;
        let granted = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
        let granted = granted.request_async(web).await;
        let granted = granted.map_err(|error| grant::refused(provider, &provider.token_endpoint, error))?;
        grant::accept(web, provider, ask, &granted, Some(nonce.secret())).await
    }
    .await;
    let page = match &tokens {
        Ok(tokens) => page::done(tokens.name(), &provider.issuer),
        Err(error) => page::failed(&error.to_string()),
    };
    arrived.answer(page);
    callback.finish().await;
    tokens
}

/// The code that a browser brought, where it comes from the provider that was asked (RFC 9207).
fn code_of(provider: &Provider, arrived: &Arrived) -> Result<String, Error> {
    let field = |name: &str| arrived.field(name);
    let named = field("iss");
    let is_named = named.is_some() || provider.authorization_response_iss_parameter_supported;
    if is_named && named != Some(&provider.issuer) {
        let reason = format!("the browser came back from {}", plain(named.unwrap_or("nobody")));
        return Err(Error::Identity { issuer: provider.issuer.clone(), reason });
    }
    if let Some(error) = field("error") {
        let said = match field("error_description") {
            Some(more) => plain(&format!("{error}: {more}")),
            None => plain(error),
        };
        return Err(match error {
            "access_denied" | "consent_required" => Error::Denied { said },
            _ => Error::Refused { issuer: provider.issuer.clone(), said },
        });
    }
    let missing = || Error::Refused {
        issuer: provider.issuer.clone(),
        said: "the browser came back without a code".to_owned(),
    };
    field("code").map(str::to_owned).ok_or_else(missing)
}

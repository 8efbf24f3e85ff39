//! What a provider's token endpoint gives, in the words of the `oauth2` crate, and what becomes of it here.

use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
    BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, ErrorResponse, ExtraTokenFields,
    RequestTokenError, Scope, StandardRevocableToken, StandardTokenResponse, TokenResponse as _, TokenUrl,
};
use serde::{Deserialize, Serialize};

use super::discover::Provider;
use super::error::Error;
use super::identity::{self, Expected, Identity};
use super::secret::Secret;
use super::tokens::Tokens;
use super::way::Ask;
use super::web::{self, Web};

/// What OpenID Connect adds to an answer of OAuth.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct More {
    #[serde(default)]
    id_token: Option<Secret>,
}

impl ExtraTokenFields for More {}

impl More {
    /// The ID token, where there is one.
    pub(super) fn id_token(&self) -> Option<Secret> {
        self.id_token.clone()
    }
}

/// Tokens, as a provider gives them.
pub(super) type Granted = StandardTokenResponse<More, BasicTokenType>;

/// A client that knows where tokens are got.
pub(super) type Client = oauth2::Client<
    BasicErrorResponse,
    Granted,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// This command at a provider; with a secret, where it is a machine.
pub(super) fn client(provider: &Provider, id: &str, secret: Option<&Secret>) -> Result<Client, Error> {
    let url = TokenUrl::new(provider.token_endpoint.clone())
        .map_err(|error| web::malformed(&provider.token_endpoint, &error))?;
    let mut client = oauth2::Client::new(ClientId::new(id.to_owned())).set_token_uri(url);
    if let Some(secret) = secret {
        client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        if !provider.takes_secrets_in_the_header() {
            client = client.set_auth_type(AuthType::RequestBody);
        }
    }
    Ok(client)
}

/// Scopes, each once, `openid` among them unless a machine asks.
pub(super) fn scopes(ask: &Ask, is_person: bool) -> Vec<Scope> {
    let mut scopes: Vec<&str> = if is_person { vec!["openid"] } else { Vec::new() };
    for scope in &ask.scopes {
        let fits = is_person || !matches!(scope.as_str(), "openid" | "offline_access");
        if fits && !scopes.contains(&scope.as_str()) {
            scopes.push(scope);
        }
    }
    scopes.into_iter().map(|scope| Scope::new(scope.to_owned())).collect()
}

/// Tokens to keep, once it is known who they are of.
///
/// # Errors
/// Where the ID token cannot be believed, or the access token is none that a gateway takes.
pub(super) async fn accept(
    web: &Web,
    provider: &Provider,
    ask: &Ask,
    granted: &Granted,
    nonce: Option<&str>,
) -> Result<Tokens, Error> {
    if *granted.token_type() != BasicTokenType::Bearer {
        return Err(web::malformed(&provider.token_endpoint, &"the access token is no bearer token"));
    }
    let id_token = granted.extra_fields().id_token();
    let who = match &id_token {
        Some(token) => {
            let expected = Expected { client_id: &ask.client_id, nonce, now: web.their_now() };
            identity::believe(web, provider, token, &expected).await?
        }
        // OpenID Connect Core, 3.1.3.3: who asked with a nonce gets an ID token.
        None if nonce.is_some() => {
            let reason = "it gave no ID token".to_owned();
            return Err(Error::Identity { issuer: provider.issuer.clone(), reason });
        }
        None => identity::peek(granted.access_token().secret()).unwrap_or_default(),
    };
    Ok(assemble(web, ask, granted, who, id_token))
}

/// Tokens to keep.
pub(super) fn assemble(
    web: &Web,
    ask: &Ask,
    granted: &Granted,
    who: Identity,
    id_token: Option<Secret>,
) -> Tokens {
    let lasts = granted.expires_in().map(|it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX));
    let scopes = match granted.scopes() {
        Some(given) => given.iter().map(|scope| scope.as_str().to_owned()).collect(),
        // RFC 6749, 5.1: it says nothing where they are those that were asked for.
        None => ask.scopes.clone(),
    };
    Tokens {
        access_token: granted.access_token().secret().clone().into(),
        refresh_token: granted.refresh_token().map(|token| token.secret().clone().into()),
        id_token,
        expires_at: lasts.map(|lasts| web.now().saturating_add(lasts)),
        issuer: ask.issuer.clone(),
        client_id: ask.client_id.clone(),
        scopes,
        subject: who.subject,
        account: who.account,
    }
}

/// What went wrong at an endpoint.
pub(super) fn refused<T: ErrorResponse + 'static>(
    provider: &Provider,
    url: &str,
    error: RequestTokenError<Error, T>,
) -> Error {
    match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(said) => {
            Error::Refused { issuer: provider.issuer.clone(), said: plain(&said.to_string()) }
        }
        RequestTokenError::Parse(error, _) => web::malformed(url, error.inner()),
        RequestTokenError::Other(said) => web::malformed(url, &said),
    }
}

/// Whether a provider said that what it was shown is good no more (RFC 6749, 5.2).
pub(super) fn is_over(error: &RequestTokenError<Error, BasicErrorResponse>) -> bool {
    matches!(error, RequestTokenError::ServerResponse(said) if *said.error() == BasicErrorResponseType::InvalidGrant)
}

/// A stranger's words, without what a terminal would obey, and not too many.
pub(super) fn plain(words: &str) -> String {
    words.chars().filter(|it| !it.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(scopes: &[&str]) -> Ask {
        Ask { scopes: scopes.iter().map(|it| (*it).to_owned()).collect(), ..Ask::default() }
    }

    fn asked(ask: &Ask, is_person: bool) -> Vec<String> {
        scopes(ask, is_person).iter().map(|it| it.as_str().to_owned()).collect()
    }

    #[test]
    fn a_person_asks_for_openid_and_for_each_scope_once() {
        let ask = ask(&["tunnel:write", "openid", "tunnel:write"]);
        assert_eq!(asked(&ask, true), ["openid", "tunnel:write"]);
    }

    #[test]
    fn a_machine_asks_for_no_id_token_and_no_refresh_token() {
        assert_eq!(asked(&ask(&["openid", "offline_access", "tunnel:write"]), false), ["tunnel:write"]);
    }

    #[test]
    fn a_providers_words_move_no_cursor() {
        assert_eq!(plain("no\x1b[2Jt\r\nso"), "no[2Jtso");
        assert_eq!(plain(&"x".repeat(1000)).len(), 300);
    }
}

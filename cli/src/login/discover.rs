//! What a gateway says of how to log in, and what a provider says of itself.

use serde::Deserialize;

use super::error::Error;
use super::web::{self, Web};

/// What a gateway says at `/auth/oidc-config`. Anybody may know.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Offer {
    /// How callers come in: MutualTLS, Edge or Plaintext.
    pub mode: String,
    /// The OpenID provider, where there is one.
    #[serde(default)]
    pub oidc: Option<Oidc>,
    /// Where an edge is in front: what it hands on.
    #[serde(default)]
    pub edge: Option<Edge>,
}

/// Where to log in.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Oidc {
    /// The provider.
    pub issuer: String,
    /// The client that the command is.
    pub client_id: String,
    /// What tokens are for.
    #[serde(default)]
    pub audience: String,
    /// What is asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// What an edge hands on.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Edge {
    /// The header with its token.
    #[serde(default)]
    pub header: String,
    /// The cookie with its token.
    #[serde(default)]
    pub cookie: String,
}

/// Asks a gateway, such as `https://door.example.com`, how to log in.
///
/// # Errors
/// Where it does not answer, or with something else.
pub async fn offer(web: &Web, endpoint: &str) -> Result<Offer, Error> {
    let url = format!("{}/auth/oidc-config", endpoint.trim_end_matches('/'));
    let request = http::Request::get(&url).body(Vec::new()).map_err(|error| web::malformed(&url, &error))?;
    let response = web.send(request).await?;
    if !response.status().is_success() {
        return Err(web::answered(&url, &response));
    }
    serde_json::from_slice(response.body()).map_err(|error| web::malformed(&url, &error))
}

/// What a provider says of itself (OpenID Connect Discovery, 3).
#[derive(Clone, Debug, Deserialize)]
pub struct Provider {
    /// Its name, which is also where it is.
    pub issuer: String,
    /// Where a person logs in.
    #[serde(default)]
    pub authorization_endpoint: Option<String>,
    /// Where tokens are got.
    pub token_endpoint: String,
    /// Where a device begins its login.
    #[serde(default)]
    pub device_authorization_endpoint: Option<String>,
    /// Where tokens are given back.
    #[serde(default)]
    pub revocation_endpoint: Option<String>,
    /// Where a browser ends its session.
    #[serde(default)]
    pub end_session_endpoint: Option<String>,
    /// Its keys.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// How a client with a secret may show it.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether it names itself when a browser comes back (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl Provider {
    /// How a client shows its secret: one that lists no methods takes the header (RFC 8414, 2).
    pub(super) fn takes_secrets_in_the_header(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let takes = |method: &str| methods.iter().any(|it| it == method);
        takes("client_secret_basic") || !takes("client_secret_post")
    }
}

/// Asks a provider what it is.
///
/// # Errors
/// Where it does not answer, is somebody else, or names places that no secret may go to.
pub async fn provider(web: &Web, issuer: &str) -> Result<Provider, Error> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let found: Provider = web.document(&url).await?;
    if found.issuer != issuer {
        return Err(Error::Issuer { asked: issuer.to_owned(), found: found.issuer });
    }
    let places = [
        Some(&found.token_endpoint),
        found.authorization_endpoint.as_ref(),
        found.device_authorization_endpoint.as_ref(),
        found.revocation_endpoint.as_ref(),
        found.end_session_endpoint.as_ref(),
        found.jwks_uri.as_ref(),
    ];
    for place in places.into_iter().flatten() {
        web::safe(place)?;
    }
    Ok(found)
}

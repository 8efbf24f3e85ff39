//! What a provider says of itself.

use serde::Deserialize;

use super::error::Error;
use super::web::{self, Web};

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

//! The way without a browser on this machine: a person opens an address on any other and types a code (RFC 8628).

use std::time::Duration;

use oauth2::{DeviceAuthorizationUrl, PkceCodeChallenge, StandardDeviceAuthorizationResponse};

use super::discover::Provider;
use super::error::Error;
use super::grant::{self, plain};
use super::tokens::Tokens;
use super::way::Ask;
use super::web::{self, Web};
use super::word::{Show, Word};

/// Providers whose codes are good for longer are not waited for that long.
const PATIENCE: Duration = Duration::from_mins(15);

/// Logs a person in.
pub(super) async fn login(
    web: &Web,
    provider: &Provider,
    ask: &Ask,
    show: &Show<'_>,
) -> Result<Tokens, Error> {
    login_with(web, provider, ask, show, tokio::time::sleep).await
}

/// The same, waiting between questions as it is told.
pub(super) async fn login_with<W: Future<Output = ()>>(
    web: &Web,
    provider: &Provider,
    ask: &Ask,
    show: &Show<'_>,
    wait: impl Fn(Duration) -> W,
) -> Result<Tokens, Error> {
    let place = provider.device_authorization_endpoint.clone();
    let place = place.ok_or(Error::Lacks { issuer: provider.issuer.clone(), what: "a login by a code" })?;
    let client = grant::client(provider, &ask.client_id, None)?.set_device_authorization_url(
        DeviceAuthorizationUrl::new(place.clone()).map_err(|error| web::malformed(&place, &error))?,
    );
    // No standard asks for it here; Keycloak does, of clients that must use PKCE. Others leave aside what they do not know.
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let mut request = client
        .exchange_device_code()
        .add_scopes(grant::scopes(ask, true))
        .add_extra_param("code_challenge", challenge.as_str())
        .add_extra_param("code_challenge_method", challenge.method().as_str());
    if !ask.audience.is_empty() {
        request = request.add_extra_param("audience", ask.audience.as_str());
    }
    let details: Result<StandardDeviceAuthorizationResponse, _> = request.request_async(web).await;
    let details = details.map_err(|error| grant::refused(provider, &place, error))?;
    let lasts = details.expires_in().min(PATIENCE);
    let direct = details.verification_uri_complete().map(|url| plain(url.secret()));
    show(Word::Code {
        url: &plain(details.verification_uri().as_str()),
        code: &plain(details.user_code().secret()),
        direct: direct.as_deref(),
        seconds: lasts.as_secs(),
    });
    let granted = client
        .exchange_device_access_token(&details)
        .add_extra_param("code_verifier", verifier.secret())
        .request_async(web, wait, Some(lasts))
        .await;
    let granted = granted.map_err(|error| ended(provider, lasts, error))?;
    grant::accept(web, provider, ask, &granted, None).await
}

/// Why it came to nothing.
fn ended(
    provider: &Provider,
    lasts: Duration,
    error: oauth2::RequestTokenError<Error, oauth2::DeviceCodeErrorResponse>,
) -> Error {
    use oauth2::{DeviceCodeErrorResponseType as Type, RequestTokenError};
    if let RequestTokenError::ServerResponse(said) = &error {
        match said.error() {
            Type::AccessDenied => return Error::Denied { said: plain(&said.to_string()) },
            Type::ExpiredToken => return Error::TooLate { minutes: lasts.as_secs().div_ceil(60) },
            _ => {}
        }
    }
    grant::refused(provider, &provider.token_endpoint, error)
}

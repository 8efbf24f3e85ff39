//! A bearer token as an OpenID provider would issue it, and the key that verifies it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_contract::snapshot::{Issuer, Oidc};
use portcullis_gateway::measure;
use serde::Serialize;
use serde_json::json;

use super::credentials;

const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "door";
/// How often a token is looked for.
const TIMES: u32 = 200_000;

/// What an issuer would hand out.
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) jwks: String,
}

/// Issues an ES256 token of an ordinary size, for a day.
pub(super) fn issue(now: i64) -> Result<Issued> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .map_err(|_| anyhow!("failed to make a key"))?;
    let point = key.public_key().as_ref();
    let jwks = json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench",
        "x": encode(&point[1..33]), "y": encode(&point[33..65]),
    }] });
    let header = json!({ "alg": "ES256", "kid": "bench", "typ": "at+jwt" });
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "0b4f1a5e-alice", "iat": now, "exp": now + 86_400, "jti": "b5f0c1",
        "email": "alice@shop.example.com", "azp": "portcullis-cli", "scope": "openid profile email sandbox:read",
        "realm_access": { "roles": ["door-user", "offline_access", "uma_authorization", "default-roles-shop"] },
    });
    let message =
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature =
        key.sign(&SystemRandom::new(), message.as_bytes()).map_err(|_| anyhow!("failed to sign a token"))?;
    Ok(Issued { token: format!("{message}.{}", encode(signature.as_ref())), jwks: jwks.to_string() })
}

/// What a token costs within the gateway.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    /// Microseconds until a token is believed for the first time.
    pub verified_micros: f64,
    /// Microseconds until it is found among those that were believed.
    pub found_micros: f64,
}

/// Measures the token of a folder that `credentials` has written.
///
/// # Errors
/// Where there is none, or it is not believed.
pub fn measure(folder: &Path) -> Result<Costs> {
    let read =
        |name| fs::read_to_string(folder.join(name)).with_context(|| format!("failed to read the {name}"));
    let (token, jwks) = (read(credentials::TOKEN)?, read(credentials::JWKS)?);
    let now = credentials::now().unix_timestamp();
    let costs = measure::tokens(&oidc("http://127.0.0.1/").issuer, jwks.as_bytes(), &token, now, TIMES);
    let costs = costs.map_err(|why| anyhow!(why))?;
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    Ok(Costs { verified_micros: micros(costs.verified), found_micros: micros(costs.found) })
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// How a snapshot names the issuer, whose keys are at this address.
pub(super) fn oidc(jwks_uri: &str) -> Oidc {
    Oidc {
        issuer: Issuer {
            jwks_uri: Some(jwks_uri.to_owned()),
            user_claim: "email".to_owned(),
            roles_claim: Some("realm_access.roles".to_owned()),
            admin_role: Some("door-admin".to_owned()),
            user_role: Some("door-user".to_owned()),
            scopes_claim: Some("scope".to_owned()),
            ..Issuer::of(ISSUER, AUDIENCE)
        },
        client_id: "portcullis-cli".to_owned(),
        revoked_subjects: Vec::new(),
        scopes: Vec::new(),
    }
}

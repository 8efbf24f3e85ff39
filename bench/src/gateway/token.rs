//! A bearer token as an OpenID provider would issue it, and the key that verifies it.

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_contract::snapshot::{Issuer, Oidc};
use serde_json::json;

const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "door";

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

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// How a snapshot names the issuer, whose keys are at this address.
pub(super) fn oidc(jwks_uri: &str) -> Oidc {
    Oidc {
        issuer: Issuer {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            jwks_uri: Some(jwks_uri.to_owned()),
            ca_file: None,
            jwks_ttl_seconds: 3600,
            clock_skew_seconds: 60,
            user_claim: "email".to_owned(),
            roles_claim: Some("realm_access.roles".to_owned()),
            admin_role: Some("door-admin".to_owned()),
            user_role: Some("door-user".to_owned()),
            scopes_claim: Some("scope".to_owned()),
        },
        client_id: "portcullis-cli".to_owned(),
        scopes: Vec::new(),
    }
}

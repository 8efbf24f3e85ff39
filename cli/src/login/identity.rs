//! Who has logged in, as the provider says it in an ID token (OpenID Connect Core, 3.1.3.7). For showing: a gateway decides
//! by itself.

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::discover::Provider;
use super::error::Error;
use super::grant::plain;
use super::secret::Secret;
use super::web::Web;

/// How far a token's times may be off, in seconds.
const LEEWAY: i64 = 60;

/// Signatures that anybody can check by a public key.
const PUBLIC: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// What a person would call it.
    pub account: String,
    /// When the token that says so ends, in seconds since 1970-01-01T00:00:00Z.
    pub ends: Option<i64>,
}

/// What an ID token must say.
pub(super) struct Expected<'a> {
    pub(super) client_id: &'a str,
    pub(super) nonce: Option<&'a str>,
    /// The provider's time, in seconds since the epoch.
    pub(super) now: i64,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Value,
    azp: Option<String>,
    exp: Option<f64>,
    nonce: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    name: Option<String>,
}

/// Checks an ID token with the provider's keys; who it is.
pub(super) async fn believe(
    web: &Web,
    provider: &Provider,
    token: &Secret,
    expected: &Expected<'_>,
) -> Result<Identity, Error> {
    let wrong = |reason: String| Error::Identity { issuer: provider.issuer.clone(), reason };
    let url = provider.jwks_uri.as_deref();
    let url = url.ok_or(Error::Lacks { issuer: provider.issuer.clone(), what: "keys (jwks_uri)" })?;
    let keys: Listed = web.document(url).await?;
    read(&keys.known(), token, &provider.issuer, expected).map_err(wrong)
}

/// Keys of a kind that is not known are left out.
#[derive(Deserialize)]
struct Listed {
    keys: Vec<Value>,
}

impl Listed {
    fn known(self) -> JwkSet {
        JwkSet { keys: self.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect() }
    }
}

fn read(keys: &JwkSet, token: &Secret, issuer: &str, expected: &Expected<'_>) -> Result<Identity, String> {
    let header = decode_header(token.expose()).map_err(|_| "its ID token is no signed token".to_owned())?;
    if !PUBLIC.contains(&header.alg) {
        return Err(format!("its ID token is signed with {:?}, which is not taken", header.alg));
    }
    let fits = |key: &&Jwk| {
        let signs = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
        signs && header.kid.as_ref().is_none_or(|id| key.common.key_id.as_ref() == Some(id))
    };
    // Times are checked below, by the provider's clock.
    let mut validation = Validation::new(header.alg);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let signed = keys.keys.iter().filter(fits).find_map(|key| {
        let key = DecodingKey::from_jwk(key).ok()?;
        decode::<Claims>(token.expose(), &key, &validation).ok()
    });
    let claims = signed.ok_or("none of its keys has signed its ID token")?.claims;
    check(&claims, issuer, expected)?;
    Ok(claims.identity())
}

fn check(claims: &Claims, issuer: &str, expected: &Expected<'_>) -> Result<(), String> {
    if claims.iss != issuer {
        return Err(format!("its ID token is of {}", plain(&claims.iss)));
    }
    let is_ours = |it: &Value| it.as_str() == Some(expected.client_id);
    let (for_us, others) = match &claims.aud {
        Value::Array(all) => (all.iter().any(is_ours), all.len() > 1),
        one => (is_ours(one), false),
    };
    let party = claims.azp.as_deref();
    if !for_us || party.is_some_and(|it| it != expected.client_id) || (others && party.is_none()) {
        return Err("its ID token is for another client".to_owned());
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age of the world fit")]
    let is_over = claims.exp.is_none_or(|end| end < (expected.now - LEEWAY) as f64);
    if is_over {
        return Err("its ID token has ended already".to_owned());
    }
    if expected.nonce.is_some() && claims.nonce.as_deref() != expected.nonce {
        return Err("its ID token answers another login (nonce)".to_owned());
    }
    if claims.sub.is_empty() { Err("its ID token is nobody's (sub)".to_owned()) } else { Ok(()) }
}

impl Claims {
    fn identity(self) -> Identity {
        let names = [self.preferred_username, self.email, self.name];
        let account = names.into_iter().flatten().find(|it| !it.is_empty());
        let account = plain(account.as_deref().unwrap_or(&self.sub));
        #[expect(clippy::cast_possible_truncation, reason = "seconds of this age of the world fit")]
        let ends = self.exp.map(|end| end as i64);
        Identity { issuer: self.iss, subject: plain(&self.sub), account, ends }
    }
}

/// Who a token says it is of, believed by nobody: for showing what came straight from a provider or a gateway.
pub fn peek(token: &str) -> Option<Identity> {
    jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(token).ok().map(Claims::identity)
}

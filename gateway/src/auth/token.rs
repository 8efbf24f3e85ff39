//! A JSON Web Token: whether it may be believed, by RFC 7519, RFC 8725 and RFC 9068. Pure, given the keys and the time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use super::jwks::{Keys, Miss, algorithm};
use crate::metrics::label;

/// No token is longer: headers have a limit too.
pub(crate) const LONGEST: usize = 16 * 1024;
/// No subject is longer (OpenID Connect Core, 2).
const LONGEST_SUBJECT: usize = 255;
/// What a header may not hold: where the key is to be had from, and extensions that must be understood.
const REFUSED_FIELDS: [&str; 4] = ["jku", "x5u", "jwk", "crit"];
/// Keycloak's name for what a token is, where that is no access token.
const OTHER_KINDS: [&str; 4] = ["id", "refresh", "offline", "logout"];

label! {
    /// Why a token is not believed.
    enum TokenFault {
        TooLong => "token_too_long",
        Malformed => "token_malformed",
        Algorithm => "token_algorithm",
        Header => "token_header",
        Type => "token_type",
        NoKeys => "token_no_keys",
        UnknownKey => "token_unknown_key",
        Signature => "token_signature",
        Issuer => "token_issuer",
        Audience => "token_audience",
        Subject => "token_subject",
        Expired => "token_expired",
        NotYetValid => "token_not_yet_valid",
        Claims => "token_claims",
        Bound => "token_bound",
        Revoked => "token_revoked",
    }
}

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// How far the clocks may disagree, in seconds.
    pub(crate) skew: i64,
    /// Which of the two kinds it is.
    pub(crate) purpose: Purpose,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An OpenID provider's access token: an ID token will not do.
    Access,
    /// What an edge passes on: often an ID token. Cloudflare names services by `common_name` and leaves `sub` empty.
    Edge,
}

/// A token that is believed.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) subject: String,
    /// The last second in which it holds, the clocks' disagreement included; seconds since the epoch.
    pub(crate) expires_at: i64,
    /// When it was issued, where it says so; seconds since the epoch.
    pub(crate) issued_at: Option<i64>,
    pub(crate) claims: Map<String, Value>,
}

/// Reads a token and decides whether to believe it.
pub(crate) fn verify(text: &str, keys: &Keys, expected: &Expected, now: i64) -> Result<Token, TokenFault> {
    if text.len() > LONGEST {
        return Err(TokenFault::TooLong);
    }
    let (message, signature) = text.rsplit_once('.').ok_or(TokenFault::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenFault::Malformed)?;
    let header = part(header)?;
    // A part too many stays in the payload, and no base64url has a dot.
    let claims = part(payload)?;
    let (key_id, algorithm) = check_header(&header)?;
    let key = keys.find(key_id, algorithm).map_err(|miss| match miss {
        Miss::Unknown => TokenFault::UnknownKey,
        Miss::Ambiguous => TokenFault::Header,
        Miss::Algorithm => TokenFault::Algorithm,
    })?;
    if signature.is_empty() || !key.verifies(message.as_bytes(), signature) {
        return Err(TokenFault::Signature);
    }
    check_claims(claims, expected, now)
}

fn part(text: &str) -> Result<Map<String, Value>, TokenFault> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenFault::Malformed)?;
    json::object(&bytes).ok_or(TokenFault::Malformed)
}

/// The key and the algorithm that a header names.
fn check_header(header: &Map<String, Value>) -> Result<(Option<&str>, jsonwebtoken::Algorithm), TokenFault> {
    if REFUSED_FIELDS.iter().any(|field| header.contains_key(*field)) {
        return Err(TokenFault::Header);
    }
    let algorithm =
        header.get("alg").and_then(Value::as_str).and_then(algorithm).ok_or(TokenFault::Algorithm)?;
    let kind = match header.get("typ") {
        None => "jwt",
        Some(kind) => kind.as_str().ok_or(TokenFault::Type)?,
    };
    let is_jwt = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"]
        .iter()
        .any(|it| kind.eq_ignore_ascii_case(it));
    if !is_jwt || header.contains_key("cty") {
        return Err(TokenFault::Type);
    }
    let key_id = match header.get("kid") {
        None => None,
        Some(id) => Some(id.as_str().ok_or(TokenFault::Header)?),
    };
    Ok((key_id, algorithm))
}

fn check_claims(claims: Map<String, Value>, expected: &Expected, now: i64) -> Result<Token, TokenFault> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(&expected.issuer) {
        return Err(TokenFault::Issuer);
    }
    if !names(claims.get("aud"), &expected.audience) {
        return Err(TokenFault::Audience);
    }
    let expires_at =
        seconds(&claims, "exp", f64::floor)?.ok_or(TokenFault::Claims)?.saturating_add(expected.skew);
    if now > expires_at {
        return Err(TokenFault::Expired);
    }
    let issued_at = seconds(&claims, "iat", f64::floor)?;
    let begins = [seconds(&claims, "nbf", f64::ceil)?, issued_at];
    if begins.into_iter().flatten().any(|begin| now < begin.saturating_sub(expected.skew)) {
        return Err(TokenFault::NotYetValid);
    }
    // Such a token is worth nothing without a proof that the gateway does not ask for.
    if claims.contains_key("cnf") {
        return Err(TokenFault::Bound);
    }
    let kind = text("typ").filter(|_| expected.purpose == Purpose::Access);
    if kind.is_some_and(|kind| OTHER_KINDS.iter().any(|other| kind.eq_ignore_ascii_case(other))) {
        return Err(TokenFault::Type);
    }
    let subject = match (text("sub"), expected.purpose) {
        (Some(""), Purpose::Edge) => text("common_name"),
        (subject, _) => subject,
    };
    let is_name =
        |name: &&str| (1..=LONGEST_SUBJECT).contains(&name.len()) && !name.chars().any(char::is_control);
    let subject = subject.filter(is_name).ok_or(TokenFault::Subject)?.to_owned();
    Ok(Token { subject, expires_at, issued_at, claims })
}

/// Whether an audience is this one, or a list of texts that has it.
fn names(audience: Option<&Value>, expected: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == expected,
        Some(Value::Array(several)) => {
            several.iter().all(Value::is_string) && several.iter().any(|one| one == expected)
        }
        _ => false,
    }
}

/// A time in seconds since the epoch, which may have a fraction.
fn seconds(
    claims: &Map<String, Value>,
    name: &str,
    round: fn(f64) -> f64,
) -> Result<Option<i64>, TokenFault> {
    /// The year 9999.
    const LATEST: f64 = 253_402_300_799.0;
    let Some(value) = claims.get(name) else { return Ok(None) };
    let value =
        value.as_f64().map(round).filter(|value| (0.0..=LATEST).contains(value)).ok_or(TokenFault::Claims)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within bounds")]
    Ok(Some(value as i64))
}

#[cfg(test)]
mod tests;

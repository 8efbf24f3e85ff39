//! What `cargo xtask bench auth` measures within the process: among requests it would drown.

use std::time::Duration;

use http::HeaderValue;
use portcullis_contract::snapshot;
use tokio::time::Instant;

use crate::auth::{Purpose, Shown};
use crate::issuer::Issuer;

/// What becomes of one token, on average.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// Until it is believed for the first time: its signature is verified.
    pub verified: Duration,
    /// Until it is found among those that were believed.
    pub found: Duration,
}

/// Measures a token with the keys that verify it (a JWKS), so many times, as of `now` (seconds since the epoch).
///
/// # Errors
/// Where it is not believed; in words.
pub fn tokens(
    issuer: &snapshot::Issuer,
    jwks: &[u8],
    token: &str,
    now: i64,
    times: u32,
) -> Result<Tokens, String> {
    let text = Ok(HeaderValue::from_str(token).map_err(|error| error.to_string())?);
    let began = Instant::now();
    let mut known = None;
    for _ in 0..times.div_ceil(100) {
        // Nobody remembers anything at first. Reading the keys is a small part of this.
        let fresh = Issuer::standing(issuer, Purpose::Access, Some(jwks))?;
        believed(&fresh.judge(&text, now))?;
        known = Some(fresh);
    }
    let verified = began.elapsed() / times.div_ceil(100).max(1);
    let known = known.ok_or("measured no times at all")?;
    let began = Instant::now();
    for _ in 0..times {
        believed(&known.judge(&text, now))?;
    }
    Ok(Tokens { verified, found: began.elapsed() / times.max(1) })
}

fn believed(shown: &Shown) -> Result<(), String> {
    match std::hint::black_box(shown) {
        Shown::Believed(_) => Ok(()),
        other => Err(format!("the token is not believed: {other:?}")),
    }
}

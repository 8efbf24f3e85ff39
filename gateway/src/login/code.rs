//! Codes that stand for a token, and seals under forms. Both are sealed under a key that every replica has and nobody
//! else: it is derived from the server's private key. So any replica redeems what another has handed out.
//!
//! A replica remembers which codes it has redeemed. Another one would redeem it again, for whoever knows the verifier.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// How long a code is good, and a form.
pub(super) const CODE_SECONDS: i64 = 60;
pub(super) const FORM_SECONDS: i64 = 600;

/// Seals and opens.
#[derive(Default)]
pub(crate) struct Codes {
    /// None while there is no server certificate.
    key: ArcSwapOption<LessSafeKey>,
    /// When each redeemed code would have ended.
    redeemed: Mutex<HashMap<[u8; NONCE_LEN], i64>>,
}

/// It is no code of ours, is over, was redeemed, or is somebody else's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// What a code stands for.
#[derive(Serialize, Deserialize)]
struct Grant {
    token: String,
    /// When the token ends, seconds since the epoch.
    expires_at: i64,
    /// Base64url of the verifier's SHA-256.
    challenge: String,
    /// When the code ends.
    until: i64,
}

/// What a form was made for.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Form {
    purpose: String,
    until: i64,
}

impl Codes {
    /// Seals under a key derived from this private key from now on.
    pub(crate) fn set_key(&self, private_key: &[u8]) {
        let salt = Salt::new(HKDF_SHA256, b"portcullis login");
        let key = salt.extract(private_key).expand(&[b"codes"], &AES_256_GCM).map(UnboundKey::from);
        // It fails for lengths that are none; this one is the algorithm's own.
        self.key.store(key.ok().map(|key| Arc::new(LessSafeKey::new(key))));
    }

    /// A code for a token that holds until `expires_at`.
    pub(super) fn issue(&self, token: &str, expires_at: i64, challenge: &str, now: i64) -> Option<String> {
        let grant = Grant {
            token: token.to_owned(),
            expires_at,
            challenge: challenge.to_owned(),
            until: now + CODE_SECONDS,
        };
        self.seal(b"code", &grant)
    }

    /// The token that a code stands for, and when it ends.
    pub(super) fn redeem(&self, code: &str, verifier: &str, now: i64) -> Result<(String, i64), Invalid> {
        let (nonce, grant): (_, Grant) = self.open(b"code", code).ok_or(Invalid)?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let is_verifier = (43..=128).contains(&verifier.len()) && challenge == grant.challenge;
        if now > grant.until || !is_verifier {
            return Err(Invalid);
        }
        let mut redeemed = self.redeemed.lock().unwrap_or_else(PoisonError::into_inner);
        redeemed.retain(|_, until| *until >= now);
        if redeemed.insert(nonce, grant.until).is_some() {
            return Err(Invalid);
        }
        Ok((grant.token, grant.expires_at))
    }

    /// What a form of ours carries, so that nobody else's page can send it.
    pub(super) fn seal_form(&self, purpose: &str, now: i64) -> Option<String> {
        self.seal(b"form", &Form { purpose: purpose.to_owned(), until: now + FORM_SECONDS })
    }

    /// Whether a form was made for this, and not too long ago.
    pub(super) fn is_form(&self, sealed: &str, purpose: &str, now: i64) -> bool {
        self.open(b"form", sealed)
            .is_some_and(|(_, form): (_, Form)| form.purpose == purpose && now <= form.until)
    }

    fn seal(&self, kind: &[u8], what: &impl Serialize) -> Option<String> {
        let key = self.key.load_full()?;
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut text = serde_json::to_vec(what).ok()?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(kind), &mut text).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &text].concat()))
    }

    fn open<T: for<'de> Deserialize<'de>>(&self, kind: &[u8], sealed: &str) -> Option<([u8; NONCE_LEN], T)> {
        let key = self.key.load_full()?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let text =
            key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(kind), &mut text).ok()?;
        Some((*nonce, serde_json::from_slice(text).ok()?))
    }
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "0123456789012345678901234567890123456789012";

    fn challenge() -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER.as_bytes()))
    }

    fn codes(key: &[u8]) -> Codes {
        let codes = Codes::default();
        codes.set_key(key);
        codes
    }

    #[test]
    fn a_code_is_redeemed_once_by_whoever_knows_the_verifier() {
        let codes = codes(b"key");
        let code = codes.issue("a.b.c", 900, &challenge(), 100).unwrap();
        assert_eq!(codes.redeem(&code, &VERIFIER.replace('0', "1"), 100), Err(Invalid));
        assert_eq!(codes.redeem(&code, "short", 100), Err(Invalid));
        assert_eq!(codes.redeem(&code, VERIFIER, 100 + CODE_SECONDS), Ok(("a.b.c".to_owned(), 900)));
        assert_eq!(codes.redeem(&code, VERIFIER, 100), Err(Invalid), "once");
    }

    #[test]
    fn a_code_that_is_over_or_of_another_key_or_kind_is_none() {
        let codes = codes(b"key");
        let code = codes.issue("a.b.c", 900, &challenge(), 100).unwrap();
        assert_eq!(codes.redeem(&code, VERIFIER, 101 + CODE_SECONDS), Err(Invalid));
        assert_eq!(self::codes(b"other").redeem(&code, VERIFIER, 100), Err(Invalid));
        assert_eq!(
            self::codes(b"key").redeem(&code, VERIFIER, 100),
            Ok(("a.b.c".to_owned(), 900)),
            "another replica"
        );
        assert_eq!(codes.redeem(&codes.seal_form("x", 100).unwrap(), VERIFIER, 100), Err(Invalid));
        let mut spoilt = code.into_bytes();
        let last = spoilt.last_mut().unwrap();
        *last = if *last == b'A' { b'Q' } else { b'A' };
        assert_eq!(codes.redeem(std::str::from_utf8(&spoilt).unwrap(), VERIFIER, 100), Err(Invalid));
    }

    #[test]
    fn neither_the_token_nor_the_challenge_can_be_read_off_a_code() {
        let code = codes(b"key").issue("a.secret.token", 900, &challenge(), 100).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(code).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn a_form_is_good_for_its_purpose_and_its_time() {
        let codes = codes(b"key");
        let sealed = codes.seal_form("alice 4711", 100).unwrap();
        assert!(codes.is_form(&sealed, "alice 4711", 100 + FORM_SECONDS));
        assert!(!codes.is_form(&sealed, "mallory 4711", 100));
        assert!(!codes.is_form(&sealed, "alice 4711", 101 + FORM_SECONDS));
        assert!(!codes.is_form("", "alice 4711", 100));
    }

    #[test]
    fn without_a_server_certificate_there_are_no_codes() {
        assert_eq!(Codes::default().issue("a", 1, "b", 0), None);
    }
}

//! The keys of an issuer, read from its JWKS (RFC 7517). Pure.
//!
//! Each key is good for exactly one algorithm: the one that it names, or the one that its kind implies. A token cannot
//! choose. Keys that cannot be read, or are none to verify with, are skipped.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// RSA moduli in bytes: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Keys that verify tokens.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

/// A key, pinned to its algorithm.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    verifying: DecodingKey,
    /// The JWK itself, to tell one key from another of the same id.
    jwk: Value,
}

/// Why there is no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No key has this id.
    Unknown,
    /// The key that has it is for another algorithm.
    Algorithm,
    /// The token names no key, and more than one would do.
    Ambiguous,
}

impl Keys {
    /// Reads a JWKS.
    ///
    /// # Errors
    /// Where it is none, or has no key to verify with; in words.
    pub(crate) fn read(json: &[u8]) -> Result<Self, String> {
        let document: Value =
            serde_json::from_slice(json).map_err(|error| format!("its keys are no JSON: {error}"))?;
        let listed = document["keys"].as_array().ok_or("its JWKS has no list of keys")?;
        let keys: Vec<_> = listed.iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(format!(
                "none of the {} keys in its JWKS can verify tokens (RS256 and its kin, ES256, ES384, EdDSA)",
                listed.len()
            ));
        }
        Ok(Self(keys))
    }

    /// The key for a token that names this id and this algorithm.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, Miss> {
        let Some(id) = id else {
            let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key),
                (Some(_), Some(_)) => Err(Miss::Ambiguous),
                (None, _) => Err(Miss::Algorithm),
            };
        };
        let mut named = self.0.iter().filter(|key| key.id.as_deref() == Some(id)).peekable();
        if named.peek().is_none() {
            return Err(Miss::Unknown);
        }
        named.find(|key| key.algorithm == algorithm).ok_or(Miss::Algorithm)
    }
}

/// Two sets are the same where they hold the same keys, in whatever order.
impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|key| other.0.iter().any(|another| another.jwk == key.jwk))
    }
}

impl Key {
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let is_for_signatures = text("use").is_none_or(|purpose| purpose == "sig")
            && jwk.get("key_ops").is_none_or(|operations| {
                operations.as_array().is_some_and(|operations| operations.iter().any(|it| it == "verify"))
            });
        // Whoever publishes a private key has lost it.
        if !is_for_signatures || jwk.get("d").is_some() {
            return None;
        }
        let (implied, verifying) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Algorithm::RS256, rsa(text("n")?, text("e")?)?),
            ("EC", Some("P-256")) => (Algorithm::ES256, ec(text("x")?, text("y")?, 32)?),
            ("EC", Some("P-384")) => (Algorithm::ES384, ec(text("x")?, text("y")?, 48)?),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, ed25519(text("x")?)?),
            _ => return None,
        };
        let algorithm = match jwk.get("alg") {
            None => implied,
            Some(named) => algorithm(named.as_str()?).filter(|named| is_of(*named, implied))?,
        };
        let id = text("kid").map(str::to_owned);
        Some(Self { id, algorithm, verifying, jwk: jwk.clone() })
    }

    /// Whether it signed `message`; the signature is base64url.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.verifying, self.algorithm).unwrap_or(false)
    }
}

/// The algorithm of this name, where tokens may use it: public keys only.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "RS384" => Some(Algorithm::RS384),
        "RS512" => Some(Algorithm::RS512),
        "PS256" => Some(Algorithm::PS256),
        "PS384" => Some(Algorithm::PS384),
        "PS512" => Some(Algorithm::PS512),
        "ES256" => Some(Algorithm::ES256),
        "ES384" => Some(Algorithm::ES384),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

/// Whether a key whose kind implies one algorithm may name another: RSA keys may, within their family.
fn is_of(named: Algorithm, implied: Algorithm) -> bool {
    use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    named == implied || (implied == RS256 && matches!(named, RS256 | RS384 | RS512 | PS256 | PS384 | PS512))
}

fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let modulus = bytes(modulus)?;
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    let (modulus, exponent) = (&modulus[leading..], bytes(exponent)?);
    let fits = RSA_BYTES.contains(&modulus.len()) && (1..=8).contains(&exponent.len());
    fits.then(|| DecodingKey::from_rsa_raw_components(modulus, &exponent))
}

fn ec(x: &str, y: &str, size: usize) -> Option<DecodingKey> {
    let fits = bytes(x)?.len() == size && bytes(y)?.len() == size;
    fits.then(|| DecodingKey::from_ec_components(x, y).ok())?
}

fn ed25519(x: &str) -> Option<DecodingKey> {
    let fits = bytes(x)?.len() == 32;
    fits.then(|| DecodingKey::from_ed_components(x).ok())?
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ec_key(extra: &Value) -> Value {
        let mut key = json!({
            "kty": "EC", "crv": "P-256", "kid": "a",
            "x": URL_SAFE_NO_PAD.encode([1; 32]), "y": URL_SAFE_NO_PAD.encode([2; 32]),
        });
        for (name, value) in extra.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    fn rsa_key(bytes: usize, extra: &Value) -> Value {
        let mut key =
            json!({ "kty": "RSA", "kid": "r", "n": URL_SAFE_NO_PAD.encode(vec![0xC3; bytes]), "e": "AQAB" });
        for (name, value) in extra.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    fn read(keys: &[Value]) -> Result<Keys, String> {
        Keys::read(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn keys_that_cannot_verify_are_skipped_and_the_others_stay() {
        let good = ec_key(&json!({}));
        for bad in [
            json!({}),
            json!("text"),
            json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256" }),
            ec_key(&json!({ "use": "enc" })),
            ec_key(&json!({ "key_ops": ["sign"] })),
            ec_key(&json!({ "d": "AQAB" })),
            ec_key(&json!({ "crv": "secp256k1" })),
            ec_key(&json!({ "crv": "P-521" })),
            ec_key(&json!({ "alg": "HS256" })),
            ec_key(&json!({ "alg": "RS256" })),
            ec_key(&json!({ "alg": 7 })),
            ec_key(&json!({ "x": "AQ" })),
            ec_key(&json!({ "x": "!" })),
            rsa_key(128, &json!({})),
            rsa_key(2048, &json!({})),
            rsa_key(256, &json!({ "alg": "ES256" })),
            rsa_key(256, &json!({ "e": "" })),
        ] {
            assert!(read(std::slice::from_ref(&bad)).is_err(), "{bad}");
            assert_eq!(read(&[bad.clone(), good.clone()]).unwrap().0.len(), 1, "{bad}");
        }
        assert!(Keys::read(b"nothing").is_err());
        assert!(Keys::read(b"{}").is_err());
    }

    #[test]
    fn a_key_is_for_one_algorithm_and_a_token_cannot_choose_another() {
        let keys = read(&[
            ec_key(&json!({})),
            rsa_key(256, &json!({})),
            rsa_key(256, &json!({ "kid": "p", "alg": "PS384" })),
        ])
        .unwrap();
        assert!(keys.find(Some("a"), Algorithm::ES256).is_ok());
        assert_eq!(keys.find(Some("a"), Algorithm::RS256).unwrap_err(), Miss::Algorithm);
        assert!(keys.find(Some("r"), Algorithm::RS256).is_ok());
        assert_eq!(keys.find(Some("r"), Algorithm::RS512).unwrap_err(), Miss::Algorithm);
        assert_eq!(keys.find(Some("r"), Algorithm::PS256).unwrap_err(), Miss::Algorithm);
        assert!(keys.find(Some("p"), Algorithm::PS384).is_ok());
        assert_eq!(keys.find(Some("x"), Algorithm::RS256).unwrap_err(), Miss::Unknown);
    }

    #[test]
    fn a_token_that_names_no_key_is_taken_where_only_one_would_do() {
        let keys = read(&[ec_key(&json!({})), rsa_key(256, &json!({}))]).unwrap();
        assert!(keys.find(None, Algorithm::ES256).is_ok());
        assert_eq!(keys.find(None, Algorithm::EdDSA).unwrap_err(), Miss::Algorithm);
        let keys = read(&[ec_key(&json!({})), ec_key(&json!({ "kid": "b" }))]).unwrap();
        assert_eq!(keys.find(None, Algorithm::ES256).unwrap_err(), Miss::Ambiguous);
    }

    #[test]
    fn sets_are_compared_by_what_they_hold() {
        let (a, b) = (ec_key(&json!({})), ec_key(&json!({ "kid": "b" })));
        assert_eq!(read(&[a.clone(), b.clone()]).unwrap(), read(&[b.clone(), a.clone()]).unwrap());
        assert_ne!(read(std::slice::from_ref(&a)).unwrap(), read(&[b]).unwrap());
        let another = ec_key(&json!({ "x": URL_SAFE_NO_PAD.encode([9; 32]) }));
        assert_ne!(read(&[a]).unwrap(), read(&[another]).unwrap(), "another key of the same id");
    }
}

//! A private key that logs cannot show. Nothing here interprets the key.

use std::fmt;

use zeroize::Zeroizing;

/// A PEM private key. Neither `Debug` nor `Display` prints it; its memory is cleared on drop.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<String>);

impl PrivateKey {
    /// Takes over the PEM text, unread.
    pub fn from_pem(pem: String) -> Self {
        Self(Zeroizing::new(pem))
    }

    /// The PEM text, for the Secret that it is stored in.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}

impl fmt::Display for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden private key)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_exposed_on_request_and_never_printed() {
        let key = PrivateKey::from_pem("-----BEGIN PRIVATE KEY-----\nsecret".to_owned());
        assert_eq!(key.expose(), "-----BEGIN PRIVATE KEY-----\nsecret");
        assert_eq!(
            format!("{key:?} {key:#?} {key}"),
            "PrivateKey(hidden) PrivateKey(hidden) (hidden private key)"
        );
    }
}

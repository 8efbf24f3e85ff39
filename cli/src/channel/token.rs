//! Who has a token that is good now.

use std::fmt;

use futures::future::BoxFuture;
use http::HeaderValue;

use crate::failure::{Exit, Failure};
use crate::portable::Tokens;

/// A bearer token. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token. None where the text is empty.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of a field, which logs leave out.
    pub(super) fn value(&self, before: &str) -> Result<HeaderValue, Failure> {
        let mut value = HeaderValue::try_from(format!("{before}{}", self.0)).map_err(|_| {
            Failure::new(Exit::Denied, "the stored token is none that a header could carry")
                .hint("run `portcullis gateway login`")
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Who has a token that is good now: it is asked before every call and before every connection, and renews what ends.
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// The token of an OpenID provider, sent as a bearer token. None where nobody is logged in.
    fn bearer(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>>;

    /// Another one than this, which the gateway did not take. None where there is none.
    fn instead_of<'a>(&'a self, refused: &'a Token) -> BoxFuture<'a, Result<Option<Token>, Failure>> {
        let _ = refused;
        Box::pin(async { Ok(None) })
    }

    /// The token of an identity-aware edge. None where nobody is logged in.
    fn edge(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>>;
}

/// No token at all.
#[derive(Clone, Copy, Debug)]
pub struct Anonymous;

impl TokenSource for Anonymous {
    fn bearer(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>> {
        Box::pin(async { Ok(None) })
    }

    fn edge(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>> {
        Box::pin(async { Ok(None) })
    }
}

/// What was taken in from elsewhere, and is not stored yet.
#[derive(Clone, Debug)]
pub struct Held(pub Tokens);

impl TokenSource for Held {
    fn bearer(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>> {
        Box::pin(async { self.0.oidc.as_deref().map_or(Ok(None), access_token) })
    }

    fn edge(&self) -> BoxFuture<'_, Result<Option<Token>, Failure>> {
        Box::pin(async { Ok(self.0.edge.as_deref().and_then(text)) })
    }
}

/// `oidc_token.json`'s.
fn access_token(bytes: &[u8]) -> Result<Option<Token>, Failure> {
    let kept: serde_json::Value = serde_json::from_slice(bytes).map_err(|_| {
        Failure::new(Exit::Denied, "the stored token is not what `portcullis` writes")
            .hint("run `portcullis gateway login`")
    })?;
    Ok(kept.get("access_token").and_then(|it| it.as_str()).and_then(Token::new))
}

fn text(bytes: &[u8]) -> Option<Token> {
    Token::new(&String::from_utf8_lossy(bytes))
}

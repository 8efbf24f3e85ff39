//! Tokens that were believed, so that each is verified once. Bounded; a token is found by its signature and compared whole.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::auth::Identified;

/// How many tokens of one issuer there may be, at a guess, and how many bytes of them are remembered.
const GUESS: usize = 8_192;
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// How much of a token's end is hashed: a part of its signature, which no two have in common. Who knows the hash's key
/// could make two that collide, and nobody does.
const HASHED: usize = 64;

/// Tokens that were believed, with whom they speak for.
#[derive(Debug)]
pub(super) struct Believed(Cache<Token, Entry, Bytes>);

/// A token weighs what it is long.
#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<Token, Entry> for Bytes {
    fn weight(&self, token: &Token, _: &Entry) -> u64 {
        token.0.len() as u64
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Token(Box<str>);

/// A token that is looked for.
struct Sought<'a>(&'a str);

#[derive(Clone, Debug)]
struct Entry {
    /// Of the keys that it was verified with.
    generation: u64,
    identified: Arc<Identified>,
}

impl Default for Believed {
    fn default() -> Self {
        Self(Cache::with_weighter(GUESS, MOST_BYTES, Bytes))
    }
}

impl Believed {
    /// Whom a token speaks for that was verified with the keys of this generation.
    pub(super) fn find(&self, text: &str, generation: u64) -> Option<Arc<Identified>> {
        self.0.get(&Sought(text)).filter(|entry| entry.generation == generation).map(|entry| entry.identified)
    }

    pub(super) fn remember(&self, text: &str, generation: u64, identified: Arc<Identified>) {
        self.0.insert(Token(text.into()), Entry { generation, identified });
    }

    /// Keys have changed.
    pub(super) fn forget(&self) {
        self.0.clear();
    }
}

fn hash_end<H: Hasher>(text: &str, state: &mut H) {
    let bytes = text.as_bytes();
    state.write(&bytes[bytes.len().saturating_sub(HASHED)..]);
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_end(&self.0, state);
    }
}

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_end(self.0, state);
    }
}

impl Equivalent<Token> for Sought<'_> {
    fn equivalent(&self, key: &Token) -> bool {
        self.0 == &*key.0
    }
}

//! Readable names for Tunnels that ask for none: plain words, unlike any id, always the same for one Tunnel.

use sha2::{Digest as _, Sha256};

const QUALITIES: [&str; 32] = [
    "amber", "bold", "brisk", "calm", "clear", "crisp", "dapper", "eager", "early", "fair", "fleet",
    "gentle", "glad", "golden", "grand", "hardy", "honest", "keen", "kind", "lively", "lucky", "merry",
    "mild", "noble", "plain", "proud", "quick", "quiet", "sunny", "swift", "tidy", "warm",
];
const COLOURS: [&str; 16] = [
    "auburn", "azure", "beige", "black", "blue", "copper", "green", "grey", "indigo", "ivory", "olive",
    "red", "rose", "silver", "teal", "white",
];
const ANIMALS: [&str; 32] = [
    "badger", "beaver", "bison", "crane", "deer", "dove", "eagle", "falcon", "ferret", "finch", "fox",
    "hare", "hawk", "heron", "hound", "ibex", "jay", "kestrel", "lark", "lynx", "marten", "mole", "otter",
    "owl", "plover", "raven", "robin", "seal", "stork", "swan", "toad", "wren",
];

/// The label that a Tunnel with this uid would have; another one for each attempt.
pub fn label(uid: &str, attempt: u32) -> String {
    let digest = Sha256::new().chain_update(uid).chain_update(attempt.to_be_bytes()).finalize();
    let pick = |at: usize, words: &[&'static str]| words[usize::from(digest[at]) % words.len()];
    format!("{}-{}-{}", pick(0, &QUALITIES), pick(1, &COLOURS), pick(2, &ANIMALS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_label_is_words_always_the_same_and_rarely_anothers() {
        assert_eq!(label("a", 0), label("a", 0));
        assert_ne!(label("a", 0), label("a", 1));
        let labels: HashSet<String> = (0..200).map(|uid| label(&uid.to_string(), 0)).collect();
        assert!(labels.len() > 190, "{}", labels.len());
        for label in labels {
            assert!(
                label.split('-').count() == 3
                    && label.bytes().all(|it| it == b'-' || it.is_ascii_lowercase())
            );
        }
    }
}

//! How a replica gets on with what it depends on: issuers of tokens and drivers. Its own words, shortened.

use std::collections::BTreeMap;

use portcullis_contract::control;

/// What a replica says of something is cut to this many characters; conditions hold several.
const LONGEST: usize = 600;

/// How a replica gets on with what it depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Issuers of tokens, by kind: `oidc` or `edge`.
    pub issuers: BTreeMap<String, Keys>,
    /// What stands between the replica and a driver, by kind: `compute` or `credentials`. Empty where nothing does.
    pub drivers: BTreeMap<String, String>,
}

/// Whether a replica has an issuer's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// It has; they may be the last good ones.
    pub there: bool,
    /// What went wrong when it asked last; empty where nothing did.
    pub trouble: String,
}

impl From<control::Surroundings> for Surroundings {
    fn from(said: control::Surroundings) -> Self {
        let keys = |issuer: control::Issuer| {
            (issuer.kind, Keys { there: issuer.keys, trouble: shortened(&issuer.trouble) })
        };
        Self {
            issuers: said.issuers.into_iter().map(keys).collect(),
            drivers: said.drivers.into_iter().map(|it| (it.kind, shortened(&it.trouble))).collect(),
        }
    }
}

/// Without a stop at its end: it becomes part of a sentence.
fn shortened(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_says_a_lot_is_cut_short() {
        let issuer = control::Issuer { kind: "oidc".into(), keys: false, trouble: "é".repeat(10_000) };
        let said = control::Surroundings { issuers: vec![issuer], drivers: Vec::new() };
        let heard = Surroundings::from(said);
        assert_eq!(heard.issuers["oidc"].trouble, format!("{}…", "é".repeat(LONGEST)));
    }
}

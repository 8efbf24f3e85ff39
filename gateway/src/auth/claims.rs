//! What the claims of a token say of its bearer's rights. Pure.

use serde_json::{Map, Value};

/// Scopes of OpenID Connect itself, which open nothing here.
const STANDARD_SCOPES: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];

/// Where a claim is: keys from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<String>);

impl Path {
    /// Reads `realm_access.roles`, or `resource_access.my\.app.roles` where a key has a dot of its own.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut keys = vec![String::new()];
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let letter = match letter {
                '.' => {
                    keys.push(String::new());
                    continue;
                }
                '\\' => letters.next().ok_or_else(|| format!("the claim `{text}` ends within an escape"))?,
                letter => letter,
            };
            if let Some(key) = keys.last_mut() {
                key.push(letter);
            }
        }
        if keys.iter().any(String::is_empty) {
            return Err(format!(
                "the claim `{text}` has an empty key; write \\. for a dot that belongs to one"
            ));
        }
        Ok(Self(keys))
    }

    /// What is there.
    pub(crate) fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, key| value.as_object()?.get(key))
    }

    /// The words there: a text's, parted by spaces, or a list's texts.
    pub(crate) fn words(&self, claims: &Map<String, Value>) -> Vec<String> {
        match self.find(claims) {
            Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

/// The scopes there that mean something to a gateway, in order, each once.
pub(crate) fn scopes(path: &Path, claims: &Map<String, Value>) -> Vec<String> {
    let mut scopes = path.words(claims);
    scopes.retain(|scope| !STANDARD_SCOPES.contains(&scope.as_str()));
    scopes.sort();
    scopes.dedup();
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims() -> Map<String, Value> {
        let Value::Object(claims) = json!({
            "groups": ["a", 7, "b"],
            "role": "admin",
            "realm_access": { "roles": ["x"] },
            "my.app": { "roles": "one two" },
            "scope": "openid sandbox:read profile sandbox:read credential:read",
            "scp": ["email", "portcullis:all"],
            "deep": { "deeper": 1 },
        }) else {
            unreachable!()
        };
        claims
    }

    #[test]
    fn a_path_leads_to_texts_and_lists_of_them() {
        for (path, words) in [
            ("groups", vec!["a", "b"]),
            ("role", vec!["admin"]),
            ("realm_access.roles", vec!["x"]),
            (r"my\.app.roles", vec!["one", "two"]),
            ("my.app.roles", vec![]),
            ("realm_access", vec![]),
            ("realm_access.roles.more", vec![]),
            ("deep.deeper", vec![]),
            ("absent.roles", vec![]),
        ] {
            assert_eq!(Path::read(path).unwrap().words(&claims()), words, "{path}");
        }
    }

    #[test]
    fn a_path_with_nothing_between_its_dots_is_refused() {
        for path in ["", ".", "a.", ".a", "a..b", "a\\"] {
            assert!(Path::read(path).is_err(), "{path}");
        }
    }

    #[test]
    fn scopes_come_as_text_or_list_and_those_of_openid_do_not_count() {
        let scopes = |path| scopes(&Path::read(path).unwrap(), &claims());
        assert_eq!(scopes("scope"), ["credential:read", "sandbox:read"]);
        assert_eq!(scopes("scp"), ["portcullis:all"]);
        assert!(scopes("absent").is_empty());
    }
}

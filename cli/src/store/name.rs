//! What a gateway may be called here.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The name of a gateway in the configuration directory: `[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(String);

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name for a gateway: write at most 63 lower-case letters, digits and hyphens, with no hyphen at the ends"
)]
pub struct BadName(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that is nearest to a text, such as a host: `door.example.com` becomes `door-example-com`.
    pub fn near(text: &str) -> Option<Self> {
        let plain: String = text
            .to_ascii_lowercase()
            .chars()
            .map(|it| if it.is_ascii_lowercase() || it.is_ascii_digit() { it } else { '-' })
            .collect();
        let plain: String = plain.trim_matches('-').chars().take(63).collect();
        plain.trim_matches('-').parse().ok()
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let plain = text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
        let fits = (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-');
        if plain && fits { Ok(Self(text.to_owned())) } else { Err(BadName(text.escape_debug().collect())) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label_and_never_leads_out_of_its_folder() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "shop", "a-b", longest.as_str()] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "a-", ".", "..", "a/b", "A", "a.b", "a_b", "a\n", "ä", too_long.as_str()] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_name_nearest_to_a_host_is_one() {
        let near = |text| Name::near(text).map(|name| name.0);
        assert_eq!(near("Door.example.com").as_deref(), Some("door-example-com"));
        assert_eq!(near("[::1]").as_deref(), Some("1"));
        assert_eq!(near("***"), None);
        assert_eq!(near(&format!("{}.b", "a".repeat(62))).as_deref(), Some("a".repeat(62).as_str()));
    }
}

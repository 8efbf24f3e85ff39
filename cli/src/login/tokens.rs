//! What a login leaves, as it is kept in `oidc_token.json`. Fields that OpenShell knows too have its names.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Tokens are renewed this long before they end, in seconds.
pub(super) const EARLY: i64 = 60;

/// Tokens of somebody at a provider. Printing them prints no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// What is shown to the gateway.
    pub access_token: Secret,
    /// What renews it, where the provider gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret>,
    /// Says who it is, and helps the provider to end the right session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<Secret>,
    /// When the access token ends by this machine's clock, in seconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// The provider.
    pub issuer: String,
    /// The client that it was given to.
    pub client_id: String,
    /// The scopes that were given.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// `sub` at the provider; empty where it did not say.
    #[serde(default)]
    pub subject: String,
    /// What a person is called there: for reading, not for deciding.
    #[serde(default)]
    pub account: String,
}

impl Tokens {
    /// Whether the access token can be shown for a while yet.
    pub fn is_fresh(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|end| now < end - EARLY)
    }

    /// Whether the access token holds at all.
    pub fn holds(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Who it is, in a word that is never empty.
    pub fn name(&self) -> &str {
        [&self.account, &self.subject]
            .into_iter()
            .find(|it| !it.is_empty())
            .map_or("somebody", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        serde_json::from_str(
            r#"{"access_token":"a-secret","refresh_token":"r-secret","issuer":"https://idp","client_id":"cli","expires_at":1000}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_token_is_renewed_a_minute_before_its_end_and_holds_until_then() {
        let tokens = tokens();
        assert!(tokens.is_fresh(939) && !tokens.is_fresh(940));
        assert!(tokens.holds(999) && !tokens.holds(1000));
        assert!(Tokens { expires_at: None, ..tokens }.is_fresh(i64::MAX), "one that never says when");
    }

    #[test]
    fn printing_tokens_prints_no_secret() {
        let printed = format!("{:?} {:#?}", tokens(), tokens());
        assert!(!printed.contains("-secret"), "{printed}");
    }

    #[test]
    fn what_is_kept_comes_back_whole() {
        let kept = serde_json::to_string(&tokens()).unwrap();
        assert_eq!(serde_json::from_str::<Tokens>(&kept).unwrap(), tokens());
        assert!(kept.contains("r-secret"));
    }

    #[test]
    fn somebody_has_a_name_whatever_the_provider_said() {
        assert_eq!(tokens().name(), "somebody");
        assert_eq!(Tokens { subject: "42".to_owned(), ..tokens() }.name(), "42");
        assert_eq!(
            Tokens { subject: "42".to_owned(), account: "alice".to_owned(), ..tokens() }.name(),
            "alice"
        );
    }
}

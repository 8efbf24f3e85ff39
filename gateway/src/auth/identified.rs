//! Whom a believed token speaks for: its claims, read by the configuration's mapping into the gateway's own terms. Pure.

use portcullis_contract::rules::Role;
use portcullis_contract::snapshot::Issuer;

use super::claims::{self, Path};
use super::grant::{Grant, Kind};
use super::token::Token;

/// Which claims mean what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    user: Path,
    roles: Option<Path>,
    admin_role: Option<String>,
    user_role: Option<String>,
    scopes: Option<Path>,
}

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identified {
    pub(crate) user: String,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// The last second in which it holds; seconds since the epoch.
    pub(crate) expires_at: i64,
    /// When the token was issued, where it says so; seconds since the epoch.
    pub(crate) issued_at: Option<i64>,
    pub(crate) grant: Grant,
}

impl Mapping {
    /// Of an issuer.
    ///
    /// # Errors
    /// Where a claim's path is none; in words.
    pub(crate) fn of(issuer: &Issuer) -> Result<Self, String> {
        let path = |text: &Option<String>| text.as_deref().map(Path::read).transpose();
        Ok(Self {
            user: Path::read(&issuer.user_claim)?,
            roles: path(&issuer.roles_claim)?,
            admin_role: issuer.admin_role.clone(),
            user_role: issuer.user_role.clone(),
            scopes: path(&issuer.scopes_claim)?,
        })
    }

    /// Whom the token speaks for. Without the claim that names the user, its subject does.
    pub(crate) fn identify(&self, token: &Token, issuer: &str) -> Identified {
        let user =
            self.user.find(&token.claims).and_then(|user| user.as_str()).filter(|user| !user.is_empty());
        Identified {
            user: user.unwrap_or(&token.subject).to_owned(),
            subject: token.subject.clone(),
            issuer: issuer.to_owned(),
            expires_at: token.expires_at,
            issued_at: token.issued_at,
            grant: Grant {
                roles: self.roles(token),
                scopes: self.scopes.as_ref().map(|path| claims::scopes(path, &token.claims)),
                kind: Kind::Token,
            },
        }
    }

    /// The gateway's own roles first. A provider's role becomes one of them only where the configuration says so,
    /// whatever it is called there.
    fn roles(&self, token: &Token) -> Vec<String> {
        let named = self.roles.as_ref().map(|path| path.words(&token.claims)).unwrap_or_default();
        let has = |role: &Option<String>| role.as_ref().is_some_and(|role| named.contains(role));
        let mut roles = Vec::with_capacity(named.len() + 1);
        if has(&self.admin_role) {
            roles.push(Role::Admin.as_str().to_owned());
        }
        if self.user_role.is_none() || has(&self.user_role) {
            roles.push(Role::User.as_str().to_owned());
        }
        for role in named {
            let is_own = [Role::Admin, Role::User].iter().any(|own| own.as_str() == role);
            let is_mapped =
                [&self.admin_role, &self.user_role].into_iter().flatten().any(|mapped| *mapped == role);
            if !is_own && !is_mapped && !roles.contains(&role) {
                roles.push(role);
            }
        }
        roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn issuer() -> Issuer {
        Issuer {
            user_claim: "email".to_owned(),
            roles_claim: Some("realm_access.roles".to_owned()),
            admin_role: Some("door-admin".to_owned()),
            user_role: Some("door-user".to_owned()),
            ..Issuer::of("https://idp.example.com", "door")
        }
    }

    fn identified(issuer: &Issuer, claims: &Value) -> Identified {
        let (subject, claims) = ("s-1".to_owned(), claims.as_object().unwrap().clone());
        let token = Token { subject, expires_at: 200, issued_at: Some(100), claims };
        Mapping::of(issuer).unwrap().identify(&token, &issuer.issuer)
    }

    fn roles(issuer: &Issuer, roles: &[&str]) -> Vec<String> {
        identified(issuer, &json!({ "realm_access": { "roles": roles } })).grant.roles
    }

    #[test]
    fn the_provider_s_roles_become_the_gateway_s_where_the_configuration_says_so() {
        let mapped = issuer();
        assert_eq!(roles(&mapped, &["buyer", "door-user"]), ["user", "buyer"]);
        assert_eq!(roles(&mapped, &["door-admin"]), ["admin"]);
        assert_eq!(
            roles(&mapped, &["admin", "user"]),
            [""; 0],
            "a provider's role of that name means nothing here"
        );
        assert_eq!(roles(&mapped, &[]), [""; 0]);
    }

    #[test]
    fn with_no_roles_configured_everybody_is_a_user_and_nobody_an_admin() {
        let open = Issuer { admin_role: None, user_role: None, ..issuer() };
        assert_eq!(roles(&open, &["admin", "door-admin"]), ["user", "door-admin"]);
        let open = Issuer { roles_claim: None, ..open };
        assert_eq!(roles(&open, &["admin"]), ["user"]);
    }

    #[test]
    fn the_user_is_the_claim_s_or_else_the_subject() {
        assert_eq!(identified(&issuer(), &json!({ "email": "a@b" })).user, "a@b");
        for claims in [json!({}), json!({ "email": "" }), json!({ "email": 7 })] {
            assert_eq!(identified(&issuer(), &claims).user, "s-1");
        }
    }

    #[test]
    fn scopes_hold_a_token_only_where_they_are_configured() {
        let claims = json!({ "scope": "openid sandbox:read" });
        assert_eq!(identified(&issuer(), &claims).grant.scopes, None);
        let scoped = Issuer { scopes_claim: Some("scope".to_owned()), ..issuer() };
        assert_eq!(identified(&scoped, &claims).grant.scopes, Some(vec!["sandbox:read".to_owned()]));
        assert_eq!(identified(&scoped, &json!({})).grant.scopes, Some(Vec::new()));
    }
}

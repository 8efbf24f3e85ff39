//! Whom a request is made for, once that is proved.

use std::sync::Arc;

use http::{HeaderValue, Method};
use portcullis_contract::rules::Rule;
use portcullis_contract::snapshot::Requirement;

use super::grant::{Grant, Missing};
use super::identified::Identified;

/// A proved caller, with the header values that backends are told, made once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) user: String,
    /// Of all that was shown, each once: `user` and `admin` are the gateway's own.
    pub(crate) roles: Vec<String>,
    /// How it was proved, such as `client-certificate+bearer-token`.
    pub(crate) proof: &'static str,
    /// The client certificate, where one was shown.
    pub(crate) certificate: Option<Proved>,
    /// The token that says who is asking, where one was shown.
    pub(crate) token: Option<Arc<Identified>>,
    /// When the first of the evidence ends: its last second, since the epoch.
    pub(crate) expires_at: i64,
    /// What each piece of evidence permits.
    grants: Vec<Grant>,
    /// `X-Portcullis-User`.
    pub(crate) user_header: HeaderValue,
    /// `X-Portcullis-Roles`.
    pub(crate) roles_header: HeaderValue,
}

/// What is told of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proved {
    /// SPIFFE identity, or the URI that somebody else's authority has signed.
    pub(crate) identity: String,
    /// Namespace and name of the tunnel that it is for, where it is a connector's.
    pub(crate) tunnel: Option<(String, String)>,
    pub(crate) serial: String,
    pub(crate) fingerprint: String,
}

/// What a principal is made of.
pub(super) struct Parts {
    pub(super) user: String,
    pub(super) proof: &'static str,
    pub(super) certificate: Option<Proved>,
    pub(super) token: Option<Arc<Identified>>,
    pub(super) expires_at: i64,
    pub(super) grants: Vec<Grant>,
}

impl Principal {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { user, proof, certificate, token, expires_at, grants } = parts;
        let roles = roles_of(grants.iter());
        let (user_header, roles_header) = (user_header(&user), roles_header(&roles));
        Self { user, roles, proof, certificate, token, expires_at, grants, user_header, roles_header }
    }

    /// Whether it may call a method of this rule: any one piece of evidence will do.
    pub(crate) fn allows(&self, rule: &Rule) -> Result<(), Missing> {
        self.any(|grant| grant.allows(rule))
    }

    /// The roles of the evidence that permits a method of this rule, each once. What other evidence says is no right to
    /// call it: a role with too few scopes adds nothing to one with enough.
    pub(crate) fn roles_for(&self, rule: &Rule) -> Vec<String> {
        roles_of(self.grants.iter().filter(|grant| grant.allows(rule).is_ok()))
    }

    /// Whether it may send a request of this HTTP method to a backend that requires these. The first that names the
    /// method counts.
    pub(crate) fn meets(&self, requirements: &[Requirement], method: &Method) -> Result<(), Missing> {
        if requirements.is_empty() {
            return self.any(|grant| grant.meets(&Requirement::default()));
        }
        let names = |requirement: &&Requirement| {
            requirement.methods.is_empty() || requirement.methods.iter().any(|it| it == method.as_str())
        };
        let requirement = requirements.iter().find(names).ok_or(Missing::Everything)?;
        self.any(|grant| grant.meets(requirement))
    }

    fn any(&self, allows: impl Fn(&Grant) -> Result<(), Missing>) -> Result<(), Missing> {
        let mut missing = Missing::Evidence;
        for grant in &self.grants {
            match (allows(grant), &missing) {
                (Ok(()), _) => return Ok(()),
                // A missing scope is nearer to the goal than a missing role.
                (Err(scope @ Missing::Scope(_)), _) => missing = scope,
                (Err(lacks), Missing::Evidence) => missing = lacks,
                (Err(_), _) => {}
            }
        }
        Err(missing)
    }

    /// Its scopes, in order, where every piece of evidence is held to some.
    pub(crate) fn scopes(&self) -> Option<Vec<String>> {
        let scopes: Option<Vec<&Vec<String>>> =
            self.grants.iter().map(|grant| grant.scopes.as_ref()).collect();
        let mut scopes: Vec<String> = scopes?.into_iter().flatten().cloned().collect();
        scopes.sort();
        scopes.dedup();
        Some(scopes)
    }
}

/// Each once, in order.
fn roles_of<'a>(grants: impl Iterator<Item = &'a Grant>) -> Vec<String> {
    let mut roles: Vec<String> = Vec::new();
    for role in grants.flat_map(|grant| &grant.roles) {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    roles
}

/// The value of `X-Portcullis-User`.
fn user_header(user: &str) -> HeaderValue {
    value(encode(user))
}

/// The value of `X-Portcullis-Roles`: comma-separated, in order.
fn roles_header(roles: &[String]) -> HeaderValue {
    value(roles.iter().map(|role| encode(role)).collect::<Vec<_>>().join(","))
}

fn value(text: String) -> HeaderValue {
    // `encode` leaves visible ASCII only, so that this cannot fail; an empty value grants nothing if it ever does.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Percent-encodes what a header field or a list cannot carry: all but visible ASCII, and `%` and `,` themselves.
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b',') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::super::grant::Kind;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        assert_eq!(user_header("ci@shop"), "ci@shop");
        assert_eq!(roles_header(&["user".into(), "admin".into()]), "user,admin");
    }

    #[test]
    fn a_role_whose_evidence_has_too_few_scopes_adds_nothing_to_one_with_enough() {
        let grant = |role: &str, scopes: &[&str]| Grant {
            roles: vec![role.to_owned(), "buyer".to_owned()],
            scopes: Some(scopes.iter().map(ToString::to_string).collect()),
            kind: Kind::Token,
        };
        let principal = Principal::new(Parts {
            user: "alice".to_owned(),
            proof: "client-certificate+bearer-token",
            certificate: None,
            token: None,
            expires_at: 0,
            grants: vec![grant("admin", &["sandbox:read"]), grant("user", &["tunnel:read"])],
        });
        let rule = |scope| Rule {
            evidence: portcullis_contract::rules::Evidence::Bearer,
            role: Some(portcullis_contract::rules::Role::User),
            scope: portcullis_contract::rules::Scope::Named(scope),
        };
        assert_eq!(principal.roles_for(&rule("tunnel:read")), ["user", "buyer"]);
        assert_eq!(principal.roles_for(&rule("sandbox:read")), ["admin", "buyer"]);
        assert!(principal.roles_for(&rule("tunnel:write")).is_empty());
    }

    #[test]
    fn a_line_break_a_comma_and_letters_beyond_ascii_are_encoded() {
        assert_eq!(user_header("zoë\r\nX-Evil: 1"), "zo%C3%AB%0D%0AX-Evil:%201");
        assert_eq!(roles_header(&["a,b".into(), "100%".into()]), "a%2Cb,100%25");
    }

    proptest! {
        #[test]
        fn every_name_makes_a_header_value(user in ".*", roles in proptest::collection::vec(".*", 0..4)) {
            prop_assert!(user_header(&user).to_str().is_ok());
            let header = roles_header(&roles);
            let commas = header.to_str().unwrap().matches(',').count();
            prop_assert_eq!(commas, roles.len().saturating_sub(1));
        }
    }
}

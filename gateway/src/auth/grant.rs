//! What one piece of evidence permits. A caller with several may do what any one of them permits, so that leaving one
//! away never widens rights.

use portcullis_contract::rules::{ALL_SCOPES, Evidence, Role, Rule, Scope};
use portcullis_contract::snapshot::Requirement;

/// What one piece of evidence permits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// `user` and `admin` are the gateway's own.
    pub(crate) roles: Vec<String>,
    /// What it is held to; None: it is held to nothing.
    pub(crate) scopes: Option<Vec<String>>,
    /// What it is of.
    pub(crate) kind: Kind,
}

/// What a piece of evidence is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A token.
    #[default]
    Token,
    /// A client certificate that the gateway's own authority has signed.
    Certificate,
    /// One of another authority, which renews it too.
    Foreign,
    /// A connector's credential, and nobody's who asks.
    Connector,
}

/// What a caller lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Evidence of another kind.
    Evidence,
    /// This role.
    Role(String),
    /// This scope.
    Scope(String),
    /// Nobody may do this.
    Everything,
}

impl Grant {
    /// An admin is a user too.
    fn has_role(&self, role: &str) -> bool {
        let is_user = role == Role::User.as_str();
        self.roles.iter().any(|has| has == role || (is_user && has == Role::Admin.as_str()))
    }

    fn has_scope(&self, scope: &str) -> bool {
        let Some(scopes) = &self.scopes else { return true };
        scopes.iter().any(|has| has == scope || has == ALL_SCOPES)
    }

    /// Whether a method of this rule may be called.
    pub(crate) fn allows(&self, rule: &Rule) -> Result<(), Missing> {
        let is_right_kind = match rule.evidence {
            Evidence::Unauthenticated | Evidence::Dual => true,
            Evidence::Bearer => self.kind != Kind::Connector,
            Evidence::Connector => self.kind == Kind::Connector,
            Evidence::Certificate => self.kind == Kind::Certificate,
        };
        if !is_right_kind {
            return Err(Missing::Evidence);
        }
        let scope = match rule.scope {
            Scope::Any => None,
            Scope::All => Some(ALL_SCOPES),
            Scope::Named(scope) => Some(scope),
        };
        self.has(rule.role.map(Role::as_str), scope.into_iter())
    }

    /// Whether a backend that requires this may be reached.
    pub(crate) fn meets(&self, requirement: &Requirement) -> Result<(), Missing> {
        if self.kind == Kind::Connector {
            return Err(Missing::Evidence);
        }
        self.has(requirement.role.as_deref(), requirement.scopes.iter().map(String::as_str))
    }

    fn has<'a>(&self, role: Option<&str>, mut scopes: impl Iterator<Item = &'a str>) -> Result<(), Missing> {
        if let Some(role) = role.filter(|role| !self.has_role(role)) {
            return Err(Missing::Role(role.to_owned()));
        }
        match scopes.find(|scope| !self.has_scope(scope)) {
            Some(scope) => Err(Missing::Scope(scope.to_owned())),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Evidence => f.write_str("evidence of another kind"),
            Self::Role(role) => write!(f, "the role {role}"),
            Self::Scope(scope) => write!(f, "the scope {scope}"),
            Self::Everything => f.write_str("a rule that lets anybody in"),
        }
    }
}

//! Who may call which method of the gateway's API: the protobuf options of `proto/portcullis/gateway/v1/`, as a table.

/// A method with its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// As in a request, such as `/portcullis.gateway.v1.Gateway/WhoAmI`.
    pub path: &'static str,
    /// None: nobody may call it.
    pub rule: Option<Rule>,
}

/// What a caller needs; all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What was shown.
    pub evidence: Evidence,
    /// The least role; None: none is needed.
    pub role: Option<Role>,
    /// The scope, where scopes are enforced.
    pub scope: Scope,
}

/// In words, such as `role admin, scope credential:read`.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.evidence {
            Evidence::Unauthenticated => return f.write_str("anybody"),
            Evidence::Bearer => "whoever is known",
            Evidence::Connector => "connectors",
            Evidence::Dual => "whoever is known, and connectors",
            Evidence::Certificate => "whoever shows a client certificate",
        })?;
        if let Some(role) = self.role {
            write!(f, ", role {}", role.as_str())?;
        }
        match self.scope {
            Scope::Any => Ok(()),
            Scope::All => write!(f, ", scope {ALL_SCOPES}"),
            Scope::Named(scope) => write!(f, ", scope {scope}"),
        }
    }
}

/// What a caller must have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing.
    Unauthenticated,
    /// A client certificate, a bearer token or an edge's token.
    Bearer,
    /// A connector's credential.
    Connector,
    /// Either of the two.
    Dual,
    /// A client certificate; what else is shown permits nothing.
    Certificate,
}

/// The gateway's own roles, the lesser first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Uses what the gateway offers.
    User,
    /// May do what a user may, and more.
    Admin,
}

impl Role {
    /// The role's name, as backends are told and as `spec.clients[].roles` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

/// The scope that a method needs, where scopes are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None.
    Any,
    /// [`ALL_SCOPES`].
    All,
    /// This one, or [`ALL_SCOPES`].
    Named(&'static str),
}

/// The scope that stands for every other.
pub const ALL_SCOPES: &str = "portcullis:all";

/// Every method of `portcullis.gateway.v1`.
pub const METHODS: &[Method] = include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// Services that others have defined and the gateway answers too.
pub const FOREIGN_METHODS: &[Method] = &[
    Method { path: "/grpc.health.v1.Health/Check", rule: Some(OPEN) },
    Method { path: "/grpc.health.v1.Health/Watch", rule: Some(OPEN) },
    Method { path: "/grpc.health.v1.Health/List", rule: Some(OPEN) },
    Method { path: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", rule: Some(IDENTIFIED) },
    Method { path: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", rule: Some(IDENTIFIED) },
];

const OPEN: Rule = Rule { evidence: Evidence::Unauthenticated, role: None, scope: Scope::Any };
const IDENTIFIED: Rule = Rule { evidence: Evidence::Bearer, role: None, scope: Scope::Any };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_rule() {
        let without: Vec<_> = METHODS.iter().filter(|method| method.rule.is_none()).collect();
        assert!(
            without.is_empty(),
            "write `option (rule)` beside these, or nobody can call them: {without:?}"
        );
        assert!(METHODS.len() >= 10, "the table was not read from the descriptors: {METHODS:?}");
    }

    #[test]
    fn what_answers_whoever_comes_answers_health_alone() {
        for method in METHODS.iter().chain(FOREIGN_METHODS) {
            let open = method.rule.is_some_and(|rule| rule.evidence == Evidence::Unauthenticated);
            assert_eq!(open, method.path.starts_with("/grpc.health.v1.Health/"), "{}", method.path);
        }
    }
}

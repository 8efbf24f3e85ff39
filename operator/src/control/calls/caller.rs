//! Who is asking, as the replica has proved it, and what follows from that alone. Pure. Nothing in a request's body says
//! who is asking or whose something is.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::ResourceExt as _;
use portcullis_api::Tunnel;
use portcullis_contract::control;
use portcullis_contract::rules::Role;
use tonic::Code;

use super::refused::{Refused, refused};
use crate::names;

/// Bytes of a user's name, which is written into Tunnels.
const LONGEST: usize = 1024;
/// Names that Kubernetes keeps for itself: no provider of tokens makes somebody one of these.
const RESERVED: &str = "system:";
/// The group that every known user is in.
const AUTHENTICATED: &str = "system:authenticated";

/// What somebody wants to do with Tunnels; RBAC's verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Get,
    Create,
    Update,
    Delete,
    Watch,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Watch => "watch",
        }
    }
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) user: String,
    roles: Vec<String>,
}

impl Caller {
    /// Somebody without a name owns nothing and is nobody to the API server.
    pub(super) fn of(said: Option<control::Caller>) -> Result<Self, Refused> {
        let said = said.unwrap_or_default();
        if said.user.is_empty() || said.user.len() > LONGEST {
            return refused(
                Code::PermissionDenied,
                format!("the evidence names no user of at most {LONGEST} bytes: see spec.oidc.userClaim"),
            );
        }
        Ok(Self { user: said.user, roles: said.roles })
    }

    /// Whether the Gateway's own roles make it an admin.
    pub(super) fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == Role::Admin.as_str())
    }

    /// By the Gateway's own roles: an admin manages all Tunnels, a user those that it created.
    pub(super) fn manages(&self, tunnel: &Tunnel) -> bool {
        self.is_admin() || self.created(tunnel)
    }

    pub(super) fn created(&self, tunnel: &Tunnel) -> bool {
        tunnel.annotations().get(names::CREATED_BY) == Some(&self.user)
    }

    /// What the API server is asked; without a namespace, of all of them.
    pub(super) fn review(
        &self,
        verb: Verb,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<SubjectAccessReview, Refused> {
        if self.user.starts_with(RESERVED) {
            return refused(
                Code::PermissionDenied,
                format!("a user whose name begins with {RESERVED} is nobody here"),
            );
        }
        let attributes = ResourceAttributes {
            group: Some("portcullis.dev".to_owned()),
            version: Some("v1alpha1".to_owned()),
            resource: Some("tunnels".to_owned()),
            verb: Some(verb.as_str().to_owned()),
            namespace: namespace.map(ToOwned::to_owned),
            name: name.map(ToOwned::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(self.user.clone()),
            groups: Some(self.groups().chain([AUTHENTICATED.to_owned()]).collect()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        Ok(SubjectAccessReview { spec, ..SubjectAccessReview::default() })
    }

    /// What somebody reads whom the API server does not let.
    pub(super) fn denied(&self, verb: Verb, namespace: &str) -> Refused {
        let groups: Vec<String> = self.groups().collect();
        let or =
            if groups.is_empty() { String::new() } else { format!(" or a group of {}", groups.join(", ")) };
        let message = format!(
            "{} may not {} tunnels.portcullis.dev in the namespace {namespace}: have a RoleBinding made that lets that user{or}",
            self.user,
            verb.as_str(),
        );
        Refused { code: Code::PermissionDenied, message }
    }

    fn groups(&self) -> impl Iterator<Item = String> {
        self.roles.iter().filter(|role| !role.starts_with(RESERVED)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(user: &str, roles: &[&str]) -> Result<Caller, Refused> {
        let roles = roles.iter().map(ToString::to_string).collect();
        Caller::of(Some(control::Caller { user: user.to_owned(), roles, ..control::Caller::default() }))
    }

    fn tunnel(created_by: Option<&str>) -> Tunnel {
        let mut tunnel = Tunnel::new("web", portcullis_api::TunnelSpec::default());
        let annotations = created_by.map(|user| [(names::CREATED_BY.to_owned(), user.to_owned())].into());
        tunnel.metadata.annotations = annotations;
        tunnel
    }

    #[test]
    fn a_user_manages_what_it_created_and_nothing_else_and_an_admin_everything() {
        let (alice, admin) = (caller("alice", &["user"]).unwrap(), caller("root", &["admin"]).unwrap());
        for (by, manages) in [(Some("alice"), true), (Some("bob"), false), (Some(""), false), (None, false)] {
            assert_eq!(alice.manages(&tunnel(by)), manages, "{by:?}");
            assert!(admin.manages(&tunnel(by)), "{by:?}");
        }
        // A role of somebody else's that sounds alike is none.
        assert!(!caller("bob", &["Admin", "administrator"]).unwrap().is_admin());
    }

    #[test]
    fn nobody_without_a_name_asks() {
        for user in ["", &"x".repeat(LONGEST + 1)] {
            assert_eq!(caller(user, &["admin"]).unwrap_err().code, Code::PermissionDenied);
        }
        assert!(Caller::of(None).is_err());
    }

    #[test]
    fn nobody_becomes_one_of_kubernetes_own_by_a_token() {
        let alice = caller("alice", &["user", "system:masters", "buyers"]).unwrap();
        let asked = alice.review(Verb::Delete, Some("shop"), Some("web")).unwrap().spec;
        assert_eq!(asked.user.as_deref(), Some("alice"));
        assert_eq!(asked.groups.unwrap(), ["user", "buyers", "system:authenticated"]);
        let attributes = asked.resource_attributes.unwrap();
        assert_eq!(
            [attributes.verb, attributes.group, attributes.resource, attributes.namespace, attributes.name]
                .map(Option::unwrap),
            ["delete", "portcullis.dev", "tunnels", "shop", "web"]
        );
        let admin = caller("system:admin", &["admin"]).unwrap();
        assert_eq!(admin.review(Verb::Get, None, None).unwrap_err().code, Code::PermissionDenied);
        assert!(!alice.denied(Verb::Get, "shop").message.contains("system:"));
    }
}

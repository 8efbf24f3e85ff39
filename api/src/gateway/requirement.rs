//! Who may reach a backend.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issuer::{ROLE, SCOPES};

/// Whether callers of a backend must say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackendAuth {
    /// They must.
    #[default]
    Required,
    /// They may; whoever shows something invalid is denied all the same.
    Optional,
    /// Nobody is looked at, and the backend is told of nobody.
    None,
}

/// What callers of a backend need, for some methods or for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// HTTP methods that it is for, such as GET. Without any: all of them. gRPC calls are POST.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 20)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(m, m.matches('^[A-Z]+(-[A-Z]+)*$'))").message("methods are HTTP methods in upper case, such as GET, HEAD or POST; leave them out for all"))]
    pub methods: Vec<String>,

    /// A role that callers need: user, admin (who is a user too), or another of theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(ROLE).message("role is a role without blanks around it, such as admin; leave it out if none is needed"))]
    pub role: Option<String>,

    /// Scopes that callers need, all of them; portcullis:all has every one. Callers whose scopes are not enforced
    /// need none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(SCOPES).message("a scope is a word such as orders:read: one a line, without blanks, quotes, brackets and backslashes"))]
    pub scopes: Vec<String>,
}

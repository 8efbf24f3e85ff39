//! What every issuer of tokens has: rights in its claims, roots that its certificate is checked against, and rules that
//! its values must keep.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// An issuer's URL: https, or http on this very machine; without query and fragment.
pub(super) const ISSUER: &str = r"self.matches('^(https://[A-Za-z0-9.:_~\\[\\]-]+|http://(localhost|127[.]0[.]0[.]1|\\[::1\\])(:[0-9]{1,5})?)(/[!-~]*)?$') && isURL(self) && !self.contains('?') && !self.contains('#')";
/// An audience, or the id of a client.
pub(super) const WORD: &str = "self.matches('^[!-~]+$')";
/// Path of a claim: keys with dots between them, none of them empty.
pub(super) const CLAIM: &str = r"self.matches(r'^([^.\\]|\\.)+([.]([^.\\]|\\.)+)*$')";
/// A role: anything that has no blanks around it.
pub(super) const ROLE: &str = "self.size() > 0 && self.trim() == self";
/// A scope (RFC 6749, 3.3), without brackets and backslashes.
pub(super) const SCOPES: &str = "self.all(s, s.matches('^[!#-Z^-~]+$'))";
/// How far clocks may disagree.
pub(super) const SKEW: &str = "self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && duration(self) <= duration('60s')";
/// Roles are found in a claim.
pub(super) const ROLES_NEED_A_CLAIM: &str =
    "(!has(self.adminRole) && !has(self.userRole)) || has(self.rolesClaim)";
/// What a role that is given must differ from.
pub(super) const ROLES_DIFFER: &str =
    "!has(self.adminRole) || !has(self.userRole) || self.adminRole != self.userRole";

/// Which rights a token gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Roles {
    /// Path of the claim with the roles, such as groups or realm_access.roles; `\.` is a dot that belongs to a key.
    /// Without it tokens bring no roles of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(CLAIM).message(r"rolesClaim is the path of a claim, its keys parted by dots, such as groups or realm_access.roles; write \. for a dot that belongs to a key"))]
    pub roles_claim: Option<String>,

    /// The role of the tokens that makes a caller admin. Without it no token does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(ROLE).message("adminRole is a role as the tokens have it, without blanks around it, such as door-admin; leave it out if no token is to make an admin"))]
    pub admin_role: Option<String>,

    /// The role of the tokens that makes a caller user. Without it every valid token does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(ROLE).message("userRole is a role as the tokens have it, without blanks around it, such as door-user; leave it out if every valid token is to make a user"))]
    pub user_role: Option<String>,
}

/// A key of a ConfigMap in the Gateway's namespace, with the roots that an issuer's TLS certificate is checked against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundleRef {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("caBundleRef.name is the name of a ConfigMap in the Gateway's own namespace, such as company-roots"))]
    pub name: String,
    /// The key with the certificates, PEM.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("caBundleRef.key is a key of the ConfigMap, such as ca.crt"))]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}

//! Who may visit a Tunnel's names.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::requirement::Requirement;

/// Who may visit. All of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.auth == 'Required' || !has(self.requires)").message("requires needs auth: Required; of visitors whom nobody knows, nothing can be required"))]
pub struct TunnelAccess {
    /// Whether visitors must say who they are: with a bearer token of the Gateway's spec.oidc, or at the edge in front.
    #[serde(default)]
    pub auth: VisitorAuth,

    /// What visitors need beyond that: the first that names the request's method counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub requires: Vec<Requirement>,

    /// HTTP methods that are let through, such as GET. Without any: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 20)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(m, m.matches('^[A-Z]+(-[A-Z]+)*$'))").message("methods are HTTP methods in upper case, such as GET, HEAD or POST; leave them out for all"))]
    pub methods: Vec<String>,

    /// Paths that are let through, with all below them, by whole segments. Without any: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 512)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(p, p.startsWith('/'))").message("a path prefix begins with /, such as /api"))]
    pub path_prefixes: Vec<String>,

    /// Networks that visitors may come from. Without any: from everywhere.
    #[serde(default, rename = "sourceCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 50)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))").message("sourceCIDRs are networks such as 10.0.0.0/8 or 2001:db8::/32"))]
    pub source_cidrs: Vec<String>,

    /// How many requests each replica of the Gateway lets through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// Whether visitors must say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VisitorAuth {
    /// They must.
    #[default]
    Required,
    /// The service is public.
    None,
}

/// How many requests are let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Each second, on average.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_second: i64,
    /// At once, after a quiet time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: i64,
}

//! Public names of a Gateway, for services elsewhere.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets Tunnels answer on public names of this Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tunnels {
    /// Names below this one are public: no client certificate is asked for there.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[^*/:@ ]+$') && self.contains('.')").message("domain is a DNS name such as tunnels.example.com, without https:// and *"))]
    pub domain: String,

    /// A Secret of this namespace with the certificate for *.DOMAIN (tls.crt, tls.key; ca.crt where its root is no public
    /// one). Without it, the Gateway's own authority certifies the public names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ref: Option<SecretRef>,

    /// Whose Tunnels are accepted.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,

    /// How many Tunnels are accepted; the oldest.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_tunnels: i32,

    /// How many Tunnels one user may have created through the Gateway's API. Without it, as many as maxTunnels leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_tunnels_per_user: Option<i32>,

    /// Who says what callers of the Gateway's API may do with Tunnels.
    #[serde(default)]
    pub authorization: Authorization,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self {
            domain: String::new(),
            certificate_ref: None,
            allowed_namespaces: AllowedNamespaces::default(),
            max_tunnels: thousand(),
            max_tunnels_per_user: None,
            authorization: Authorization::default(),
        }
    }
}

/// Names a Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("name is a Secret's name, such as tunnels-example-com"))]
    pub name: String,
}

/// Whose Tunnels are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AllowedNamespaces {
    /// Which namespaces.
    #[serde(default)]
    pub from: NamespacesFrom,
}

/// Which namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The Gateway's own.
    #[default]
    Same,
    /// Every one.
    All,
}

/// Who says what callers of the Gateway's API may do with Tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Authorization {
    /// The Gateway's roles: user manages the Tunnels that it created, admin all of them.
    #[default]
    Gateway,
    /// The API server: a caller is the user of that name with its roles as groups, and may do what RBAC lets that user do
    /// with tunnels.portcullis.dev. Names that begin with system: are nobody's.
    Kubernetes,
}

fn thousand() -> i32 {
    1000
}

//! Public names of a Gateway, for services elsewhere.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets Tunnels answer on public names of this Gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
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

    /// Ports that Tunnels of protocol TCP may have, each a port or a range. Those that a Tunnel holds are ports of the
    /// Gateway's Service. Without any: no Tunnel of protocol TCP is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 4, max = 11)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(p, p.matches('^[0-9]{4,5}(-[0-9]{4,5})?$') && int(p.split('-')[0]) >= 1024 && int(p.split('-')[0]) <= int(p.split('-')[p.split('-').size() - 1]) && int(p.split('-')[p.split('-').size() - 1]) <= 65535)").message("ports are ports between 1024 and 65535, or ranges of them, such as 20000 or 20000-20100"))]
    pub ports: Vec<String>,

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
            ports: Vec::new(),
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("selector and from: Selector need each other: write the labels of the namespaces, such as selector: {matchLabels: {team: shop}}"))]
pub struct AllowedNamespaces {
    /// Which namespaces.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels of the namespaces, with from: Selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The Gateway's own.
    #[default]
    Same,
    /// Every one.
    All,
    /// Those whose labels selector selects.
    Selector,
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

//! A connector that the operator runs in this cluster.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::gateway::any_object;

/// A connector that the operator runs in this cluster, in the Tunnel's namespace, with a certificate for exactly this
/// Tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connector {
    /// How many pods share the load.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,

    /// The connector's image. Without it, the one that came with the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.size() > 0 && self.size() <= 512 && !self.contains(' ')").message("image is a container image such as registry.example.com/portcullis:0.1.0; leave it out for the operator's own"))]
    pub image: Option<String>,

    /// What each pod may use: requests and limits, as a container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub resources: Option<Value>,
}

impl Default for Connector {
    fn default() -> Self {
        Self { replicas: two(), image: None, resources: None }
    }
}

fn two() -> i32 {
    2
}

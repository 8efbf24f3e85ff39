//! The Service in front of the replicas.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service in front of the replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.ipFamilies) || self.ipFamilies.size() < 2 || (has(self.ipFamilyPolicy) && self.ipFamilyPolicy != 'SingleStack')")
        .message("two ipFamilies need ipFamilyPolicy: PreferDualStack or RequireDualStack"),
    validation = Rule::new("!has(self.ipFamilies) || self.ipFamilies.size() < 2 || self.ipFamilies[0] != self.ipFamilies[1]")
        .message("ipFamilies are IPv4, IPv6 or both, each once")
)]
pub struct Service {
    /// How far it reaches.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// The port that callers use.
    #[serde(default = "https")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Annotations for load balancers and DNS controllers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether it has an address of one IP family or of both. Left out: what the cluster prefers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,
    /// Of which IP families its addresses are, the first one first, which stays what it is for as long as the Service is
    /// there. Left out: what the cluster prefers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub ip_families: Vec<IpFamily>,
}

/// How many IP families a Service has addresses of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpFamilyPolicy {
    /// One.
    SingleStack,
    /// Both where the cluster has both, else the one that it has.
    PreferDualStack,
    /// Both; a cluster that has one alone refuses the Service.
    RequireDualStack,
}

impl IpFamilyPolicy {
    /// The policy's name in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SingleStack => "SingleStack",
            Self::PreferDualStack => "PreferDualStack",
            Self::RequireDualStack => "RequireDualStack",
        }
    }
}

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpFamily {
    /// Addresses such as 192.0.2.1.
    IPv4,
    /// Addresses such as 2001:db8::1.
    IPv6,
}

impl IpFamily {
    /// The family's name in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self {
            type_: ServiceType::default(),
            port: https(),
            annotations: BTreeMap::new(),
            ip_family_policy: None,
            ip_families: Vec::new(),
        }
    }
}

/// How far a Service reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Inside the cluster.
    #[default]
    ClusterIP,
    /// And on a port of every node.
    NodePort,
    /// And through the cloud's load balancer.
    LoadBalancer,
}

impl ServiceType {
    /// The type's name in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

fn https() -> i32 {
    443
}

//! Programs beside the gateway that it asks over Unix sockets.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::any_object;

/// The drivers of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.compute) || !has(self.compute.sidecar) || !has(self.compute.socketPath) || self.compute.socketPath.startsWith('/run/portcullis/compute/')")
        .message("a compute sidecar shares /run/portcullis/compute with the gateway: write a socketPath below it, such as /run/portcullis/compute/driver.sock, or leave it out"),
    validation = Rule::new("!has(self.credentials) || !has(self.credentials.sidecar) || !has(self.credentials.socketPath) || self.credentials.socketPath.startsWith('/run/portcullis/credentials/')")
        .message("a credentials sidecar shares /run/portcullis/credentials with the gateway: write a socketPath below it, such as /run/portcullis/credentials/driver.sock, or leave it out")
)]
pub struct Drivers {
    /// Runs sandboxes: serves `portcullis.driver.compute.v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Driver>,

    /// Holds credentials: serves `portcullis.driver.credentials.v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Driver>,
}

/// A driver: a container that Portcullis puts beside the gateway, or a socket that podTemplate brings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.sidecar) || has(self.socketPath)")
        .message("a driver needs sidecar (a container with image), or socketPath (a socket that podTemplate mounts into the container gateway)")
)]
pub struct Driver {
    /// The container that serves it. It finds the path of the socket that it must open in PORTCULLIS_DRIVER_SOCKET. The
    /// gateway connects as user 65532: run the driver as that user too, or make the socket writable for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,

    /// Path of its Unix socket in the container gateway. With a sidecar, /run/portcullis/KIND/driver.sock unless this
    /// says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 107))]
    #[x_kube(validation = Rule::new("self.matches('^(/[A-Za-z0-9._~-]+)+$') && !self.matches('/[.][.]?(/|$)')").message("socketPath is the absolute path of a Unix socket, without '..', such as /run/vault/driver.sock"))]
    pub socket_path: Option<String>,
}

/// A container beside the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// The container's image.
    #[x_kube(validation = Rule::new("self.size() > 0 && self.size() <= 512 && !self.contains(' ')").message("image is a container image such as registry.example.com/compute-driver:0.1.0"))]
    pub image: String,

    /// Its arguments; $(PORTCULLIS_DRIVER_SOCKET) stands for the socket's path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub args: Vec<String>,

    /// Its environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,

    /// What it may use: requests and limits, as a container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub resources: Option<Value>,

    /// A container's securityContext. What it leaves out is as Pod Security "restricted" wants it: no escalation of
    /// privileges, no capabilities, a read-only root file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub security_context: Option<Value>,
}

/// A variable of a container's environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.value) || !has(self.valueFrom)")
        .message("a variable has value, or valueFrom, and not both")
)]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self != 'PORTCULLIS_DRIVER_SOCKET'").message("PORTCULLIS_DRIVER_SOCKET is set by Portcullis: write socketPath to change it"))]
    pub name: String,

    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,

    /// Where its value comes from, as a container's: secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub value_from: Option<Value>,
}

//! What somebody who helps needs to see of a cluster, in one file: read with the caller's own kubeconfig, scrubbed, packed.
//!
//! Nothing leaves this machine, and what may not be read is left out and said. What must not live here: what is printed
//! ([`crate::commands`]).

mod archive;
mod broken;
mod cluster;
mod gather;
mod logs;
mod scrub;
mod secrets;

use std::collections::BTreeMap;

use serde::Serialize;

pub use broken::Broken;
pub use gather::gather;

/// The bounds of what is gathered.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Namespaces that are looked at, beside the operator's; without them, all that have a Gateway or a Tunnel.
    pub namespace: Option<String>,
    /// Where the operator is.
    pub operator: String,
    /// How many lines of each container's log.
    pub lines: i64,
    /// How long a call to the API server may take.
    pub timeout: std::time::Duration,
}

/// What was gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Paths and texts, scrubbed already.
    files: BTreeMap<String, String>,
    /// Conditions and containers that are not as they should be.
    pub broken: Vec<Broken>,
    /// What could not be read, and why.
    pub missing: Vec<String>,
    /// How many Gateways and Tunnels there are.
    pub counts: Counts,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Gateways.
    pub gateways: usize,
    /// Tunnels.
    pub tunnels: usize,
    /// Pods of Gateways, connectors and the operator.
    pub pods: usize,
}

impl Gathered {
    /// All of it as a `.tar.gz`, below a folder of this name.
    ///
    /// # Errors
    /// Where it cannot be packed.
    pub fn packed(&self, folder: &str, now: i64) -> std::io::Result<Vec<u8>> {
        archive::packed(&self.files, folder, now)
    }
}

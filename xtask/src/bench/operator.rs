//! `cargo xtask bench operator`: the operator with a thousand Gateways at once, and ten thousand in the end, against a
//! client that makes the same writes and thinks nothing.
//!
//! What makes it fair: each side gets an API server of its own, fresh for each round, whose first Gateway the operator
//! has made already. The plain client applies the very objects that the operator has made for that one, with other
//! names, by the same verbs and with as many requests at a time as the operator has workers. Both are over when a watch
//! has seen the last Gateway's certificates.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{Bench, Contest, Measure, Side, Target};
use crate::cluster::{Cluster, Extent};
use crate::images::{self, Profile};
use crate::{command, say};

/// The operator against the API server's own floor.
pub(super) struct Operator;

const MEASURES: &[Measure] = &[
    Measure { name: "1,000 Gateways at once", unit: "s", target: Target::RatioAtMost(1.2) },
    Measure { name: "clients' CPU per Gateway", unit: "ms", target: Target::None },
    Measure { name: "writes per Gateway", unit: "", target: Target::AtMost(11.0) },
    Measure { name: "writes after a restart, 1,000", unit: "", target: Target::AtMost(0.0) },
    Measure { name: "writes after a restart, 10,000", unit: "", target: Target::AtMost(0.0) },
    Measure { name: "memory at its peak, 1,000", unit: "MB", target: Target::AtMost(200.0) },
    Measure { name: "memory afterwards, 1,000", unit: "MB", target: Target::None },
    Measure { name: "memory at its peak, 10,000", unit: "MB", target: Target::AtMost(200.0) },
    Measure { name: "memory afterwards, 10,000", unit: "MB", target: Target::None },
    Measure { name: "new Gateway, idle", unit: "ms", target: Target::None },
    Measure { name: "new Gateway, in a resync of 1,000", unit: "x idle", target: Target::AtMost(2.0) },
    Measure { name: "new Gateway, in a resync of 10,000", unit: "x idle", target: Target::AtMost(2.0) },
];

/// What the program calls the figures, in the order of the rows.
const FIGURES: [&str; 12] = [
    "seconds",
    "processorMs",
    "writes",
    "restartWrites",
    "largeRestartWrites",
    "memoryPeak",
    "memory",
    "largeMemoryPeak",
    "largeMemory",
    "idleMs",
    "resyncRatio",
    "largeResyncRatio",
];

/// The cluster's name.
const CLUSTER: &str = "bench-operator";
/// How many Gateways there are in the end, in the first round; building them up takes minutes.
const LARGE: &str = "10000";

impl Bench for Operator {
    fn name(&self) -> &'static str {
        "operator"
    }

    fn measures(&self) -> &'static [Measure] {
        MEASURES
    }

    fn prepare(&self) -> Result<Box<dyn Contest>> {
        let operator = images::compiled(Profile::Dist, &["portcullis-operator"])?.join("portcullis-operator");
        let program = images::compiled(Profile::Release, &["portcullis-bench"])?.join("bench-operator");
        Ok(Box::new(Course { cluster: Cluster::named(CLUSTER)?, operator, program, large: true }))
    }
}

/// Where it is run.
struct Course {
    cluster: Cluster,
    operator: PathBuf,
    program: PathBuf,
    /// Whether the large measures are still to be taken.
    large: bool,
}

impl Contest for Course {
    fn round(&mut self, side: Side) -> Result<Vec<(&'static str, f64)>> {
        self.cluster.down()?;
        self.cluster.up(Extent::ApiOnly)?;
        let mut program = self.cluster.command(&self.program)?;
        match side {
            Side::Ours => program.arg("ours"),
            Side::Peer => program.arg("floor"),
        };
        program.arg("--operator").arg(&self.operator);
        if side == Side::Ours && std::mem::take(&mut self.large) {
            program.args(["--large", LARGE]);
        }
        let told = command::output(&mut program)?;
        let figures: BTreeMap<String, f64> =
            serde_json::from_str(&told).with_context(|| format!("the program told no figures: {told}"))?;
        let known = MEASURES.iter().zip(FIGURES);
        Ok(known.filter_map(|(measure, figure)| Some((measure.name, *figures.get(figure)?))).collect())
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.down() {
            say::note(format!("error: {error:#}"));
        }
    }
}

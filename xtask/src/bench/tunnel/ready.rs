//! `cargo xtask bench ready`: Tunnels that are created one after the other, several at a time, each with a connector that
//! waits for it: how long until a visitor is answered, and how often `Ready` came before that. On a cluster of this machine
//! with a node. Nobody else does this in a way to compare with: figures are told, and one of them must be nothing.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::bench::gateway::folder::Folder;
use crate::bench::gateway::stage::{NAMESPACE, Stage};
use crate::bench::gateway::told;
use crate::bench::{Bench, Contest, Measure, Side, Target};
use crate::command;

/// Ours alone.
pub(crate) struct Ready;

const EARLY: &str = "Ready before reachable, of 1,000";
const MEASURES: &[Measure] = &[
    Measure { name: EARLY, unit: "", target: Target::AtMost(0.0) },
    Measure { name: "create to first byte, p50", unit: "ms", target: Target::None },
    Measure { name: "create to first byte, p99", unit: "ms", target: Target::None },
    Measure { name: "create to Ready, p50", unit: "ms", target: Target::None },
    Measure { name: "create to Ready, p99", unit: "ms", target: Target::None },
];
const COUNT: &str = "1000";
/// At a time.
const AT_ONCE: &str = "8";

const GATEWAY: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Gateway
metadata: {name: door}
spec:
  tunnels: {domain: t.example.com}
  clients: [{name: connector, roles: [user], scopes: ['tunnel:write']}]
";

/// What the program tells.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    early: f64,
    first_byte_p50: f64,
    first_byte_p99: f64,
    ready_p50: f64,
    ready_p99: f64,
}

impl Bench for Ready {
    fn name(&self) -> &'static str {
        "ready"
    }

    fn measures(&self) -> &'static [Measure] {
        MEASURES
    }

    fn prepare(&self) -> Result<Box<dyn Contest>> {
        let stage = Stage::up("bench-ready", "bench-ready")?;
        stage.apply(GATEWAY)?;
        let wait = ["wait", "--for=condition=Ready", "gateways.portcullis.dev/door", "--timeout=120s"];
        command::run(&mut stage.kubectl(&wait)?).with_context(|| stage.described("door"))?;
        let bundle = Folder::made()?;
        stage.fetch("secret/door-client-connector", bundle.path())?;
        Ok(Box::new(Door { stage, bundle }))
    }
}

struct Door {
    stage: Stage,
    bundle: Folder,
}

impl Contest for Door {
    fn round(&mut self, side: Side) -> Result<Vec<(&'static str, f64)>> {
        if side == Side::Peer {
            return Ok(Vec::new());
        }
        let address = self.stage.address("door")?;
        let mut program = self.stage.program()?;
        program.args(["--namespace", NAMESPACE, "--gateway", "door", "--address", &address]);
        program.args(["--count", COUNT, "--at-once", AT_ONCE, "--bundle"]).arg(self.bundle.path());
        let figures: Figures = told(program)?;
        Ok(MEASURES
            .iter()
            .map(|measure| measure.name)
            .zip([
                figures.early,
                figures.first_byte_p50,
                figures.first_byte_p99,
                figures.ready_p50,
                figures.ready_p99,
            ])
            .collect())
    }
}

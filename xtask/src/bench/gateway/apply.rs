//! `cargo xtask bench apply`: from `kubectl apply` of a Gateway to its first answer over mutual TLS, on a cluster of this
//! machine with a node, one Gateway after the other. Nobody else does this in a way to compare with: figures are told.

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::folder::Folder;
use super::stage::{NAMESPACE, Stage};
use crate::bench::{Bench, Contest, Measure, Side, Target};
use crate::command;

/// Ours alone.
pub(crate) struct Apply;

const MEASURES: &[Measure] = &[
    Measure { name: "apply to bundle, p50", unit: "ms", target: Target::None },
    Measure { name: "apply to first answer, p50", unit: "ms", target: Target::None },
    Measure { name: "apply to first answer, p99", unit: "ms", target: Target::None },
];
/// Gateways in a round.
const GATEWAYS: usize = 20;

impl Bench for Apply {
    fn name(&self) -> &'static str {
        "apply"
    }

    fn measures(&self) -> &'static [Measure] {
        MEASURES
    }

    fn prepare(&self) -> Result<Box<dyn Contest>> {
        Ok(Box::new(Gateways(Stage::up("bench-apply", super::CALLER)?)))
    }
}

/// Gateways come and go there.
struct Gateways(Stage);

impl Contest for Gateways {
    fn round(&mut self, side: Side) -> Result<Vec<(&'static str, f64)>> {
        if side == Side::Peer {
            return Ok(Vec::new());
        }
        let mut bundles = Vec::new();
        let mut answers = Vec::new();
        for number in 1..=GATEWAYS {
            let (bundle, answer) = self.gateway(&format!("door-{number}"))?;
            bundles.push(bundle);
            answers.push(answer);
        }
        Ok(vec![
            ("apply to bundle, p50", percentile(&mut bundles, 50)),
            ("apply to first answer, p50", percentile(&mut answers, 50)),
            ("apply to first answer, p99", percentile(&mut answers, 99)),
        ])
    }
}

impl Gateways {
    /// One Gateway's life: milliseconds from `kubectl apply` to the bundle and to the first answer.
    fn gateway(&self, name: &str) -> Result<(f64, f64)> {
        let (folder, secret) = (Folder::made()?, format!("secret/{name}-client-ci"));
        let manifest = manifest(name);
        let began = Instant::now();
        self.0.apply(&manifest)?;
        for child in [secret.as_str(), &format!("service/{name}")] {
            command::run(&mut self.0.kubectl(&["wait", "--for=create", child, "--timeout=30s"])?)?;
        }
        let address = self.0.address(name)?;
        self.0.fetch(&secret, folder.path())?;
        let bundle = began.elapsed();
        let mut answer = self.0.program()?;
        answer.arg("answer").arg("--bundle").arg(folder.path());
        answer.args(["--address", &address, "--path", "/healthz"]);
        answer.args(["--host", &format!("{name}.{NAMESPACE}.svc")]);
        command::run(&mut answer).with_context(|| self.0.described(name))?;
        let answered = began.elapsed();
        command::run(&mut self.0.kubectl(&["delete", &format!("gateways.portcullis.dev/{name}")])?)?;
        Ok((bundle.as_secs_f64() * 1e3, answered.as_secs_f64() * 1e3))
    }
}

fn manifest(name: &str) -> String {
    let gateway = serde_json::json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "Gateway",
        "metadata": { "name": name },
        "spec": {
            "clients": [{ "name": "ci", "user": "ci@bench", "roles": ["user"] }],
            "backends": [{
                "name": "api",
                "match": { "pathPrefix": "/" },
                "service": { "name": "none", "port": 80 },
            }],
        },
    });
    gateway.to_string()
}

/// The nearest rank.
fn percentile(figures: &mut [f64], percent: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    let rank = (figures.len() * percent).div_ceil(100);
    figures.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let mut figures: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert!((percentile(&mut figures, 50) - 10.0).abs() < 1e-9);
        assert!((percentile(&mut figures, 99) - 20.0).abs() < 1e-9);
    }
}

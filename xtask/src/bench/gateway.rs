//! `cargo xtask bench gateway`: our gateway and nginx as the same door, in turns: mutual TLS outside, plain HTTP inside.
//!
//! What makes it fair: both are one thread pinned to one processor of their own, the load and the backend share the
//! others. Both show a certificate of the same authority with a P-256 key and verify the caller's; the callers offer one
//! cipher suite and one group, so that both compute the same. Both keep their connections to the backend, tell it who
//! asks and log no requests; both send session tickets, which no caller uses: every handshake is a full one.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::doors::Doors;
use super::{Bench, Contest, Measure, Side, Target};
use crate::command;
use crate::images::{self, Profile};

pub(super) mod apply;
pub(super) mod auth;
pub(super) mod doors;
pub(super) mod folder;
pub(super) mod processors;
pub(super) mod server;
pub(super) mod stage;

/// Ours against nginx.
pub(super) struct Gateway;

/// Callers with post-quantum keys come to ours alone: Debian 12's nginx does not know ML-KEM.
const MEASURES: &[Measure] = &[
    Measure { name: "keep-alive requests", unit: "/s", target: Target::RatioAtLeast(0.95) },
    Measure { name: "CPU per keep-alive request", unit: "us", target: Target::None },
    Measure { name: "processor of the door, keep-alive", unit: "%", target: Target::None },
    Measure { name: "CPU per new connection", unit: "us", target: Target::RatioAtMost(1.1) },
    Measure { name: "new connections", unit: "/s", target: Target::None },
    Measure { name: "CPU per new connection, X25519MLKEM768", unit: "us", target: Target::None },
];

/// The program that loads the doors.
pub(super) const CALLER: &str = "bench-gateway";
/// Callers that keep their connections, and callers that do not.
pub(super) const KEEPING: &str = "32";
pub(super) const CONNECTING: &str = "16";

impl Bench for Gateway {
    fn name(&self) -> &'static str {
        "gateway"
    }

    fn measures(&self) -> &'static [Measure] {
        MEASURES
    }

    fn prepare(&self) -> Result<Box<dyn Contest>> {
        require(&[("nginx", "nginx-light"), ("setpriv", "util-linux"), ("taskset", "util-linux")])?;
        let programs = images::compiled(Profile::Dist, &["portcullis-gateway", "portcullis-bench"])?;
        Ok(Box::new(Doors::opened(&programs.join("portcullis-gateway"), programs.join(CALLER))?))
    }
}

/// What the load tells of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figures {
    pub(super) per_second: f64,
    pub(super) cpu_micros: f64,
    pub(super) p99_micros: f64,
    busy_percent: f64,
}

/// What a download tells of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Download {
    pub(super) cpu_seconds_per_gb: f64,
    pub(super) megabytes_per_second: f64,
}

impl Contest for Doors {
    fn round(&mut self, side: Side) -> Result<Vec<(&'static str, f64)>> {
        let kept = figures(self.load(side, &["keep-alive", "--callers", KEEPING])?)?;
        let fresh = figures(self.load(side, &["connect", "--callers", CONNECTING])?)?;
        let mut told = vec![
            ("keep-alive requests", kept.per_second),
            ("CPU per keep-alive request", kept.cpu_micros),
            ("processor of the door, keep-alive", kept.busy_percent),
            ("CPU per new connection", fresh.cpu_micros),
            ("new connections", fresh.per_second),
        ];
        if side == Side::Ours {
            let hybrid = figures(self.load(side, &["connect", "--callers", CONNECTING, "--hybrid"])?)?;
            told.push(("CPU per new connection, X25519MLKEM768", hybrid.cpu_micros));
        }
        Ok(told)
    }
}

fn figures(load: Command) -> Result<Figures> {
    told(load)
}

/// What a program tells, as JSON.
pub(super) fn told<T: DeserializeOwned>(mut program: Command) -> Result<T> {
    let told = command::output(&mut program)?;
    serde_json::from_str(&told).with_context(|| format!("{program:?} told no figures: {told}"))
}

/// Fails where programs are missing, with the packages that have them.
pub(super) fn require(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = programs
        .iter()
        .filter(|(program, _)| !command::exists(program))
        .map(|(_, package)| *package)
        .collect();
    ensure!(
        missing.is_empty(),
        "Debian packages are missing: apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    Ok(())
}

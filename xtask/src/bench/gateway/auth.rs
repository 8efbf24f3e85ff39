//! `cargo xtask bench auth`: what it costs to know who is asking. Ours against ours: with a bearer token that was seen
//! before, against the client certificate alone; a download through the WebSocket tunnel, against the same one straight over
//! TLS.
//!
//! What makes it fair: one door, one process pinned to one processor of its own, one configuration for both sides. Only the
//! request differs. The token is of an ordinary size, and its issuer's keys are fetched before the measurement begins.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::doors::{bulky_backend, credentials, ports, started};
use super::folder::Folder;
use super::processors::Processors;
use super::server::Server;
use super::{CALLER, Download, KEEPING, figures, require, told};
use crate::bench::{Bench, Contest, Measure, Side, Target};
use crate::images::{self, Profile};
use crate::{command, wait};

/// Ours against ours.
pub(crate) struct Auth;

const MEASURES: &[Measure] = &[
    Measure { name: "requests with a known token", unit: "/s", target: Target::RatioAtLeast(0.95) },
    Measure { name: "CPU per request", unit: "us", target: Target::None },
    Measure { name: "CPU per GB through the WebSocket", unit: "s", target: Target::RatioAtMost(1.25) },
    Measure { name: "throughput", unit: "MB/s", target: Target::None },
    Measure { name: "a known token, found", unit: "us", target: Target::AtMost(1.0) },
    Measure { name: "a new token, verified", unit: "us", target: Target::None },
];
const LIMIT: Duration = Duration::from_secs(10);

impl Bench for Auth {
    fn name(&self) -> &'static str {
        "auth"
    }

    fn measures(&self) -> &'static [Measure] {
        MEASURES
    }

    fn prepare(&self) -> Result<Box<dyn Contest>> {
        require(&[("nginx", "nginx-light"), ("setpriv", "util-linux"), ("taskset", "util-linux")])?;
        let programs = images::compiled(Profile::Dist, &["portcullis-gateway", "portcullis-bench"])?;
        Ok(Box::new(Door::opened(&programs.join("portcullis-gateway"), programs.join(CALLER))?))
    }
}

/// The door and its backend, ended when dropped.
struct Door {
    gateway: Server,
    backend: Server,
    address: SocketAddr,
    caller: PathBuf,
    processors: Processors,
    folder: Folder,
}

impl Door {
    /// Starts both and waits until a request with the token is answered.
    fn opened(gateway: &Path, caller: PathBuf) -> Result<Self> {
        let (processors, folder) = (Processors::divided()?, Folder::made()?);
        let [address, inside, _] = ports()?;
        credentials(&caller, &folder, inside, &["--oidc"])?;
        let backend = bulky_backend(&folder, &processors.others, inside)?;
        let running = started(&folder, &processors.door, gateway, address)?;
        let mut opened = Self { gateway: running, backend, address, caller, processors, folder };
        wait::until("the door", LIMIT, || {
            opened.check()?;
            let mut ask = opened.call("answer", Side::Ours);
            Ok(command::succeeds(ask.args(["--limit", "2"])).then_some(()))
        })?;
        Ok(opened)
    }

    fn check(&mut self) -> Result<()> {
        self.gateway.check()?;
        self.backend.check()
    }

    /// A call; ours brings the token.
    fn call(&self, task: &str, side: Side) -> Command {
        let mut call = Command::new("taskset");
        call.args(["--cpu-list", &self.processors.others]).arg(&self.caller).arg(task);
        if task == "load" {
            call.args(["keep-alive", "--callers", KEEPING]);
        }
        call.arg("--bundle").arg(self.folder.path().join("client"));
        call.args(["--address", &self.address.to_string()]);
        if side == Side::Ours && task != "stream" {
            call.arg("--bearer").arg(self.folder.path().join("token"));
        }
        call
    }
}

/// What a token costs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Costs {
    found_micros: f64,
    verified_micros: f64,
}

impl Contest for Door {
    fn round(&mut self, side: Side) -> Result<Vec<(&'static str, f64)>> {
        self.check()?;
        let pid = self.gateway.pid().to_string();
        let mut load = self.call("load", side);
        load.args(["--pid", &pid]);
        let asked = figures(load)?;
        let mut stream = self.call("stream", side);
        stream.args(["--path", "/bulk", "--pid", &pid]);
        if side == Side::Ours {
            stream.arg("--tunnelled");
        }
        let download: Download = told(stream)?;
        let mut figures = vec![
            ("requests with a known token", asked.per_second),
            ("CPU per request", asked.cpu_micros),
            ("CPU per GB through the WebSocket", download.cpu_seconds_per_gb),
            ("throughput", download.megabytes_per_second),
        ];
        if side == Side::Ours {
            let mut token = Command::new(&self.caller);
            token.arg("token").arg(self.folder.path());
            let costs: Costs = told(token)?;
            figures.push(("a known token, found", costs.found_micros));
            figures.push(("a new token, verified", costs.verified_micros));
        }
        Ok(figures)
    }
}

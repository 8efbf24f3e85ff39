//! `cargo xtask bench tunnel`: a service behind a tunnel of ours, of rathole (with TLS and without) and of bore, and behind
//! nginx without a tunnel, in turns.
//!
//! What makes it fair: visitors come by HTTPS everywhere and ask the same backend, which is not measured. All programs of a
//! side share one processor of their own; load and backend have the others. A side's CPU is that of all its programs: ours
//! are gateway and connector; rathole's and bore's are server, client and the nginx behind them that ends the visitors' TLS,
//! since these tunnels carry bytes and leave TLS to the service. Certificates, cipher suite and key exchange are the same.
//!
//! The measures with neighbours are each side's own: with neighbours against without. One is a single download over a long line, against the
//! same line without a tunnel. Memory is measured once.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use self::ours::Ours;
use self::peers::Peer;
use super::gateway::processors::Processors;
use super::gateway::{CALLER, CONNECTING, Download, Figures, KEEPING, require, told};
use super::{Bench, Contest, Measure, Side, Target};
use crate::images::{self, Profile};

mod ours;
mod peers;
pub(super) mod ready;

/// Ours against those who do the same, and against what does without a tunnel.
pub(super) struct Tunnel;

const fn measure(name: &'static str, unit: &'static str, target: Target) -> Measure {
    Measure { name, unit, target }
}

const STALLED: &str = "p99 beside 8 stalled readers, against alone";
const BESIDE: &str = "small requests beside a download of 50 MB/s, against alone";
const BESIDE_ALL: &str = "small requests beside a download at full speed, against alone";
const BESIDE_RATHOLE: &str = "the same by rathole TLS, against alone";
const BESIDE_NOTHING: &str = "the same without a tunnel, against alone";
const BESIDE_FAR: &str = "small requests beside a download, both over 100 ms round trip, against alone";
const LINE: &str = "one download, 100 ms round trip, against no tunnel";
const MEMORY: &str = "memory with 10,000 idle connectors";
const EMPTY: &str = "memory without them";
const DESCRIPTORS: &str = "descriptors for each";

const MEASURES: &[Measure] = &[
    measure("keep-alive requests, rathole TLS", "/s", Target::RatioAtLeast(1.3)),
    measure("keep-alive requests, rathole", "/s", Target::None),
    measure("keep-alive requests, bore", "/s", Target::None),
    measure("keep-alive requests, no tunnel", "/s", Target::None),
    measure("CPU per new connection, rathole TLS", "us", Target::RatioAtMost(0.25)),
    measure("CPU per new connection, rathole", "us", Target::None),
    measure("CPU per new connection, bore", "us", Target::None),
    measure("CPU per new connection, no tunnel", "us", Target::None),
    measure("CPU per GB, rathole TLS", "s", Target::RatioAtMost(0.65)),
    measure("CPU per GB, rathole", "s", Target::None),
    measure("CPU per GB, bore", "s", Target::None),
    measure("CPU per GB, no tunnel", "s", Target::None),
    measure("throughput, rathole TLS", "MB/s", Target::RatioAtLeast(1.5)),
    measure("throughput, rathole", "MB/s", Target::None),
    measure("throughput, bore", "MB/s", Target::None),
    measure("throughput, no tunnel", "MB/s", Target::None),
    measure(STALLED, "us", Target::RatioAtMost(1.1)),
    measure(BESIDE, "/s", Target::RatioAtLeast(0.8)),
    measure(BESIDE_ALL, "/s", Target::None),
    measure(BESIDE_RATHOLE, "/s", Target::None),
    measure(BESIDE_NOTHING, "/s", Target::None),
    measure(BESIDE_FAR, "/s", Target::RatioAtLeast(0.8)),
    measure(LINE, "MB/s", Target::RatioAtLeast(0.95)),
    measure(MEMORY, "MB", Target::AtMost(150.0)),
    measure(EMPTY, "MB", Target::None),
    measure(DESCRIPTORS, "", Target::AtMost(1.0)),
];

/// A few callers, for whom the door is not the bottleneck.
const FEW: &str = "4";

impl Bench for Tunnel {
    fn name(&self) -> &'static str {
        "tunnel"
    }

    fn measures(&self) -> &'static [Measure] {
        MEASURES
    }

    fn prepare(&self) -> Result<Box<dyn Contest>> {
        require(&[
            ("nginx", "nginx-light"),
            ("setpriv", "util-linux"),
            ("taskset", "util-linux"),
            ("openssl", "openssl"),
            ("pkg-config", "pkg-config"),
        ])?;
        let packages = ["portcullis-gateway", "portcullis-cli", "portcullis-bench"];
        let programs = images::compiled(Profile::Dist, &packages)?;
        let foreign = peers::programs()?;
        let processors = Processors::divided()?;
        let ours = Ours::opened(&programs, programs.join(CALLER), &processors)?;
        let peers = Peer::all(&foreign, &ours.folder, &processors, ours.backend_address)?;
        let mut field = Field { ours, peers, idle: true };
        field.ours.await_answers(&field.peers)?;
        Ok(Box::new(field))
    }
}

/// Everybody, started.
struct Field {
    ours: Ours,
    peers: Vec<Peer>,
    /// Idle connectors are still to be measured.
    idle: bool,
}

/// What idle connectors cost.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Idle {
    megabytes: f64,
    megabytes_before: f64,
    descriptors: f64,
}

impl Contest for Field {
    fn round(&mut self, side: Side) -> Result<Vec<(&'static str, f64)>> {
        self.ours.check()?;
        self.peers.iter_mut().try_for_each(Peer::check)?;
        let mut figures = Vec::new();
        match side {
            Side::Ours => {
                let seen = self.seen(&self.ours.way())?;
                figures.extend(peers::NAMES.iter().flat_map(|peer| named(peer, seen)));
                if std::mem::take(&mut self.idle) {
                    let idle: Idle = told(self.ours.idle())?;
                    figures.push((MEMORY, idle.megabytes));
                    figures.push((EMPTY, idle.megabytes_before));
                    figures.push((DESCRIPTORS, idle.descriptors));
                }
            }
            Side::Peer => {
                for peer in &self.peers {
                    figures.extend(named(peer.name, self.seen(&peer.way)?));
                }
            }
        }
        figures.extend(self.among_neighbours(side)?);
        Ok(figures)
    }
}

/// Where a side's visitors come in, and which processes carry what they ask for.
struct Way {
    address: std::net::SocketAddr,
    host: &'static str,
    pids: Vec<u32>,
}

impl Field {
    /// Requests a second, CPU per connection, CPU per GB, MB a second.
    fn seen(&self, way: &Way) -> Result<[f64; 4]> {
        let kept: Figures = told(self.ours.load(way, &["keep-alive", "--callers", KEEPING]))?;
        let fresh: Figures = told(self.ours.load(way, &["connect", "--callers", CONNECTING]))?;
        let bulk: Download = told(self.ours.download(way, 1_000_000_000))?;
        Ok([kept.per_second, fresh.cpu_micros, bulk.cpu_seconds_per_gb, bulk.megabytes_per_second])
    }

    /// Ours with neighbours is `Side::Ours`; without, it is what that is compared with.
    fn among_neighbours(&self, side: Side) -> Result<Vec<(&'static str, f64)>> {
        let few = |way: &Way, neighbours: &[&str]| -> Result<Figures> {
            let bulk = [&["--bulk", "/bulk"], neighbours].concat();
            let neighbours = if side == Side::Ours { &bulk[..] } else { &[] };
            told(self.ours.load(way, &[&["keep-alive", "--callers", FEW], neighbours].concat()))
        };
        let way = self.ours.way();
        let stalled = few(&way, &["--stalled", "8"])?;
        let mut figures = vec![
            (STALLED, stalled.p99_micros),
            (BESIDE, few(&way, &["--reading", "1", "--pace", "50000000"])?.per_second),
            (BESIDE_ALL, few(&way, &["--reading", "1"])?.per_second),
            (BESIDE_FAR, few(&self.ours.far(), &["--reading", "1", "--warm-up", "3000"])?.per_second),
        ];
        for (peer, row) in [("rathole TLS", BESIDE_RATHOLE), ("no tunnel", BESIDE_NOTHING)] {
            let peer = self.peers.iter().find(|it| it.name == peer).context("a peer is missing")?;
            figures.push((row, few(&peer.way, &["--reading", "1"])?.per_second));
        }
        let line = match side {
            Side::Ours => self.ours.far(),
            Side::Peer => self.ours.far_without_tunnel(),
        };
        let line: Download = told(self.ours.download(&line, 60_000_000))?;
        figures.push((LINE, line.megabytes_per_second));
        Ok(figures)
    }
}

/// Figures as the rows about this peer call them.
fn named(peer: &str, figures: [f64; 4]) -> Vec<(&'static str, f64)> {
    let rows = MEASURES.iter().filter(|row| row.name.rsplit_once(", ").is_some_and(|(_, whom)| whom == peer));
    rows.zip(figures).map(|(row, figure)| (row.name, figure)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_row_of_each_kind_in_the_order_of_the_figures() {
        for peer in peers::NAMES {
            let rows: Vec<_> = named(peer, [1.0, 2.0, 3.0, 4.0]).into_iter().map(|(row, _)| row).collect();
            let kinds = ["keep-alive requests", "CPU per new connection", "CPU per GB", "throughput"];
            assert_eq!(rows, kinds.map(|kind| format!("{kind}, {peer}")));
        }
    }
}

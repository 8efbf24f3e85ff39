//! What `cargo xtask bench gateway`, `bench auth`, `bench tunnel` and `bench apply` run: certificates, load, and the wait
//! for a first answer.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, ValueEnum};
use portcullis_bench::gateway::caller::{Caller, Exchange};
use portcullis_bench::gateway::credentials::Beside;
use portcullis_bench::gateway::delay::Line;
use portcullis_bench::gateway::load::{Load, Manner, Neighbours};
use portcullis_bench::gateway::{answer, credentials, delay, idle, load, stream, token};
use serde::Serialize;

/// Load on a door that asks for client certificates.
#[derive(Debug, Parser)]
enum Task {
    /// Write certificates and a snapshot
    Credentials {
        /// Where to
        folder: PathBuf,
        /// Port of the one backend, on this machine
        #[arg(long)]
        backend: u16,
        /// A token and its issuer's keys too
        #[arg(long)]
        oidc: bool,
        /// So many tunnels to the backend too
        #[arg(long, default_value_t = 0)]
        tunnels: usize,
    },
    /// Download for a while and print what it cost, as JSON
    Stream {
        #[command(flatten)]
        door: Door,
        /// Through a WebSocket
        #[arg(long)]
        tunnelled: bool,
        /// How many bytes
        #[arg(long, default_value_t = 1_000_000_000)]
        bytes: u64,
        /// The servers' processes
        #[arg(long = "pid", required = true)]
        pids: Vec<u32>,
    },
    /// Ask for a while and print what it cost, as JSON
    Load {
        manner: MannerArgument,
        #[command(flatten)]
        door: Door,
        /// How many callers at once
        #[arg(long, default_value_t = 32)]
        callers: usize,
        /// Milliseconds before the measurement begins
        #[arg(long, default_value_t = 500)]
        warm_up: u64,
        /// Milliseconds that are measured
        #[arg(long, default_value_t = 4000)]
        time: u64,
        /// The servers' processes
        #[arg(long = "pid", required = true)]
        pids: Vec<u32>,
        /// What neighbours download meanwhile
        #[arg(long, default_value = "/")]
        bulk: String,
        /// How many of them read
        #[arg(long, default_value_t = 0)]
        reading: usize,
        /// Bytes a second that each of those reads at most; 0: as fast as it can
        #[arg(long, default_value_t = 0)]
        pace: u32,
        /// How many of them do not
        #[arg(long, default_value_t = 0)]
        stalled: usize,
    },
    /// Connect connectors that have nothing to do, and print what they cost, as JSON
    Idle {
        #[command(flatten)]
        door: Door,
        /// Port of the backend that the tunnels lead to
        #[arg(long)]
        backend: u16,
        /// How many
        #[arg(long)]
        count: usize,
        /// The gateway's process
        #[arg(long)]
        pid: u32,
    },
    /// Be a long line to a port of this machine
    Delay {
        /// Where it begins
        #[arg(long)]
        listen: SocketAddr,
        /// Where it ends
        #[arg(long)]
        to: SocketAddr,
        /// Milliseconds from one end to the other
        #[arg(long)]
        milliseconds: u64,
        /// Bytes a second
        #[arg(long)]
        rate: u32,
    },
    /// Measure what a token costs within the gateway and print it, as JSON
    Token {
        /// With the token and the keys of its issuer
        folder: PathBuf,
    },
    /// Ask until the answer is 200
    Answer {
        #[command(flatten)]
        door: Door,
        /// Seconds
        #[arg(long, default_value_t = 60)]
        limit: u64,
    },
}

/// Whom to ask, and for what.
#[derive(Clone, Debug, Args)]
struct Door {
    /// Folder with tls.crt, tls.key and ca.crt
    #[arg(long)]
    bundle: PathBuf,
    /// Where the door is
    #[arg(long)]
    address: SocketAddr,
    /// Its name in its certificate
    #[arg(long, default_value = credentials::HOST)]
    host: String,
    /// What is asked for
    #[arg(long, default_value = "/")]
    path: String,
    /// Exchange keys as browsers do today, X25519 with ML-KEM-768, instead of X25519 alone
    #[arg(long)]
    hybrid: bool,
    /// File with a bearer token to send along
    #[arg(long)]
    bearer: Option<PathBuf>,
}

/// What callers do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MannerArgument {
    /// Keep their connections
    KeepAlive,
    /// Connect anew for every request
    Connect,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Task::parse() {
        Task::Credentials { folder, backend, oidc, tunnels } => {
            credentials::write(&folder, backend, Beside { oidc, tunnels })
        }
        Task::Load { manner, door, callers, warm_up, time, pids, bulk, reading, pace, stalled } => {
            let manner = match manner {
                MannerArgument::KeepAlive => Manner::KeepAlive,
                MannerArgument::Connect => Manner::Connect,
            };
            let (warm_up, time) = (Duration::from_millis(warm_up), Duration::from_millis(time));
            let neighbours = Neighbours {
                caller: (reading + stalled > 0)
                    .then(|| Door { path: bulk, ..door.clone() }.caller())
                    .transpose()?,
                reading,
                pace,
                stalled,
            };
            let load = Load { manner, callers, warm_up, time, pids, neighbours };
            told(&load::run(&door.caller()?, load).await?)
        }
        Task::Stream { door, tunnelled, bytes, pids } => {
            told(&stream::run(&door.caller()?, &door.host, tunnelled, bytes, &pids).await?)
        }
        Task::Token { folder } => told(&token::measure(&folder)?),
        Task::Idle { door, backend, count, pid } => {
            told(&idle::run(door.caller()?, &credentials::endpoint(backend), count, pid).await?)
        }
        Task::Delay { listen, to, milliseconds, rate } => {
            delay::run(listen, to, Line { delay: Duration::from_millis(milliseconds), rate }).await
        }
        Task::Answer { door, limit } => {
            answer::await_first(&door.caller()?, Duration::from_secs(limit)).await
        }
    }
}

/// Prints figures.
fn told(figures: &impl Serialize) -> Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string(figures)?)?;
    Ok(())
}

impl Door {
    fn caller(&self) -> Result<Caller> {
        let exchange = if self.hybrid { Exchange::Hybrid } else { Exchange::Classical };
        let bearer = self.bearer.as_ref().map(std::fs::read_to_string).transpose()?;
        Caller::new(&self.bundle, self.address, &self.host, &self.path, exchange, bearer.as_deref())
    }
}

//! What `cargo xtask bench gateway`, `bench auth` and `bench apply` run: certificates, load, and the wait for a first
//! answer.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, ValueEnum};
use portcullis_bench::gateway::caller::{Caller, Exchange};
use portcullis_bench::gateway::load::{Load, Manner};
use portcullis_bench::gateway::{answer, credentials, load, stream, token};

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
        /// The server's process
        #[arg(long)]
        pid: u32,
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
        /// The server's process
        #[arg(long)]
        pid: u32,
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
#[derive(Debug, Args)]
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
        Task::Credentials { folder, backend, oidc } => credentials::write(&folder, backend, oidc),
        Task::Load { manner, door, callers, warm_up, time, pid } => {
            let manner = match manner {
                MannerArgument::KeepAlive => Manner::KeepAlive,
                MannerArgument::Connect => Manner::Connect,
            };
            let (warm_up, time) = (Duration::from_millis(warm_up), Duration::from_millis(time));
            let figures = load::run(&door.caller()?, Load { manner, callers, warm_up, time, pid }).await?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?;
            Ok(())
        }
        Task::Stream { door, tunnelled, bytes, pid } => {
            let figures = stream::run(&door.caller()?, &door.host, tunnelled, bytes, pid).await?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?;
            Ok(())
        }
        Task::Token { folder } => {
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&token::measure(&folder)?)?)?;
            Ok(())
        }
        Task::Answer { door, limit } => {
            answer::await_first(&door.caller()?, Duration::from_secs(limit)).await
        }
    }
}

impl Door {
    fn caller(&self) -> Result<Caller> {
        let exchange = if self.hybrid { Exchange::Hybrid } else { Exchange::Classical };
        let bearer = self.bearer.as_ref().map(std::fs::read_to_string).transpose()?;
        Caller::new(&self.bundle, self.address, &self.host, &self.path, exchange, bearer.as_deref())
    }
}

//! What `cargo xtask bench ready` runs: Tunnels that come and go, each with its connector and its visitor.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use portcullis_bench::ready::{self, Course};

/// Create Tunnels, and print how long they took to be answered and to be Ready, as JSON
#[derive(Debug, Parser)]
struct Options {
    /// Namespace of the Tunnels and of their Gateway
    #[arg(long)]
    namespace: String,
    /// The Gateway
    #[arg(long)]
    gateway: String,
    /// Where its Service is
    #[arg(long)]
    address: SocketAddr,
    /// Folder with the bundle of a client that may connect services
    #[arg(long)]
    bundle: PathBuf,
    /// How many Tunnels
    #[arg(long)]
    count: usize,
    /// How many at a time
    #[arg(long)]
    at_once: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    // The one provider of the whole tree; that another one was there first would not matter.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let Options { namespace, gateway, address, bundle, count, at_once } = Options::parse();
    let course = Course::new(namespace, gateway, address, bundle).await?;
    let figures = ready::run(course, count, at_once).await?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?;
    Ok(())
}

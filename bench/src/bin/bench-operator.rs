//! What `cargo xtask bench operator` runs in a fresh cluster: the operator's course, or the plain client's.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Parser};
use portcullis_bench::operator::course::Course;

/// Measures the operator, or a plain client that makes the same writes; prints figures as JSON.
#[derive(Debug, Parser)]
enum Task {
    /// The operator
    Ours(Options),
    /// A client that makes the same writes and nothing else
    Floor(Options),
}

#[derive(Debug, Args)]
struct Options {
    /// The operator's binary
    #[arg(long)]
    operator: PathBuf,
    /// How many Gateways are applied at once
    #[arg(long, default_value_t = 1000)]
    gateways: usize,
    /// How many there are in the end; 0: no more
    #[arg(long, default_value_t = 0)]
    large: usize,
    /// How many Gateways are worked on at a time
    #[arg(long, default_value_t = 16)]
    workers: usize,
    /// How many restarts a new Gateway is measured in
    #[arg(long, default_value_t = 3)]
    restarts: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    // Fails only where one was installed before, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let task = Task::parse();
    let client = kube::Client::try_default().await.context("failed to find the cluster")?;
    let (Task::Ours(options) | Task::Floor(options)) = &task;
    let course = Course {
        operator: options.operator.clone(),
        workers: options.workers,
        gateways: options.gateways,
        large: options.large,
        restarts: options.restarts,
    };
    let figures = match task {
        Task::Ours(_) => course.ours(&client).await?,
        Task::Floor(_) => course.floor(&client).await?,
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?;
    Ok(())
}

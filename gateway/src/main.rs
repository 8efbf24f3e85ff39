//! The `portcullis-gateway` binary: reads its options, starts the data plane, and drains it on SIGTERM.

use anyhow::Context as _;
use clap::Parser as _;
use portcullis_gateway::{Options, logging, shutdown};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    logging::install(options.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signal = shutdown::signal().context("failed to listen for SIGTERM")?;
        let running = portcullis_gateway::start(options).await.context("failed to start the gateway")?;
        running.run_until(signal).await;
        anyhow::Ok(())
    })
}

//! The `portcullis-gateway` binary: reads its options, starts the data plane, and drains it on SIGTERM.

use std::num::NonZero;

use anyhow::Context as _;
use clap::Parser as _;
use portcullis_gateway::{Options, logging, shutdown};
use tokio::runtime::{Builder, Runtime};

// Requests are many small allocations; glibc's allocator costs each of them twice as much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    logging::install(options.log_format);
    runtime().context("failed to start the runtime")?.block_on(async {
        let traces = portcullis_trace::install("portcullis-gateway").context("failed to start")?;
        let signal = shutdown::signal().context("failed to listen for SIGTERM")?;
        let running = portcullis_gateway::start(options).await.context("failed to start the gateway")?;
        if traces {
            tracing::info!("requests are traced");
        }
        running.run_until(signal).await;
        portcullis_trace::finish().await;
        anyhow::Ok(())
    })
}

/// One thread where there is one processor: nothing is handed from thread to thread then.
fn runtime() -> std::io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder =
        if processors == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build()
}

//! The example compute driver, as a sidecar's image runs it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use portcullis_contract::compute_driver::compute_driver_server::ComputeDriverServer;
use portcullis_example_drivers::compute::Driver;
use portcullis_example_drivers::socket;
use tonic::transport::Server;

/// Example compute driver of a Portcullis gateway.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The socket to listen on; the operator sets it.
    #[arg(long, env = "PORTCULLIS_DRIVER_SOCKET", value_name = "PATH")]
    socket: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let listener = socket::listen(&options.socket)
        .with_context(|| format!("failed to listen at {}", options.socket.display()))?;
    let driver = Driver::default();
    let stopped = async { drop(socket::told_to_stop().await) };
    Server::builder()
        .add_service(ComputeDriverServer::new(driver))
        .serve_with_incoming_shutdown(listener, stopped)
        .await
        .context("failed to serve")
}

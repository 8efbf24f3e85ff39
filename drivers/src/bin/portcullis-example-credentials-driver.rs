//! The example credentials driver, as a sidecar's image runs it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use portcullis_contract::credentials_driver::credentials_driver_server::CredentialsDriverServer;
use portcullis_example_drivers::credentials::Driver;
use portcullis_example_drivers::socket;
use tonic::transport::Server;

/// Example credentials driver of a Portcullis gateway.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The socket to listen on; the operator sets it.
    #[arg(long, env = "PORTCULLIS_DRIVER_SOCKET", value_name = "PATH")]
    socket: PathBuf,

    /// JSON file with the credentials, such as one of a mounted Secret.
    #[arg(long, env = "PORTCULLIS_EXAMPLE_CREDENTIALS", value_name = "PATH")]
    file: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let listener = socket::listen(&options.socket)
        .with_context(|| format!("failed to listen at {}", options.socket.display()))?;
    let driver = Driver { file: options.file };
    let stopped = async { drop(socket::told_to_stop().await) };
    Server::builder()
        .add_service(CredentialsDriverServer::new(driver))
        .serve_with_incoming_shutdown(listener, stopped)
        .await
        .context("failed to serve")
}

//! The `portcullis` command.

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use portcullis_cli::options::{Command, LogFormat, Options, Tunnel};
use portcullis_cli::{connector, shutdown};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error)),
    };
    match runtime.block_on(run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the one place where the command says why it failed")]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

async fn run(options: Options) -> anyhow::Result<()> {
    // Whoever came first has installed the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match options.command {
        Command::Tunnel { command: Tunnel::Run(run) } => {
            log(run.log_format);
            let stop = shutdown::signal().context("failed to listen for signals")?;
            let settings = connector::Settings::read(&run).await?;
            Ok(connector::run(settings, stop).await?)
        }
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .with_env_var("PORTCULLIS_LOG")
        .from_env_lossy();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_target(false).init(),
    }
}

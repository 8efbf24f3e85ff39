//! The operator's binary: options, log, signals.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use portcullis_operator::clock::SystemClock;
use portcullis_operator::options::{LogFormat, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

// Lists of ten thousand objects come and go; glibc's allocator keeps what they took.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let filter = EnvFilter::try_new(&options.log).with_context(|| {
        format!(
            "--log is {:?}: write a level such as info, or directives such as info,kube=debug",
            options.log
        )
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    // Fails only where one was installed before, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());

    if portcullis_trace::install("portcullis-operator").context("failed to start")? {
        tracing::info!("visits are traced");
    }
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        signalled.cancel();
    });
    let client = kube::Client::try_default()
        .await
        .context("failed to find the cluster: neither in a pod nor a kubeconfig")?;
    let ran = portcullis_operator::run(client, options, Arc::new(SystemClock), stop).await;
    portcullis_trace::finish().await;
    ran
}

//! `tunnel run`: the connector.

use std::env;
use std::io;

use http::Uri;
use tracing_subscriber::EnvFilter;

use crate::context::Context;
use crate::failure::{Exit, Failure, chain};
use crate::options::{LogFormat, TunnelRun};
use crate::store::MTLS;
use crate::{connector, gateways, shutdown};

/// Where pods find the gateway's address.
const ENDPOINT: &str = "PORTCULLIS_GATEWAY_ENDPOINT";

pub(super) fn act(context: &Context, run: &TunnelRun) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Exit::Failed, chain(error));
    let (gateway, run) = gateway(context, run)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    runtime.block_on(async {
        // Whoever came first has installed the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        log(run.log_format);
        portcullis_trace::install("portcullis-connector").map_err(|error| failed(&error))?;
        let stop = shutdown::signal().map_err(|error| failed(&error))?;
        let settings = connector::Settings::read(&run, gateway).await.map_err(|error| failed(&error))?;
        let ran = connector::run(settings, stop).await.map_err(|error| failed(&error));
        portcullis_trace::finish().await;
        ran
    })
}

/// The one that is named, by a URL or by what is stored; that of the environment; the active one. Of one that is stored,
/// its certificates are shown where the command line names none.
fn gateway(context: &Context, run: &TunnelRun) -> Result<(Uri, TunnelRun), Failure> {
    let mut run = run.clone();
    if !context.is_gateway_given()
        && let Some(url) = env::var(ENDPOINT).ok().filter(|it| !it.is_empty())
    {
        let url = gateways::endpoint(&url)
            .map_err(|reason| Failure::new(Exit::Usage, format!("failed to read {ENDPOINT}: {reason}")))?;
        return Ok((url, run));
    }
    let gateway = context.gateway()?;
    if let (Some((place, name)), None, None) = (&gateway.stored, &run.credentials, &run.token_file) {
        // Read where it is, for each connection: a bundle that is added again serves the next one.
        run.credentials =
            context.store.bundle(*place, name)?.map(|_| context.store.folder(*place, name).join(MTLS));
        run.server_name = run.server_name.or_else(|| gateway.metadata.server_name.clone());
    }
    Ok((gateway.endpoint, run))
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

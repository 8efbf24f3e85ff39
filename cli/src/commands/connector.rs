//! `connector`: what it is told, at its start and again whenever that has changed.

mod keeping;

use std::convert::Infallible;
use std::env;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc};
use tracing_subscriber::EnvFilter;

use crate::connector::{self, Error, Ports, Settings, Teller, Told, Watched};
use crate::context::Context;
use crate::failure::{Exit, Failure, chain};
use crate::gateways::Resolved;
use crate::options::{Connector, ConnectorFile, LogFormat};
use crate::store::MTLS;
use crate::{gateways, renewal, shutdown};

/// Where pods find the gateway's address.
const ENDPOINT: &str = "PORTCULLIS_GATEWAY_ENDPOINT";

pub(super) fn act(context: &Context, given: &Connector) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    runtime.block_on(async {
        // Whoever came first has installed the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let stop = shutdown::signal().map_err(|error| failed(&error))?;
        let hang_up = signal(SignalKind::hangup()).map_err(|error| failed(&error))?;
        let Read { chosen, told, watched, .. } = read(context, given).await?;
        log(chosen.log_format.unwrap_or(LogFormat::Text));
        portcullis_trace::install("portcullis-connector").map_err(|error| failed(&error))?;
        let teller = if chosen.metrics_listen.is_some() { Teller::counting() } else { Teller::default() };
        let settings = Settings::read(told, teller.clone()).await.map_err(|error| failed(&error))?;
        let ports = Ports { health: chosen.health_listen, metrics: chosen.metrics_listen };
        let (anew, changes) = mpsc::channel(1);
        // Files are not read while they are replaced.
        let turn = Arc::new(Mutex::new(()));
        let ran = tokio::select! {
            ended = connector::follow(settings, ports, changes, stop) => ended.map_err(|error| failed(&error)),
            never = reread(context, given, watched, hang_up, teller, anew, &turn) => match never {},
            never = keeping::keeping(context, given, &turn) => match never {},
        };
        portcullis_trace::finish().await;
        ran
    })
}

/// Reads everything again whenever a file has changed or somebody sends SIGHUP. What cannot be read changes nothing.
async fn reread(
    context: &Context,
    given: &Connector,
    mut watched: Watched,
    mut hang_up: Signal,
    teller: Teller,
    anew: mpsc::Sender<Settings>,
    turn: &Mutex<()>,
) -> Infallible {
    loop {
        tokio::select! {
            path = watched.changed() => tracing::info!(path = %path.display(), "a file has changed: reading again"),
            _ = hang_up.recv() => tracing::info!("SIGHUP: reading again"),
        }
        let settings = async {
            let _held = turn.lock().await;
            let read = read(context, given).await.map_err(|failure| failure.to_string())?;
            watched = read.watched;
            Settings::read(read.told, teller.clone()).await.map_err(|error: Error| chain(&error))
        };
        match settings.await {
            Ok(settings) => {
                teller.reloaded(true);
                // It is read until the command ends.
                let _ = anew.send(settings).await;
            }
            Err(error) => {
                teller.reloaded(false);
                watched.look().await;
                tracing::warn!(error, "what is there cannot be used: what was read before stays");
            }
        }
    }
}

/// What flags, environment and files say.
struct Read {
    chosen: Connector,
    told: Told,
    /// The files, as they were before they were read.
    watched: Watched,
    /// The gateway whose stored certificates are shown, where it is one that is stored here.
    stored: Option<Resolved>,
}

async fn read(context: &Context, given: &Connector) -> Result<Read, Failure> {
    let mut watched = Watched::default();
    watched.see(given.config.iter()).await;
    let unreadable = |path: &Path, reason: String| {
        Failure::new(Exit::Usage, format!("failed to read {}: {reason}", path.display()))
    };
    let (file, folder) = match &given.config {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| unreadable(path, error.to_string()))?;
            let file = ConnectorFile::read(&text).map_err(|reason| unreadable(path, reason))?;
            (file, path.parent().unwrap_or(Path::new(".")))
        }
        None => (ConnectorFile::default(), Path::new(".")),
    };
    let wrong = |reason: String| match &given.config {
        Some(path) => unreadable(path, reason),
        None => Failure::new(Exit::Usage, reason),
    };
    let named = file.gateway().map_err(wrong)?;
    let (chosen, offers) = file.complete(given, folder).map_err(wrong)?;
    let context = match named {
        Some(named) if !context.is_gateway_given() && !is_set(ENDPOINT) && !is_set("PORTCULLIS_GATEWAY") => {
            context.meaning(named)
        }
        _ => context.clone(),
    };
    let (gateway, chosen, stored) = gateway(&context, chosen)?;
    let told = Told {
        gateway,
        server_name: chosen.server_name.clone(),
        credentials: chosen.credentials.clone(),
        token_file: chosen.token_file.clone(),
        endpoint_ca: chosen.endpoint_ca.clone(),
        websocket: chosen.websocket,
        drain: chosen.drain,
        offers,
    };
    if let (Some(folder), None) = (&told.credentials, &stored) {
        renewal::finish(folder)?;
    }
    watched.see(told.files().iter()).await;
    Ok(Read { chosen, told, watched, stored })
}

/// The one that is named, by a URL or by what is stored; that of the environment; the active one. Of one that is stored,
/// its certificates are shown where nothing else is named.
fn gateway(context: &Context, mut chosen: Connector) -> Result<(Uri, Connector, Option<Resolved>), Failure> {
    if !context.is_gateway_given() && is_set(ENDPOINT) {
        let url = gateways::endpoint(&env::var(ENDPOINT).unwrap_or_default())
            .map_err(|reason| Failure::new(Exit::Usage, format!("failed to read {ENDPOINT}: {reason}")))?;
        return Ok((url, chosen, None));
    }
    let gateway = context.gateway()?;
    let mut stored = None;
    if let (Some((place, name)), None, None) = (&gateway.stored, &chosen.credentials, &chosen.token_file) {
        chosen.credentials =
            context.store.bundle(*place, name)?.map(|_| context.store.folder(*place, name).join(MTLS));
        chosen.server_name = chosen.server_name.or_else(|| gateway.metadata.server_name.clone());
        stored = Some(gateway.clone());
    }
    Ok((gateway.endpoint, chosen, stored))
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|it| !it.is_empty())
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failed, chain(error))
}

fn log(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .with_env_var("PORTCULLIS_LOG")
        .from_env_lossy();
    // A file has no use for colours.
    let is_coloured = io::stderr().is_terminal() && !is_set("NO_COLOR");
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let builder = builder.with_ansi(is_coloured);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_target(false).init(),
    }
}

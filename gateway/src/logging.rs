//! Logs: JSON or text on standard output, with a level that snapshots change while the process runs.
//!
//! The level is that of our own modules; libraries never log below `warn`, since their traces print header values.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Installs the process's subscriber at level `info`. A second call does nothing.
pub fn install(format: LogFormat) {
    let (filter, handle) = reload::Layer::new(targets(LevelFilter::INFO));
    let lines = match format {
        LogFormat::Json => tracing_subscriber::fmt::layer().json().flatten_event(true).boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer().boxed(),
    };
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// Changes the level of an installed subscriber.
pub(crate) fn set_level(level: LevelFilter) {
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.reload(targets(level))
    {
        tracing::warn!(%error, "failed to change the log level");
    }
}

/// The level that a snapshot names, if it is one.
pub(crate) fn level(name: &str) -> Option<LevelFilter> {
    match name {
        "error" => Some(LevelFilter::ERROR),
        "warn" => Some(LevelFilter::WARN),
        "info" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        "trace" => Some(LevelFilter::TRACE),
        _ => None,
    }
}

fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_target("portcullis_gateway", level).with_default(level.min(LevelFilter::WARN))
}

//! How a replica stops: first `stop` (not ready, GOAWAY, no new connection), then, when in-flight work has finished or
//! the drain timeout has passed, `cut`.

use std::io;

use tokio::signal::unix::{SignalKind, signal as unix_signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of a replica and the two words that end them.
#[derive(Clone, Debug)]
pub(crate) struct Lifeline {
    /// Connections of callers, upgraded ones too: what a drain waits for.
    pub(crate) callers: TaskTracker,
    /// All other tasks.
    pub(crate) tasks: TaskTracker,
    /// Finish what is in flight, begin nothing.
    pub(crate) stop: CancellationToken,
    /// End now.
    pub(crate) cut: CancellationToken,
}

impl Lifeline {
    pub(crate) fn new() -> Self {
        Self {
            callers: TaskTracker::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }
}

/// A token that SIGTERM or SIGINT cancels.
///
/// # Errors
/// Where the signals cannot be listened for.
pub fn signal() -> io::Result<CancellationToken> {
    let mut terminate = unix_signal(SignalKind::terminate())?;
    let mut interrupt = unix_signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
        cancelled.cancel();
    });
    Ok(token)
}

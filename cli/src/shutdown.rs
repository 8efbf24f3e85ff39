//! How a command that runs until it is told to stop is told.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal as unix_signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Exit;

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix_signal(SignalKind::terminate())?,
            interrupt: unix_signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A token that SIGTERM or SIGINT cancels.
///
/// # Errors
/// Where the signals cannot be listened for.
pub fn signal() -> io::Result<CancellationToken> {
    let (mut signals, token) = (Signals::listen()?, CancellationToken::new());
    let cancelled = token.clone();
    tokio::spawn(async move {
        signals.next().await;
        cancelled.cancel();
    });
    Ok(token)
}

/// The same; a second signal ends the process at once, as an interrupted one.
///
/// # Errors
/// Where the signals cannot be listened for.
pub fn twice() -> io::Result<CancellationToken> {
    let (mut signals, token) = (Signals::listen()?, CancellationToken::new());
    let cancelled = token.clone();
    tokio::spawn(async move {
        signals.next().await;
        cancelled.cancel();
        signals.next().await;
        std::process::exit(i32::from(Exit::Interrupted.code()));
    });
    Ok(token)
}

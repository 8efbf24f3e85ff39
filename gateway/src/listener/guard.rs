//! Looks after a connection while it is served: ends it when what let its caller in holds no more, when it idles or
//! dawdles, and when the replica stops.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::activity::Finding;
use super::connection::{Connection, Cut};
use super::trust::Trust;
use crate::rounds::Place;

/// An HTTP connection of either version.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    /// Finishes what is in flight, and begins nothing.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// Hears of each new configuration, and cuts the connection that it has no room for.
pub(super) struct Guard<'a> {
    connection: &'a Connection,
    changes: watch::Receiver<u64>,
    /// Who vouched for the caller's certificate.
    trust: Arc<Trust>,
    /// Of the configuration that the connection was last held against.
    place: Place,
}

impl<'a> Guard<'a> {
    pub(super) fn new(connection: &'a Connection, trust: Arc<Trust>) -> Self {
        let mut changes = connection.shared.changes();
        // A snapshot may have come between the handshake and now.
        changes.mark_changed();
        Self { connection, changes, trust, place: connection.shared.rounds.join() }
    }

    /// Waits for the next configuration. May be dropped at any time, and called again.
    async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        let place = self.connection.shared.rounds.join();
        if self.connection.is_revoked() || !self.is_trusted() {
            // It keeps its place until it is gone.
            self.connection.end(Cut::Revoked);
        } else {
            self.place = place;
        }
    }

    /// Whether one of today's authorities signed the caller's certificate. Looked at only where they have changed.
    fn is_trusted(&mut self) -> bool {
        let shared = &self.connection.shared;
        let Some(trust) = shared.certificates.served_trust() else { return true };
        if Arc::ptr_eq(&trust, &self.trust) {
            return true;
        }
        let holds = self.connection.is_vouched_for(&trust);
        self.trust = trust;
        if !holds {
            tracing::info!(peer = %self.connection.peer(), "cut: the caller's authority is no longer trusted");
        }
        holds
    }

    /// Cuts the connection if what the caller has shown has expired; otherwise, says how long until it has.
    fn time_left(&self) -> Duration {
        let left = self.connection.time_left();
        if left.is_zero() {
            tracing::info!(peer = %self.connection.peer(), "cut: what the caller has shown has expired");
            self.connection.end(Cut::Expired);
        }
        left
    }

    /// Drives a connection until it ends or is told to. What tells it is polled only when it has something to say: a
    /// request wakes the connection several times.
    pub(super) async fn drive<C: Graceful>(&mut self, http: C) -> hyper::Result<()> {
        let mut http = pin!(http);
        let mut words: FuturesUnordered<_> = std::iter::once(Watch::new(self).word()).collect();
        loop {
            tokio::select! {
                biased;
                Some((watch, word)) = words.next() => match word {
                    Word::End => return Ok(()),
                    Word::Finish => {
                        http.as_mut().graceful_shutdown();
                        words.push(watch.word());
                    }
                },
                ended = http.as_mut() => return ended,
            }
        }
    }

    /// Stays until what was upgraded from the connection has ended.
    pub(super) async fn linger(&mut self) {
        let connection = self.connection;
        let upgrades = connection.upgrades();
        upgrades.close();
        while !upgrades.is_empty() {
            let wait = connection.shared.limits.header_time.min(self.time_left());
            tokio::select! {
                biased;
                () = upgrades.wait() => return,
                () = self.changed(), if !connection.cut.is_cancelled() => {}
                () = tokio::time::sleep(wait), if !connection.cut.is_cancelled() => {}
            }
        }
    }
}

/// What a connection is told from outside.
enum Word {
    /// Finish what is in flight, begin nothing.
    Finish,
    /// End now.
    End,
}

/// Waits for what is to be told.
struct Watch<'a, 'b> {
    guard: &'a mut Guard<'b>,
    watchdog: Pin<Box<Sleep>>,
    finishing: bool,
}

impl<'a, 'b> Watch<'a, 'b> {
    fn new(guard: &'a mut Guard<'b>) -> Self {
        let first = guard.connection.shared.limits.header_time.min(guard.time_left());
        Self { guard, watchdog: Box::pin(tokio::time::sleep(first)), finishing: false }
    }

    /// Waits for the next word, and hands itself back with it.
    async fn word(mut self) -> (Self, Word) {
        let connection = self.guard.connection;
        loop {
            tokio::select! {
                biased;
                () = connection.cut.cancelled() => return (self, Word::End),
                () = self.guard.changed() => {}
                () = connection.shared.lifeline.stop.cancelled(), if !self.finishing => {
                    self.finishing = true;
                    connection.note(Cut::Stopping);
                    return (self, Word::Finish);
                }
                () = self.watchdog.as_mut() => if let Some(word) = self.look() {
                    return (self, word);
                },
            }
        }
    }

    fn look(&mut self) -> Option<Word> {
        let connection = self.guard.connection;
        let limits = &connection.shared.limits;
        let left = self.guard.time_left();
        let (wait, word) = match connection.find(limits) {
            Finding::Fine(wait) => (wait, None),
            Finding::Idle if !self.finishing => (limits.header_time, Some(Word::Finish)),
            Finding::Idle | Finding::SlowHeader => return Some(Word::End),
        };
        self.finishing |= word.is_some();
        self.watchdog.as_mut().reset(Instant::now() + wait.min(left));
        word
    }
}

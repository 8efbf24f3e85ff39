//! Serves with what was read, and with what is read anew: new connections first, and those before end when the last request
//! on them does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::CONNECTIONS;
use super::links::Links;
use super::ports::{self, Ports};
use super::services::Services;
use super::settings::{Error, Settings};

/// Connections that were made with the same settings. Whoever drops it ends all that it has begun.
struct Generation {
    settings: Arc<Settings>,
    links: Arc<Links>,
    dialling: TaskTracker,
    stop: CancellationToken,
    _stopped: DropGuard,
    _cut: DropGuard,
}

impl Generation {
    fn begin(mut settings: Settings) -> Self {
        settings.teller = settings.teller.anew();
        let settings = Arc::new(settings);
        let services = Arc::new(Services::new(&settings));
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let links = Arc::new(Links::new(Arc::clone(&settings), services, cut.clone()));
        tracing::info!(gateway = %settings.gateway, connector = %settings.id, "connecting");
        let dialling = TaskTracker::new();
        for _ in 0..CONNECTIONS {
            dialling.spawn(Arc::clone(&links).keep(stop.clone()));
        }
        dialling.close();
        Self { settings, links, dialling, _stopped: stop.clone().drop_guard(), stop, _cut: cut.drop_guard() }
    }

    /// Waits until it has as many connections as that.
    async fn until_connected(&self, count: usize) {
        // It is there for as long as the links are.
        let _ = self.links.connected().wait_for(|connected| *connected >= count).await;
    }

    /// Wants no more requests, and ends when the last one does; once stopped, those left have so long.
    async fn retire(self, stopped: CancellationToken, drain: Duration) {
        self.stop.cancel();
        self.dialling.wait().await;
        if stopped.run_until_cancelled(self.links.finish(Duration::MAX)).await.is_none() {
            self.links.finish(drain).await;
        }
    }
}

/// Serves until stopped, with what comes by `changes` from then on; what is in flight at the end may finish.
///
/// # Errors
/// Where it can be said at once that nothing will come of it: an address that cannot be listened on.
pub async fn follow(
    settings: Settings,
    ports: Ports,
    mut changes: mpsc::Receiver<Settings>,
    stop: CancellationToken,
) -> Result<(), Error> {
    // Whoever drops this future ends all that it has begun.
    let ended = CancellationToken::new();
    let _ended = ended.clone().drop_guard();
    let (teller, tasks, retiring) = (settings.teller.clone(), TaskTracker::new(), TaskTracker::new());
    let listening = ports.bind().await?;
    let mut current = Generation::begin(settings);
    let shown = Arc::new(Mutex::new(current.links.connected()));
    for (listener, page) in listening {
        let answers = ports::Answers::new(page, Arc::clone(&shown), teller.counts().cloned());
        tasks.spawn(ports::serve(listener, answers, ended.clone()));
    }
    let mut next: Option<Generation> = None;
    loop {
        let wanted = current.connected().max(1);
        tokio::select! {
            () = stop.cancelled() => break,
            Some(settings) = changes.recv() => {
                // One that has not connected yet serves nobody.
                next = Some(Generation::begin(settings));
            }
            () = until(next.as_ref(), wanted) => {
                let Some(fresh) = next.take() else { continue };
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = fresh.links.connected();
                let before = std::mem::replace(&mut current, fresh);
                tracing::info!(connector = %before.settings.id, "connected anew: the connections before end with the last request on them");
                retiring.spawn(before.retire(stop.clone(), current.settings.drain));
            }
            // It may have fewer than those after it by now.
            () = current.fewer_than(wanted), if next.is_some() => {}
        }
    }
    tracing::info!("stopping: requests in flight may finish");
    drop(next);
    let drain = current.settings.drain;
    retiring.spawn(current.retire(stop, drain));
    retiring.close();
    retiring.wait().await;
    Ok(())
}

async fn until(next: Option<&Generation>, connected: usize) {
    match next {
        Some(next) => next.until_connected(connected).await,
        None => std::future::pending().await,
    }
}

impl Generation {
    fn connected(&self) -> usize {
        *self.links.connected().borrow()
    }

    async fn fewer_than(&self, count: usize) {
        // With none, waiting for fewer would go round and round.
        if count == 1 {
            return std::future::pending().await;
        }
        let _ = self.links.connected().wait_for(|connected| *connected < count).await;
    }
}

/// What `/readyz` tells: the connections that take requests.
pub(super) type Shown = Arc<Mutex<watch::Receiver<usize>>>;

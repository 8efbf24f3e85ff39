//! Keeps connections to as many replicas as there should be: dials, greets, serves, and dials again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_contract::tunnel::refusal::Code;
use portcullis_contract::tunnel::{Hello, Welcome};
use portcullis_protocol::VERSION;
use portcullis_protocol::backoff::Backoff;
use portcullis_protocol::greeting::{self, Failed};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial::{DialError, Dialer};
use super::news::News;
use super::serve::Link;
use super::services::Services;
use super::settings::Settings;
use crate::line::Transport;

/// How long a connection must have held for the next failure to be the first one.
const HELD: Duration = Duration::from_secs(5);
/// How often it is looked whether there is another replica by now.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Every connection of a connector.
pub(super) struct Links {
    settings: Arc<Settings>,
    dialer: Dialer,
    services: Arc<Services>,
    /// Replicas that are connected to, or about to be.
    replicas: Mutex<BTreeSet<String>>,
    connected: watch::Sender<usize>,
    /// Connections that serve, those that replicas want elsewhere too.
    serving: TaskTracker,
    /// One dials at a time: each must know which replicas the others are connected to.
    dialling: tokio::sync::Mutex<()>,
    open: Mutex<Vec<Arc<Link>>>,
    leaving: CancellationToken,
    cut: CancellationToken,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum NoLink {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Greeting(#[from] Failed),
}

impl Links {
    pub(super) fn new(settings: Arc<Settings>, services: Arc<Services>, cut: CancellationToken) -> Self {
        Self {
            dialer: Dialer::new(Arc::clone(&settings)),
            settings,
            services,
            replicas: Mutex::default(),
            connected: watch::Sender::new(0),
            serving: TaskTracker::new(),
            dialling: tokio::sync::Mutex::default(),
            open: Mutex::default(),
            leaving: CancellationToken::new(),
            cut,
        }
    }

    /// How many connections there are.
    pub(super) fn connected(&self) -> watch::Receiver<usize> {
        self.connected.subscribe()
    }

    /// Keeps one connection, to a replica that no other one is to, until stopped.
    pub(super) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let kept = async {
            let mut backoff = Backoff::default();
            let mut last = String::new();
            loop {
                let began = Instant::now();
                let wait = match self.connect().await {
                    Ok(link) => {
                        last.clear();
                        self.stay(link).await;
                        if began.elapsed() >= HELD {
                            backoff.reset();
                        }
                        backoff.next(rand::random())
                    }
                    Err(NoLink::Greeting(Failed::Refused(refusal))) if refusal.code() == Code::Connected => {
                        let others = self.count() < usize::try_from(refusal.replicas).unwrap_or(usize::MAX);
                        if others { backoff.next(rand::random()) } else { LOOK_AGAIN }
                    }
                    Err(error) => {
                        let text = error.to_string();
                        if text != last {
                            tracing::warn!(error = %text, "not connected; trying again");
                            self.settings.teller.tell(|| News::NotConnected { why: text.clone() });
                            last = text;
                        }
                        backoff.next(rand::random())
                    }
                };
                tokio::time::sleep(wait).await;
            }
        };
        stop.run_until_cancelled(Box::pin(kept)).await;
    }

    async fn connect(self: &Arc<Self>) -> Result<(Arc<Link>, JoinHandle<()>), NoLink> {
        let _turn = self.dialling.lock().await;
        let (mut transport, token) = self.dialer.dial().await?;
        let hello = Hello {
            versions: vec![VERSION],
            features: Vec::new(),
            connector: self.settings.id.clone(),
            binary_version: env!("CARGO_PKG_VERSION").to_owned(),
            offers: self.settings.offers.clone(),
            bearer_token: token,
            connected: self.replicas.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect(),
        };
        let welcome = greeting::greet(&mut transport, &hello).await?;
        Ok(self.serve(transport, welcome))
    }

    /// Serves a connection.
    fn serve(self: &Arc<Self>, transport: Transport, welcome: Welcome) -> (Arc<Link>, JoinHandle<()>) {
        let replica = welcome.replica.clone();
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner).insert(replica.clone());
        tracing::info!(%replica, "connected");
        self.settings.teller.tell(|| News::Connected { replica: replica.clone() });
        let link = Arc::new(Link::new(
            replica.clone(),
            Arc::clone(&self.services),
            welcome.services,
            self.settings.teller.clone(),
            self.leaving.clone(),
        ));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&link));
        self.connected.send_modify(|count| *count += 1);
        let (links, served) = (Arc::clone(self), Arc::clone(&link));
        let serving = self.serving.spawn(async move {
            let ended = links.cut.run_until_cancelled(Arc::clone(&served).serve(transport)).await;
            if let Some(Err(error)) = &ended {
                tracing::info!(replica = %served.replica, error = error as &dyn std::error::Error, "the connection broke");
            } else {
                tracing::info!(replica = %served.replica, "the connection ended");
            }
            links.settings.teller.tell(|| News::Lost {
                replica: served.replica.clone(),
                why: ended.and_then(Result::err).map(|error| error.to_string()),
            });
            links.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|it| !Arc::ptr_eq(it, &served));
            links.replicas.lock().unwrap_or_else(PoisonError::into_inner).remove(&served.replica);
            links.connected.send_modify(|count| *count -= 1);
        });
        (link, serving)
    }

    /// Stays until a connection ends, or its replica wants us elsewhere.
    async fn stay(&self, (link, serving): (Arc<Link>, JoinHandle<()>)) {
        tokio::select! {
            _ = serving => {}
            () = link.told_to_go() => {
                tracing::info!(replica = %link.replica, "the replica stops: connecting to another one");
            }
        }
    }

    fn count(&self) -> usize {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Wants no more requests, lets those in flight finish, and ends all connections.
    pub(super) async fn finish(&self, time: Duration) {
        self.leaving.cancel();
        self.serving.close();
        let idle = async {
            // The word must have reached the gateway before a connection counts as idle.
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            for _ in 0..10 {
                ticks.tick().await;
            }
            while self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|link| link.is_busy()) {
                ticks.tick().await;
            }
        };
        if tokio::time::timeout(time, idle).await.is_err() {
            tracing::warn!("requests in flight are cut: the drain time has passed");
        }
        self.cut.cancel();
        self.serving.wait().await;
    }
}

//! `tunnel listen`: has a Tunnel for an endpoint, connects it, and tells each step as it happens until it is stopped.

use std::time::{Duration, Instant};

use portcullis_contract::gateway::{
    DeleteTunnelRequest, Tunnel, TunnelChange, TunnelEvent, UpdateTunnelRequest, WatchTunnelsRequest,
};
use portcullis_contract::tunnel::Offer;
use portcullis_protocol::backoff::Backoff;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status, Streaming};

use super::Api;
use super::event::Event;
use super::notes::{is_gateways, notes};
use super::steps::{Progress, Steps};
use super::visit::{Broke, Door, Visited, visit};
use super::want::{Wanted, have};
use crate::connector::{self, News, Settings, Teller, Visit};

/// How long a visit is tried again after the Tunnel has become ready.
const VISITS: Duration = Duration::from_secs(10);
/// How long switching it off may take.
const OFF: Duration = Duration::from_secs(5);

/// Why listening ended where nobody stopped it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// What the gateway says to what was asked.
    #[error(transparent)]
    Said(#[from] Status),
    /// The Tunnel cannot be as it is wanted.
    #[error("{0}")]
    Refused(String),
    /// Somebody has removed it.
    #[error("Tunnel {0} was deleted by somebody")]
    Deleted(String),
    /// The connector cannot run here.
    #[error(transparent)]
    Connector(#[from] connector::Error),
}

/// Everything that listening needs.
pub(crate) struct Listening {
    pub(crate) api: Api,
    pub(crate) wanted: Wanted,
    pub(crate) door: Door,
    pub(crate) tell: mpsc::Sender<Event>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    bytes: u64,
}

impl Listening {
    /// Listens until stopped; switches the Tunnel off then. What the connector offers is filled in.
    ///
    /// # Errors
    /// Where nothing can come of it.
    pub(crate) async fn run(mut self, mut settings: Settings, stop: CancellationToken) -> Result<(), Ended> {
        let had = have(&mut self.api, &self.wanted).await?;
        let tunnel = had.tunnel;
        let (project, name) = (tunnel.namespace.clone(), tunnel.name.clone());
        self.tell(Event::Tunnel { project, name, created: had.created, changed: had.changed }).await;
        let (teller, mut news) = Teller::heard();
        settings.teller = teller;
        settings.offers = vec![Offer {
            namespace: tunnel.namespace.clone(),
            name: tunnel.name.clone(),
            endpoints: vec![tunnel.endpoint.clone()],
        }];
        let mut connector =
            AbortOnDropHandle::new(tokio::spawn(connector::run(settings, stop.child_token())));
        let mut counts = Counts::default();
        let ended = tokio::select! {
            ended = self.follow(&tunnel, &mut news, &mut counts) => Some(ended),
            ended = &mut connector => Some(ended.unwrap_or(Ok(())).map_err(Ended::Connector)),
            () = stop.cancelled() => None,
        };
        if let Some(ended) = ended {
            if had.created && matches!(ended, Err(Ended::Refused(_))) {
                // What came to nothing leaves nothing; where even that fails, `tunnel list` shows it.
                let (namespace, name) = (tunnel.namespace, tunnel.name);
                let _ = self.api.delete_tunnel(DeleteTunnelRequest { namespace, name }).await;
            }
            return ended;
        }
        self.tell(Event::Stopping).await;
        // What is in flight finishes first.
        let _ = connector.await;
        while let Ok(last) = news.try_recv() {
            self.told(last, &mut counts).await;
        }
        self.switch_off(&tunnel).await?;
        self.tell(Event::Stopped { requests: counts.requests, bytes: counts.bytes }).await;
        Ok(())
    }

    /// Tells what happens to the Tunnel and to its connector. Ends where nothing more can come of it.
    async fn follow(
        &mut self,
        tunnel: &Tunnel,
        news: &mut mpsc::Receiver<News>,
        counts: &mut Counts,
    ) -> Result<(), Ended> {
        let (mut steps, mut backoff) = (Steps::default(), Backoff::default());
        let began = Instant::now();
        let mut url_told = false;
        let mut visiting = Visiting::default();
        loop {
            let mut watch = match self.watch(tunnel).await {
                Ok(watch) => watch,
                Err(status) if is_passing(&status) => {
                    self.tell(Event::Retrying { why: status.message().to_owned() }).await;
                    tokio::time::sleep(backoff.next(rand::random())).await;
                    continue;
                }
                Err(status) => return Err(status.into()),
            };
            loop {
                tokio::select! {
                    event = watch.message() => match event {
                        Ok(Some(event)) => {
                            backoff.reset();
                            if self.happened(event, &mut steps).await? && !url_told {
                                visiting.begin(self.door.clone());
                            }
                        }
                        Ok(None) => break,
                        Err(status) if is_passing(&status) => break,
                        Err(status) => return Err(status.into()),
                    },
                    Some(what) = news.recv() => self.told(what, counts).await,
                    visited = visiting.ended() => {
                        url_told = true;
                        self.visited(visited, began).await;
                    }
                }
            }
            tokio::time::sleep(backoff.next(rand::random())).await;
        }
    }

    async fn watch(&mut self, tunnel: &Tunnel) -> Result<Streaming<TunnelEvent>, Status> {
        let request = WatchTunnelsRequest { namespace: tunnel.namespace.clone(), name: tunnel.name.clone() };
        Ok(self.api.watch_tunnels(request).await?.into_inner())
    }

    /// Whether it has just become ready.
    async fn happened(&mut self, event: TunnelEvent, steps: &mut Steps) -> Result<bool, Ended> {
        let change = event.change();
        let Some(tunnel) = event.tunnel else { return Ok(false) };
        if change == TunnelChange::Deleted {
            return Err(Ended::Deleted(format!("{}/{}", tunnel.namespace, tunnel.name)));
        }
        if let Ok(url) = tunnel.url.parse() {
            self.door.url = url;
        }
        let mut is_ready = false;
        for progress in steps.seen(&tunnel) {
            match progress {
                Progress::Done(step, message) => self.tell(Event::done(step, message)).await,
                Progress::Undone(step, message) => {
                    self.tell(Event::Broken { step: step.word(), message }).await;
                }
                Progress::Waiting(step, message) => {
                    self.tell(Event::Waiting { step: step.word(), message }).await;
                }
                Progress::Refused(message) => return Err(Ended::Refused(message)),
                Progress::Ready => is_ready = true,
            }
        }
        Ok(is_ready)
    }

    async fn told(&self, news: News, counts: &mut Counts) {
        let event = match news {
            News::Connected { replica } => Event::Connected { replica },
            News::Lost { replica, why } => Event::Lost { replica, why },
            News::NotConnected { why } => Event::Retrying { why },
            News::Visited(Visit { method, path, status, took, bytes }) => {
                counts.requests += 1;
                counts.bytes += bytes;
                let (method, status) = (method.to_string(), status.map(|status| status.as_u16()));
                Event::Request { method, path, status, ms: millis(took), bytes }
            }
        };
        self.tell(event).await;
    }

    /// The URL, once a byte has come back through it: to us, or to the gateway's probe, which goes the same way and may
    /// pass where visitors have to say who they are.
    async fn visited(&self, visited: Result<Visited, Broke>, began: Instant) {
        let url = self.door.url.to_string();
        for message in notes(&self.door, &visited) {
            self.tell(Event::Note { message }).await;
        }
        let url = url.trim_end_matches('/').to_owned();
        self.tell(Event::Url { url, first_byte_ms: millis(began.elapsed()) }).await;
    }

    async fn switch_off(&mut self, tunnel: &Tunnel) -> Result<(), Status> {
        let off = UpdateTunnelRequest {
            namespace: tunnel.namespace.clone(),
            name: tunnel.name.clone(),
            enabled: Some(false),
            ..UpdateTunnelRequest::default()
        };
        match tokio::time::timeout(OFF, self.api.update_tunnel(off)).await {
            Ok(Ok(_)) => Ok(()),
            // Gone is off.
            Ok(Err(status)) if status.code() == Code::NotFound => Ok(()),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(Status::deadline_exceeded("the gateway did not say in time that it is off")),
        }
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more when the command is about to end.
        let _ = self.tell.send(event).await;
    }
}

/// The visit that is under way, if any.
#[derive(Default)]
struct Visiting(Option<AbortOnDropHandle<Result<Visited, Broke>>>);

impl Visiting {
    fn begin(&mut self, door: Door) {
        self.0.get_or_insert_with(|| AbortOnDropHandle::new(tokio::spawn(insist(door))));
    }

    /// Never, while there is none.
    async fn ended(&mut self) -> Result<Visited, Broke> {
        let Some(task) = &mut self.0 else { return std::future::pending().await };
        let ended = task.await;
        self.0 = None;
        match ended {
            Ok(visited) => visited,
            // It is never aborted while it is waited for.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Visits until it is answered by more than the gateway, for some time.
async fn insist(door: Door) -> Result<Visited, Broke> {
    let (began, mut backoff) = (Instant::now(), Backoff::default());
    loop {
        let visited = visit(&door).await;
        let answered = visited.as_ref().is_ok_and(|it| it.status.is_none_or(|status| !is_gateways(status)));
        if answered || began.elapsed() > VISITS {
            return visited;
        }
        tokio::time::sleep(backoff.next(rand::random())).await;
    }
}

/// Whether it may be otherwise in a moment.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::Unknown | Code::Cancelled)
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

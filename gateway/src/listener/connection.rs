//! One connection after its handshake: HTTP/1.1 or HTTP/2, who is asking on it, and whether it may go on.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use portcullis_contract::identity::Holder;
use portcullis_contract::snapshot::Mode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::activity::{Activity, Finding, InFlight};
use super::guard::{Graceful, Guard};
use super::io::Metered;
use super::origin::Origin;
use super::transport::Transport;
use super::trust::Trust;
use crate::auth::{
    self, Carried, Chain, ClientCertificate, Denial, DenialReason, Evidence, Principal, Signer, TokenFault,
};
use crate::body::Body;
use crate::config::Config;
use crate::limits::Limits;
use crate::seen::{GRAIN, Sight};
use crate::service;
use crate::shared::Shared;

pub(crate) type Verdict = Result<Arc<Principal>, Arc<Denial>>;

/// What the requests of one connection have in common.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// Cancelled when the connection and what was upgraded from it must end.
    pub(crate) cut: CancellationToken,
    chain: Chain,
    peer: Peer,
    mode: Mode,
    door: Door,
    origin: Origin,
    activity: Arc<Activity>,
    judgement: Mutex<Judgement>,
    /// When its client was noted as seen, in seconds since the epoch.
    seen: AtomicI64,
    /// What was upgraded from it and goes on.
    upgrades: TaskTracker,
    why: OnceLock<Cut>,
    /// Where it comes through a WebSocket of another connection: what that one's request has shown.
    through: Option<Through>,
}

/// The other end.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// Whose packets they are.
    pub(super) socket: SocketAddr,
    /// Whom a trusted proxy says that it speaks for.
    pub(super) on_behalf_of: Option<SocketAddr>,
}

impl Peer {
    /// Where the caller is.
    pub(super) fn address(self) -> IpAddr {
        self.on_behalf_of.unwrap_or(self.socket).ip()
    }
}

/// Which names a connection may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The gateway's own.
    Own,
    /// Those of tunnels: nobody was asked for a certificate.
    Public,
    /// Both: without TLS, there is no server name that says which.
    Any,
}

/// How a connection came in.
pub(super) struct Came {
    pub(super) chain: Chain,
    pub(super) peer: Peer,
    pub(super) mode: Mode,
    pub(super) door: Door,
}

/// The request that opened the WebSocket that a connection comes through.
pub(super) struct Through {
    pub(super) outer: Arc<Connection>,
    pub(super) carried: Carried,
    pub(super) origin: Origin,
    /// When the first of its evidence ends; and how many seconds later the connection does.
    pub(super) expires_at: i64,
    pub(super) grace: i64,
}

/// Why a connection was ended from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// What the caller has shown has expired.
    Expired,
    /// It opens the gateway no more.
    Revoked,
    /// The replica stops.
    Stopping,
}

#[derive(Default)]
struct Judgement {
    /// Whether the caller was ever let in.
    admitted: bool,
    last: Option<Last>,
}

/// The last decision, and what it holds for.
struct Last {
    config: Arc<Config>,
    /// Of the issuers' keys.
    keys: u64,
    carried: Carried,
    verdict: Verdict,
}

/// An upgraded stream, which keeps its connection's place until dropped.
pub(crate) struct Upgraded {
    _in_flight: InFlight,
    _token: TaskTrackerToken,
}

impl Connection {
    pub(super) fn new(came: Came, shared: Arc<Shared>) -> Arc<Self> {
        let peer = came.peer;
        let origin = Origin::of(peer.on_behalf_of.unwrap_or(peer.socket), came.mode != Mode::Plaintext);
        Self::make(came, origin, None, shared)
    }

    /// A connection through a WebSocket, which lives no longer than the one that the WebSocket is on.
    pub(super) fn through(through: Through) -> Arc<Self> {
        let (outer, origin) = (Arc::clone(&through.outer), through.origin.clone());
        let came = Came { chain: Chain::default(), peer: outer.peer, mode: outer.mode, door: Door::Own };
        Self::make(came, origin, Some(through), Arc::clone(&outer.shared))
    }

    fn make(came: Came, origin: Origin, through: Option<Through>, shared: Arc<Shared>) -> Arc<Self> {
        let Came { chain, peer, mode, door } = came;
        let parent = through.as_ref().map_or(&shared.lifeline.cut, |through| &through.outer.cut);
        Arc::new(Self {
            cut: parent.child_token(),
            activity: Arc::new(Activity::new()),
            judgement: Mutex::default(),
            seen: AtomicI64::new(i64::MIN),
            upgrades: TaskTracker::new(),
            why: OnceLock::new(),
            chain,
            peer,
            mode,
            door,
            origin,
            through,
            shared,
        })
    }

    /// Who is asking, under this configuration and now. A token that names a key that nobody knows waits for the
    /// issuer's answer.
    pub(crate) async fn identify(&self, headers: &HeaderMap, config: &Arc<Config>) -> Verdict {
        let read;
        let carried = if let Some(through) = &self.through {
            // Whatever stands in requests inside, the one that opened the WebSocket counts.
            &through.carried
        } else {
            read = Carried::read(headers, config);
            &read
        };
        let verdict = self.principal(config, carried);
        if let Ok(principal) = &verdict {
            self.note_seen(principal);
        }
        let unknown = DenialReason::Token(TokenFault::UnknownKey);
        if verdict.as_ref().is_err_and(|denial| denial.reason == unknown) && config.refreshed(carried).await {
            return self.principal(config, carried);
        }
        verdict
    }

    /// A client's certificate has let somebody in: told once in a while, whoever asks how often.
    fn note_seen(&self, principal: &Principal) {
        let (now, last) = (self.shared.clock.now(), self.seen.load(Ordering::Relaxed));
        if now.saturating_sub(last) < GRAIN || principal.certificate.is_none() {
            return;
        }
        self.seen.store(now, Ordering::Relaxed);
        let own = self.certificate().filter(|it| it.signer == Signer::Own);
        let Some((own, Ok(identity))) = own.map(|own| (own, own.identity())) else { return };
        let who = match identity.holder {
            Holder::Client(client) => client,
            Holder::Connector { namespace, tunnel } => format!("tunnel/{namespace}/{tunnel}"),
            Holder::Replica => return,
        };
        let sight = Sight { at: now, from: self.peer().ip().to_canonical(), serial: own.serial.clone() };
        self.shared.seen.note(&who, &own.authority, sight);
    }

    /// Decided once for each configuration and what is shown; the time is looked at for each request, since evidence
    /// expires on open connections too.
    fn principal(&self, config: &Arc<Config>, carried: &Carried) -> Verdict {
        let (now, keys) = (self.now(), config.keys());
        let mut judgement = self.judgement.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &judgement.last
            && Arc::ptr_eq(&last.config, config)
            && last.keys == keys
            && last.carried == *carried
            && last.verdict.as_ref().is_ok_and(|principal| now <= principal.expires_at)
        {
            return last.verdict.clone();
        }
        let (edge, bearer) = config.judge(carried, now);
        let at_public_name = self.door == Door::Public;
        let evidence = Evidence { certificate: self.certificate(), edge, bearer, at_public_name };
        let verdict = auth::decide(&evidence, config, now).map(Arc::new).map_err(Arc::new);
        if let Err(denial) = &verdict {
            let logged = judgement.last.as_ref().is_some_and(|last| {
                Arc::ptr_eq(&last.config, config)
                    && last.verdict.as_ref().is_err_and(|before| before == denial)
            });
            if !logged {
                let (peer, reason) = (self.peer(), denial.reason.as_str());
                tracing::info!(%peer, reason, detail = %denial.detail, "caller denied");
            }
        }
        judgement.admitted |= verdict.is_ok();
        judgement.last = Some(Last {
            config: Arc::clone(config),
            keys,
            carried: carried.clone(),
            verdict: verdict.clone(),
        });
        verdict
    }

    /// The time that evidence is judged at: within its grace, what opened the WebSocket still holds.
    fn now(&self) -> i64 {
        let now = self.shared.clock.now();
        match &self.through {
            Some(through) if now <= through.expires_at.saturating_add(through.grace) => {
                now.min(through.expires_at)
            }
            _ => now,
        }
    }

    pub(super) fn chain(&self) -> &Chain {
        self.through.as_ref().map_or(&self.chain, |through| through.outer.chain())
    }

    /// The client certificate that the TLS handshake has verified.
    pub(crate) fn certificate(&self) -> Option<&ClientCertificate> {
        self.chain().certificate.as_ref()
    }

    pub(crate) fn door(&self) -> Door {
        self.door
    }

    /// Whether nobody comes in this way without a certificate.
    fn demands_certificate(&self) -> bool {
        self.mode == Mode::MutualTls && self.door != Door::Public
    }

    /// Whether one of these authorities signed what the caller has shown, where it had to show something.
    pub(super) fn is_vouched_for(&self, trust: &Trust) -> bool {
        match self.certificate() {
            None => !self.demands_certificate(),
            Some(_) => trust.vouches_for(self.chain(), self.shared.clock.now()),
        }
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer.on_behalf_of.unwrap_or(self.peer.socket)
    }

    pub(crate) fn is_tunnelled(&self) -> bool {
        self.through.is_some()
    }

    /// Whether the other end may ask at all: without TLS, only a trusted proxy may.
    pub(crate) fn may_ask(&self, config: &Config) -> bool {
        self.mode == config.mode
            && (self.mode != Mode::Plaintext || config.trusts_peer(self.peer.socket.ip()))
    }

    /// What backends are told of where a request comes from.
    pub(crate) fn origin(&self, headers: &HeaderMap, config: &Config) -> Origin {
        // Behind a PROXY protocol header it is the caller's own words that come, not the proxy's.
        let speaks_for_others = self.through.is_none()
            && match self.peer.on_behalf_of {
                Some(caller) => config.trusts(caller.ip()),
                None => config.trusts_peer(self.peer.socket.ip()),
            };
        if speaks_for_others { self.origin.through(headers, config) } else { self.origin.clone() }
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.activity.begin()
    }

    pub(super) fn find(&self, limits: &Limits) -> Finding {
        self.activity.find(limits.header_time, limits.idle_time)
    }

    pub(crate) fn upgraded(&self) -> Upgraded {
        Upgraded { _in_flight: self.begin(), _token: self.upgrades.token() }
    }

    pub(super) fn upgrades(&self) -> &TaskTracker {
        &self.upgrades
    }

    /// Ends it now.
    pub(super) fn end(&self, why: Cut) {
        self.note(why);
        self.cut.cancel();
    }

    /// Why it will have ended.
    pub(super) fn note(&self, why: Cut) {
        // The first reason is the one.
        let _ = self.why.set(why);
    }

    /// Why it was ended, where we did; what ended the outer connection ended it too.
    pub(super) fn why(&self) -> Option<Cut> {
        self.why.get().copied().or_else(|| self.through.as_ref()?.outer.why())
    }

    /// Whether the connection itself, not one of its requests, was let in before and would not be now.
    pub(super) fn is_revoked(&self) -> bool {
        let config = self.shared.config();
        let Some(config) = config.as_ref() else { return false };
        if !self.may_ask(config) {
            return true;
        }
        let admitted = self.judgement.lock().unwrap_or_else(PoisonError::into_inner).admitted;
        admitted && !self.stands(config)
    }

    /// What the connection itself has shown: a certificate, or what opened its WebSocket.
    fn stands(&self, config: &Arc<Config>) -> bool {
        match &self.through {
            Some(through) => self.principal(config, &through.carried).is_ok(),
            None if self.certificate().is_none() => !self.demands_certificate(),
            None => {
                let evidence = Evidence { certificate: self.certificate(), ..Evidence::default() };
                auth::decide(&evidence, config, self.now()).is_ok()
            }
        }
    }

    /// How long what the connection itself has shown holds; nothing once it has expired.
    pub(super) fn time_left(&self) -> Duration {
        let until = match (&self.through, self.certificate()) {
            (Some(through), _) => through.expires_at.saturating_add(through.grace),
            (None, Some(certificate)) => certificate.not_after,
            (None, None) if self.demands_certificate() => return Duration::ZERO,
            (None, None) => return Duration::MAX,
        };
        let seconds = until.saturating_sub(self.shared.clock.now()).saturating_add(1);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

/// Serves a connection until it ends, and what was upgraded from it too.
pub(super) async fn serve(transport: Transport, is_h2: bool, connection: Arc<Connection>, trust: Arc<Trust>) {
    let shared = Arc::clone(&connection.shared);
    shared.metrics.connections_open.inc();
    let answers = {
        let connection = Arc::clone(&connection);
        service_fn(move |request| service::answer(Arc::clone(&connection), request))
    };
    let mut guard = Guard::new(&connection, trust);
    let io = Metered::new(transport, (!is_h2).then(|| Arc::clone(&connection.activity)));
    let ended = if is_h2 {
        guard.drive(http2_builder(&shared.limits).serve_connection(io, answers)).await
    } else {
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None).max_buf_size(shared.limits.header_bytes.max(8192));
        guard.drive(builder.serve_connection(io, answers).with_upgrades()).await
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %connection.peer(), %error, "connection ended");
    }
    if is_h2 {
        // Upgraded streams were part of the connection.
        connection.cut.cancel();
    }
    guard.linger().await;
    shared.metrics.connections_open.dec();
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.pending_reset_streams)
        .max_local_error_reset_streams(limits.local_error_resets)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_send_buf_size(limits.send_buffer)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    builder
}

impl<S> Graceful for http1::UpgradeableConnection<Metered, S>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

impl<S> Graceful for http2::Connection<Metered, S, TokioExecutor>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

#[cfg(test)]
mod tests;

//! One connection after its handshake: HTTP/1.1 or HTTP/2 as agreed by ALPN, watched until it ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::activity::{Activity, Finding, InFlight};
use super::certificates::Trust;
use super::io::Metered;
use crate::auth::{self, Denial, Evidence, Principal};
use crate::body::Body;
use crate::config::Config;
use crate::service;
use crate::shared::Shared;

type Verdict = Result<Arc<Principal>, Arc<Denial>>;

/// What the requests of one connection have in common.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) evidence: Evidence,
    /// `X-Forwarded-For`.
    pub(crate) forwarded_for: HeaderValue,
    /// Cancelled when the connection and what was upgraded from it must end.
    pub(crate) cut: CancellationToken,
    peer: SocketAddr,
    activity: Arc<Activity>,
    judgement: Mutex<Judgement>,
    /// What was upgraded from it and goes on.
    upgrades: TaskTracker,
}

#[derive(Default)]
struct Judgement {
    /// Whether the caller was ever let in.
    admitted: bool,
    /// The last decision, and the configuration that it holds for.
    last: Option<(Arc<Config>, Verdict)>,
}

/// An upgraded stream, which keeps its connection's place until dropped.
pub(crate) struct Upgraded {
    _in_flight: InFlight,
    _token: TaskTrackerToken,
}

impl Connection {
    fn new(evidence: Evidence, peer: SocketAddr, shared: Arc<Shared>) -> Self {
        let address = peer.ip().to_canonical().to_string();
        Self {
            evidence,
            forwarded_for: HeaderValue::from_str(&address)
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            cut: shared.lifeline.cut.child_token(),
            peer,
            activity: Arc::new(Activity::new()),
            judgement: Mutex::default(),
            upgrades: TaskTracker::new(),
            shared,
        }
    }

    /// Who is asking, under this configuration and now. Decided once for each configuration; the time is looked at
    /// for each request, since certificates expire on open connections too.
    pub(crate) fn principal(&self, config: &Arc<Config>) -> Verdict {
        let now = self.shared.clock.now();
        let mut judgement = self.judgement.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held, verdict)) = &judgement.last
            && Arc::ptr_eq(held, config)
            && verdict.as_ref().is_ok_and(|principal| now <= principal.expires_at)
        {
            return verdict.clone();
        }
        let verdict = auth::decide(&self.evidence, config, now).map(Arc::new).map_err(Arc::new);
        if let Err(denial) = &verdict {
            let logged = matches!(&judgement.last, Some((held, Err(before))) if Arc::ptr_eq(held, config) && before == denial);
            if !logged {
                let (peer, reason) = (self.peer, denial.reason.as_str());
                tracing::info!(%peer, reason, detail = %denial.detail, "caller denied");
            }
        }
        judgement.admitted |= verdict.is_ok();
        judgement.last = Some((Arc::clone(config), verdict.clone()));
        verdict
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.activity.begin()
    }

    pub(crate) fn upgraded(&self) -> Upgraded {
        Upgraded { _in_flight: self.begin(), _token: self.upgrades.token() }
    }

    /// Whether the caller was let in before, by whichever request, and would not be now.
    fn is_revoked(&self) -> bool {
        let admitted = self.judgement.lock().unwrap_or_else(PoisonError::into_inner).admitted;
        admitted && self.shared.config().as_ref().is_some_and(|config| self.principal(config).is_err())
    }

    /// How long the caller's certificate holds; nothing once it has expired.
    fn time_left(&self) -> Duration {
        let Some(certificate) = &self.evidence.certificate else { return Duration::ZERO };
        let seconds = certificate.not_after.saturating_sub(self.shared.clock.now()).saturating_add(1);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

/// Hears of each new configuration, and cuts the connection that it has no room for.
struct Guard<'a> {
    connection: &'a Connection,
    changes: watch::Receiver<u64>,
    /// Who vouched for the caller's certificate.
    trust: Arc<Trust>,
}

impl<'a> Guard<'a> {
    fn new(connection: &'a Connection, trust: Arc<Trust>) -> Self {
        let mut changes = connection.shared.changes();
        // A snapshot may have come between the handshake and now.
        changes.mark_changed();
        Self { connection, changes, trust }
    }

    /// Waits for the next configuration. May be dropped at any time, and called again.
    async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        if self.connection.is_revoked() || !self.is_trusted() {
            self.connection.cut.cancel();
        }
    }

    /// Whether one of today's authorities signed the caller's certificate. Looked at only where they have changed.
    fn is_trusted(&mut self) -> bool {
        let shared = &self.connection.shared;
        let Some(trust) = shared.certificates.served_trust() else { return true };
        if Arc::ptr_eq(&trust, &self.trust) {
            return true;
        }
        let holds = trust.vouches_for(&self.connection.evidence, shared.clock.now());
        self.trust = trust;
        if !holds {
            tracing::info!(peer = %self.connection.peer, "cut: the caller's authority is no longer trusted");
        }
        holds
    }

    /// Cuts the connection if the caller's certificate has expired; otherwise, says how long until it has.
    fn time_left(&self) -> Duration {
        let left = self.connection.time_left();
        if left.is_zero() {
            tracing::info!(peer = %self.connection.peer, "cut: the caller's certificate has expired");
            self.connection.cut.cancel();
        }
        left
    }
}

/// Serves a connection until it ends, and what was upgraded from it too.
pub(super) async fn serve(
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    trust: Arc<Trust>,
    shared: Arc<Shared>,
) {
    shared.metrics.connections_open.inc();
    let (evidence, is_h2) = {
        let (_, tls) = stream.get_ref();
        (Evidence::from_chain(tls.peer_certificates()), tls.alpn_protocol() == Some(b"h2"))
    };
    let connection = Arc::new(Connection::new(evidence, peer, Arc::clone(&shared)));
    let limits = &shared.limits;
    let answers = {
        let connection = Arc::clone(&connection);
        service_fn(move |request| service::answer(Arc::clone(&connection), request))
    };
    let mut guard = Guard::new(&connection, trust);
    let io = Metered::new(stream, (!is_h2).then(|| Arc::clone(&connection.activity)));
    let ended = if is_h2 {
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
        drive(builder.serve_connection(io, answers), &mut guard).await
    } else {
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None).max_buf_size(limits.header_bytes.max(8192));
        drive(builder.serve_connection(io, answers).with_upgrades(), &mut guard).await
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
    if is_h2 {
        // Upgraded streams were part of the connection.
        connection.cut.cancel();
    }
    linger(&mut guard).await;
    shared.metrics.connections_open.dec();
}

/// A connection of either protocol.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn graceful_shutdown(self: Pin<&mut Self>);
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

async fn drive<C: Graceful>(http: C, guard: &mut Guard<'_>) -> hyper::Result<()> {
    let connection = guard.connection;
    let shared = &connection.shared;
    let limits = &shared.limits;
    let mut http = pin!(http);
    let mut stopping = false;
    let mut watchdog = pin!(tokio::time::sleep(limits.header_time.min(guard.time_left())));
    loop {
        tokio::select! {
            biased;
            () = connection.cut.cancelled() => return Ok(()),
            () = guard.changed() => {}
            ended = http.as_mut() => return ended,
            () = shared.lifeline.stop.cancelled(), if !stopping => {
                stopping = true;
                http.as_mut().graceful_shutdown();
            }
            () = watchdog.as_mut() => {
                let left = guard.time_left();
                let wait = match connection.activity.find(limits.header_time, limits.idle_time) {
                    Finding::Fine(wait) => wait,
                    Finding::Idle if !stopping => {
                        stopping = true;
                        http.as_mut().graceful_shutdown();
                        limits.header_time
                    }
                    Finding::Idle | Finding::SlowHeader => return Ok(()),
                };
                watchdog.as_mut().reset(tokio::time::Instant::now() + wait.min(left));
            }
        }
    }
}

/// Stays until what was upgraded from the connection has ended.
async fn linger(guard: &mut Guard<'_>) {
    let connection = guard.connection;
    connection.upgrades.close();
    while !connection.upgrades.is_empty() {
        let wait = connection.shared.limits.header_time.min(guard.time_left());
        tokio::select! {
            biased;
            () = connection.upgrades.wait() => return,
            () = guard.changed(), if !connection.cut.is_cancelled() => {}
            () = tokio::time::sleep(wait), if !connection.cut.is_cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::limits::Limits;
    use crate::metrics::Metrics;
    use crate::shutdown::Lifeline;
    use portcullis_contract::snapshot::{self, Client, GatewayName, Snapshot};
    use portcullis_pki::{AuthorityProfile, NameConstraints, RandomMint, issue_authority};
    use time::{Duration, OffsetDateTime};

    fn apply(shared: &Shared, clients: &[&str]) {
        let profile = AuthorityProfile {
            common_name: "clients".to_owned(),
            lifetime: Duration::days(1),
            name_constraints: NameConstraints::default(),
        };
        let authority = issue_authority(&profile, 1, OffsetDateTime::UNIX_EPOCH, &RandomMint).unwrap();
        let client =
            |name: &&str| Client { name: (*name).to_owned(), user: (*name).to_owned(), roles: Vec::new() };
        let json = Snapshot {
            gateway: GatewayName { namespace: "shop".to_owned(), name: "door".to_owned() },
            trust_domain: "cluster.local".to_owned(),
            log_level: "info".to_owned(),
            trust: vec![authority.certificate_pem],
            server_fingerprint: "00".repeat(32),
            clients: clients.iter().map(client).collect(),
            backends: Vec::new(),
        }
        .to_json()
        .unwrap();
        shared.apply(snapshot::version(json.as_bytes()), json.as_bytes()).unwrap();
    }

    fn connection() -> Connection {
        let (lifeline, clock) = (Lifeline::new(), Clock::manual(150));
        let shared =
            Shared::new(clock, Limits::default(), Arc::new(Metrics::new()), lifeline, "door-0".to_owned());
        let identity = "spiffe://cluster.local/ns/shop/gateway/door/client/ci".parse().map_err(|_| "none");
        let certificate = Some(auth::ClientCertificate::for_test(identity, 100, 200));
        let evidence = Evidence { certificate, ..Evidence::default() };
        Connection::new(evidence, SocketAddr::from(([127, 0, 0, 1], 1)), Arc::new(shared))
    }

    fn ask(connection: &Connection) -> Verdict {
        connection.principal(connection.shared.config().as_ref().unwrap())
    }

    #[test]
    fn a_request_that_is_denied_before_the_connection_hears_of_the_change_hides_no_revocation() {
        let connection = connection();
        apply(&connection.shared, &["ci"]);
        assert!(ask(&connection).is_ok());
        assert!(!connection.is_revoked());
        apply(&connection.shared, &["other"]);
        assert!(ask(&connection).is_err());
        assert!(connection.is_revoked());
    }

    #[test]
    fn whoever_was_never_let_in_has_nothing_to_lose() {
        let connection = connection();
        assert!(!connection.is_revoked());
        apply(&connection.shared, &["other"]);
        assert!(ask(&connection).is_err());
        assert!(!connection.is_revoked());
    }

    #[test]
    fn a_certificate_holds_through_the_last_second_that_it_names() {
        let connection = connection();
        assert_eq!(connection.time_left().as_secs(), 51);
        for (now, left) in [(200, 1), (201, 0), (i64::MAX, 0)] {
            connection.shared.clock.set(now);
            assert_eq!(connection.time_left().as_secs(), left, "{now}");
        }
    }
}

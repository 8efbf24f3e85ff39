//! One connection after its handshake: HTTP/1.1 or HTTP/2 as agreed by ALPN, watched until it ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Finding, InFlight};
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
    /// The last decision, and the configuration that it holds for.
    verdict: Mutex<Option<(Arc<Config>, Verdict)>>,
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
            verdict: Mutex::new(None),
            shared,
        }
    }

    /// Who is asking, under this configuration and now. Decided once for each configuration; the time is looked at
    /// for each request, since certificates expire on open connections too.
    pub(crate) fn principal(&self, config: &Arc<Config>) -> Verdict {
        let now = self.shared.clock.now();
        let mut last = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held, verdict)) = &*last
            && Arc::ptr_eq(held, config)
            && verdict.as_ref().is_ok_and(|principal| now <= principal.expires_at)
        {
            return verdict.clone();
        }
        let verdict = auth::decide(&self.evidence, config, now).map(Arc::new).map_err(Arc::new);
        if let Err(denial) = &verdict {
            let logged =
                matches!(&*last, Some((held, Err(before))) if Arc::ptr_eq(held, config) && before == denial);
            if !logged {
                let (peer, reason) = (self.peer, denial.reason.as_str());
                tracing::info!(%peer, reason, detail = %denial.detail, "caller denied");
            }
        }
        *last = Some((Arc::clone(config), verdict.clone()));
        verdict
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.activity.begin()
    }

    /// Whether the caller was let in before and would not be now.
    fn is_revoked(&self) -> bool {
        let admitted =
            matches!(&*self.verdict.lock().unwrap_or_else(PoisonError::into_inner), Some((_, Ok(_))));
        admitted && self.shared.config().as_ref().is_some_and(|config| self.principal(config).is_err())
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(stream: TlsStream<TcpStream>, peer: SocketAddr, shared: Arc<Shared>) {
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
        drive(builder.serve_connection(io, answers), &connection).await
    } else {
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None).max_buf_size(limits.header_bytes.max(8192));
        drive(builder.serve_connection(io, answers).with_upgrades(), &connection).await
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
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

async fn drive<C: Graceful>(http: C, connection: &Connection) -> hyper::Result<()> {
    let shared = &connection.shared;
    let limits = &shared.limits;
    let mut http = pin!(http);
    let mut changes = shared.changes();
    let mut stopping = false;
    let mut watchdog = pin!(tokio::time::sleep(limits.header_time));
    loop {
        tokio::select! {
            biased;
            ended = http.as_mut() => return ended,
            () = connection.cut.cancelled() => return Ok(()),
            () = shared.lifeline.stop.cancelled(), if !stopping => {
                stopping = true;
                http.as_mut().graceful_shutdown();
            }
            Ok(()) = changes.changed() => if connection.is_revoked() {
                connection.cut.cancel();
            },
            () = watchdog.as_mut() => match connection.activity.find(limits.header_time, limits.idle_time) {
                Finding::Fine(wait) => watchdog.as_mut().reset(tokio::time::Instant::now() + wait),
                Finding::Idle if !stopping => {
                    stopping = true;
                    http.as_mut().graceful_shutdown();
                    watchdog.as_mut().reset(tokio::time::Instant::now() + limits.header_time);
                }
                Finding::Idle | Finding::SlowHeader => return Ok(()),
            },
        }
    }
}

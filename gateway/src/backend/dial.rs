//! Opens TCP connections to backends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::shutdown::Lifeline;

/// Where a backend listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// What every connection to a backend needs.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(super) lifeline: Lifeline,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum DialError {
    TimedOut,
    Failed(io::Error),
}

impl Dialer {
    pub(crate) fn new(lifeline: Lifeline, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self { lifeline, limits, metrics }
    }

    /// Resolves the name anew and tries its addresses in turn, all within `time`.
    pub(super) async fn dial(&self, address: &Address, time: Duration) -> Result<TcpStream, DialError> {
        let dialled = tokio::time::timeout(time, TcpStream::connect((address.host.as_str(), address.port)));
        let stream = dialled.await.map_err(|_elapsed| DialError::TimedOut)?.map_err(DialError::Failed)?;
        stream.set_nodelay(true).map_err(DialError::Failed)?;
        // A backend whose machine is gone is noticed within two minutes, without pings that gRPC servers punish.
        let keepalive =
            TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(15));
        if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
            tracing::debug!(%error, "failed to set TCP keepalive");
        }
        self.metrics.backend_connections.inc();
        Ok(stream)
    }

    /// Runs a connection until it ends by itself or the replica is cut.
    pub(super) fn run(&self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        let cut = self.lifeline.cut.clone();
        self.lifeline.tasks.spawn(async move {
            tokio::select! {
                biased;
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "backend connection ended");
                },
                () = cut.cancelled() => {}
            }
        });
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

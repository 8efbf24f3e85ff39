//! Starts a replica, and stops it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_contract::snapshot;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::options::Options;
use crate::shared::Shared;
use crate::shutdown::Lifeline;
use crate::{admin, control, listener, peer, tunnel};

/// Why a replica could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A snapshot that cannot be read, with no control channel to bring another one.
    #[error("failed to read the snapshot {path}")]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A snapshot that cannot be served, with no control channel to bring another one.
    #[error("failed to serve the snapshot {path}: {reason}")]
    Rejected {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A replica at work.
pub struct Running {
    /// Where callers are served.
    pub address: SocketAddr,
    /// Where `/healthz` and `/readyz` are.
    pub health_address: SocketAddr,
    /// Where `/metrics` is.
    pub metrics_address: SocketAddr,
    shared: Arc<Shared>,
    drain_timeout: Duration,
}

/// Starts a replica. It is ready when `/readyz` says so.
///
/// # Errors
/// Where an address cannot be listened on, or where there is neither a snapshot nor a control channel.
pub async fn start(options: Options) -> Result<Running, StartError> {
    let lifeline = Lifeline::new();
    let port = bind(options.listen)?;
    let health = bind(options.health_listen)?;
    let metrics = bind(options.metrics_listen)?;
    let peers = bind(options.peer_listen)?;
    let shared = Arc::new(Shared::new(
        options.clock.clone(),
        options.limits.clone(),
        Arc::new(Metrics::new()),
        lifeline.clone(),
        options.pod_name.clone(),
        options.tls_dir.clone(),
    ));
    let bootstrap = bootstrap(&options.snapshot, &shared).await;
    if options.control_endpoint.is_none() {
        bootstrap?;
        lifeline.tasks.spawn(control::watch_file(options.snapshot.clone(), Arc::clone(&shared)));
    } else if let Err(error) = bootstrap {
        tracing::warn!(error = &error as &dyn std::error::Error, "waiting for the operator's snapshot");
    }
    lifeline.tasks.spawn(listener::watch_files(options.tls_dir.clone(), Arc::clone(&shared)));
    lifeline.tasks.spawn(listener::watch_public(Arc::clone(&shared)));
    lifeline.tasks.spawn(tunnel::probe_tunnels(Arc::clone(&shared)));
    lifeline.tasks.spawn(admin::follow_readiness(Arc::clone(&shared)));
    let running = Running {
        address: address(&port, options.listen)?,
        health_address: address(&health, options.health_listen)?,
        metrics_address: address(&metrics, options.metrics_listen)?,
        shared: Arc::clone(&shared),
        drain_timeout: options.drain_timeout,
    };
    lifeline.tasks.spawn(admin::serve(health, admin::health(Arc::clone(&shared)), lifeline.cut.clone()));
    lifeline.tasks.spawn(admin::serve(metrics, admin::metrics(Arc::clone(&shared)), lifeline.cut.clone()));
    if let Some(endpoint) = options.control_endpoint {
        lifeline.tasks.spawn(control::attach(endpoint, options.tls_dir, Arc::clone(&shared)));
    }
    lifeline.tasks.spawn(peer::serve(peers, Arc::clone(&shared)));
    lifeline.tasks.spawn(peer::find_peers(Arc::clone(&shared)));
    lifeline.tasks.spawn(listener::serve_ports(options.listen.ip(), Arc::clone(&shared)));
    lifeline.tasks.spawn(listener::serve(port, shared));
    tracing::info!(address = %running.address, version = env!("CARGO_PKG_VERSION"), "gateway started");
    Ok(running)
}

fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener, StartError> {
    listener::bind(address).map_err(|source| StartError::Listen { address, source })
}

fn address(listener: &tokio::net::TcpListener, asked: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen { address: asked, source })
}

async fn bootstrap(path: &std::path::Path, shared: &Shared) -> Result<(), StartError> {
    let json = tokio::fs::read(path)
        .await
        .map_err(|source| StartError::Snapshot { path: path.to_owned(), source })?;
    shared
        .apply(snapshot::version(&json), &json)
        .map_err(|reason| StartError::Rejected { path: path.to_owned(), reason })
}

impl Running {
    /// Whether callers should be sent here; otherwise, what is missing.
    pub fn readiness(&self) -> Result<(), &'static str> {
        self.shared.readiness()
    }

    /// Serves until the token is cancelled, then drains: not ready, no new connections, GOAWAY on open ones, and
    /// whatever is in flight finishes within the drain timeout.
    pub async fn run_until(self, stop: CancellationToken) {
        stop.cancelled().await;
        let lifeline = &self.shared.lifeline;
        tracing::info!("draining");
        lifeline.stop.cancel();
        lifeline.callers.close();
        if tokio::time::timeout(self.drain_timeout, lifeline.callers.wait()).await.is_err() {
            tracing::warn!(connections = lifeline.callers.len(), "the drain timeout has passed");
        }
        lifeline.cut.cancel();
        lifeline.callers.wait().await;
        lifeline.tasks.close();
        lifeline.tasks.wait().await;
        tracing::info!("stopped");
    }
}

//! What a connector is told at its start, read and checked.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use portcullis_contract::endpoint::Endpoint;
use portcullis_contract::tunnel::Offer;

use super::credentials::Credentials;
use super::endpoint_tls::EndpointTls;
use super::news::Teller;
use crate::options::TunnelRun;

/// What a connector is told at its start.
#[derive(Debug)]
pub struct Settings {
    /// Where the gateway is: scheme, host and port.
    pub gateway: Uri,
    /// The name in its certificate, where it is not the URL's host.
    pub server_name: Option<String>,
    /// The same on all connections of this process, and no other's.
    pub id: String,
    /// What it shows.
    pub credentials: Credentials,
    /// What it would serve.
    pub offers: Vec<Offer>,
    /// How TLS to https endpoints is checked.
    pub endpoint_tls: EndpointTls,
    /// Through a WebSocket.
    pub websocket: bool,
    /// The HTTP proxies that the gateway is reached through.
    pub proxies: Arc<Matcher>,
    /// Where `/readyz` is.
    pub health_listen: Option<SocketAddr>,
    /// How long requests in flight may take when it is stopped.
    pub drain: Duration,
    /// Who hears what happens.
    pub teller: Teller,
}

/// Why a connector could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is not what it should be.
    #[error("failed to read {path}: {reason}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What is stored for a gateway cannot be used.
    #[error("{0}")]
    Stored(String),
    /// A token that no header could carry.
    #[error("the token is none that a header could carry")]
    Token,
    /// TLS cannot be set up.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
    /// An address that cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Settings {
    /// Reads what the arguments name, for this gateway.
    ///
    /// # Errors
    /// Where a file cannot be read, or is not what it should be.
    pub async fn read(run: &TunnelRun, gateway: Uri) -> Result<Self, Error> {
        let (namespace, name) = run.tunnel.clone();
        let endpoints = run.endpoints.iter().map(Endpoint::to_string).collect();
        let credentials =
            Credentials::Files { folder: run.credentials.clone(), token_file: run.token_file.clone() };
        // What is wrong with it now is said now.
        credentials.read().await?;
        Ok(Self {
            gateway,
            server_name: run.server_name.clone(),
            id: id(),
            credentials,
            offers: vec![Offer { namespace, name, endpoints }],
            endpoint_tls: EndpointTls::read(run.endpoint_ca.as_deref()).await?,
            websocket: run.websocket,
            proxies: Arc::new(Matcher::from_env()),
            health_listen: run.health_listen,
            drain: run.drain,
            teller: Teller::default(),
        })
    }
}

/// What tells one connector from others: sixteen hexadecimal digits, drawn at random.
pub(crate) fn id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

//! What a connector is told at its start, read and checked.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use portcullis_contract::endpoint::Endpoint;
use portcullis_contract::files::{SERVER_CA, SERVER_CERTIFICATE, SERVER_KEY};
use portcullis_contract::tunnel::Offer;

use super::credentials::Credentials;
use super::endpoint_tls::EndpointTls;
use super::news::Teller;
use crate::gateways::certificate;
use crate::options::Offers;
use portcullis_protocol::clock;

/// How long requests in flight may take when it is stopped, where nothing says so.
const DRAIN: Duration = Duration::from_secs(20);
/// What is warned of: an end of a certificate this near, in seconds.
const NEAR: i64 = 24 * 3600;

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
    /// How long requests in flight may take when it is stopped.
    pub drain: Duration,
    /// Who hears what happens.
    pub teller: Teller,
}

/// What `connector` was told, by flags, the environment and a file.
#[derive(Clone, Debug)]
pub struct Told {
    /// Where the gateway is.
    pub gateway: Uri,
    /// The name in its certificate, where it is not the URL's host.
    pub server_name: Option<String>,
    /// A folder with a bundle.
    pub credentials: Option<PathBuf>,
    /// A file with a bearer token.
    pub token_file: Option<PathBuf>,
    /// Roots for https endpoints.
    pub endpoint_ca: Option<PathBuf>,
    /// Through a WebSocket.
    pub websocket: bool,
    /// How long requests in flight may take when it is stopped.
    pub drain: Option<Duration>,
    /// What it would serve.
    pub offers: Offers,
}

impl Told {
    /// The files that are named, whether they are there or not.
    pub fn files(&self) -> Vec<PathBuf> {
        let bundle = self
            .credentials
            .iter()
            .flat_map(|folder| [SERVER_CA, SERVER_CERTIFICATE, SERVER_KEY].map(|name| folder.join(name)));
        bundle.chain(self.token_file.clone()).chain(self.endpoint_ca.clone()).collect()
    }
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
    /// Reads the files that are named.
    ///
    /// # Errors
    /// Where one cannot be read, or is not what it should be.
    pub async fn read(told: Told, teller: Teller) -> Result<Self, Error> {
        let credentials = Credentials::Files { folder: told.credentials, token_file: told.token_file };
        // What is wrong with it now is said now.
        let shown = credentials.read().await?;
        let now = clock::now();
        if let Some(life) = shown.life.filter(|life| life.is_old(now) && life.ends - now < NEAR) {
            let end = certificate::shown(life.ends);
            tracing::warn!(%end, "the client certificate ends soon: put a new bundle in its place, it is taken up at once");
        }
        teller.shows(shown.life.map(|life| life.ends));
        let offers = told.offers.into_iter().map(|((namespace, name), endpoints)| Offer {
            namespace,
            name,
            endpoints: endpoints.iter().map(Endpoint::to_string).collect(),
        });
        Ok(Self {
            gateway: told.gateway,
            server_name: told.server_name,
            id: id(),
            credentials,
            offers: offers.collect(),
            endpoint_tls: EndpointTls::read(told.endpoint_ca.as_deref()).await?,
            websocket: told.websocket,
            proxies: Arc::new(Matcher::from_env()),
            drain: told.drain.unwrap_or(DRAIN),
            teller,
        })
    }
}

/// What tells one connector from others: sixteen hexadecimal digits, drawn at random.
pub(crate) fn id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

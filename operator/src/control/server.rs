//! The control channel's port: TLS with a certificate of the control authority, renewed in memory, and a client
//! certificate of the same authority demanded.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use portcullis_contract::control::control_server::ControlServer;
use portcullis_pki::{Authority, LeafProfile, Mint, Usage, issue_leaf};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use super::service::ControlService;
use crate::cause::chain;
use crate::clock::Clock;

/// How long the operator's own certificate lives; renewed at two thirds.
const LIFETIME: time::Duration = time::Duration::days(7);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often both sides ask whether the other is alive, and how long the answer may take.
const PING: Duration = Duration::from_secs(5);
/// How long a place is left alone after a failure to accept.
const PAUSE: Duration = Duration::from_millis(500);
/// Handshakes at a time; more wait to be accepted.
const HANDSHAKES: usize = 256;

/// Why the port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No certificate could be issued.
    #[error("failed to issue the control channel's certificate")]
    Issue(#[from] portcullis_pki::Error),
    /// A certificate or key of ours could not be read back.
    #[error("failed to read the control channel's certificate")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// rustls refused the roots.
    #[error("failed to set up the check of replicas' certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// rustls refused the certificate.
    #[error("failed to set up TLS for the control channel")]
    Tls(#[from] rustls::Error),
    /// The server ended.
    #[error("failed to serve the control channel")]
    Serve(#[from] tonic::transport::Error),
}

/// The TLS side of the port.
pub struct Tls {
    /// Signs both sides' certificates.
    pub authority: Arc<Authority>,
    /// The name that replicas dial.
    pub host: String,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Keys and serials.
    pub mint: Arc<dyn Mint>,
    current: Mutex<Option<(Arc<ServerConfig>, OffsetDateTime)>>,
}

impl Tls {
    /// For the name that replicas dial.
    pub fn new(authority: Arc<Authority>, host: String, clock: Arc<dyn Clock>, mint: Arc<dyn Mint>) -> Self {
        Self { authority, host, clock, mint, current: Mutex::new(None) }
    }

    /// The configuration for a new connection.
    fn config(&self) -> Result<Arc<ServerConfig>, Error> {
        let now = self.clock.now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((config, _)) = current.as_ref().filter(|(_, renewal)| now < *renewal) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.issue(now)?);
        *current = Some((config.clone(), now + LIFETIME * 2 / 3));
        Ok(config)
    }

    fn issue(&self, now: OffsetDateTime) -> Result<ServerConfig, Error> {
        let profile = LeafProfile {
            common_name: "portcullis operator".to_owned(),
            usage: Usage::Server,
            dns_names: vec![self.host.clone()],
            ip_addresses: Vec::new(),
            uris: Vec::new(),
            lifetime: LIFETIME,
            renew_before: LIFETIME / 3,
        };
        let leaf = issue_leaf(&self.authority, &profile, now, self.mint.as_ref())?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate_pem.as_bytes())?)?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
        let chain = vec![CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(leaf.key.expose().as_bytes())?;
        let mut config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Serves the control channel until stopped.
///
/// # Errors
/// Where TLS cannot be set up, or the server ends by itself.
pub async fn serve(
    listener: TcpListener,
    tls: Tls,
    service: ControlService,
    stop: CancellationToken,
) -> Result<(), Error> {
    tls.config()?;
    let connections = TcpListenerStream::new(listener)
        .map(move |connection| {
            let config = tls.config();
            async move {
                match (connection, config) {
                    (Ok(stream), Ok(config)) => return handshake(stream, config).await,
                    (Err(error), _) => tracing::warn!(%error, "failed to accept on the control channel"),
                    (_, Err(error)) => {
                        tracing::error!(error = chain(&error), "failed to serve the control channel");
                    }
                }
                // Neither passes by itself within the moment that the next attempt takes.
                tokio::time::sleep(PAUSE).await;
                None
            }
        })
        .buffer_unordered(HANDSHAKES)
        .filter_map(|stream| std::future::ready(stream.map(Ok::<_, std::io::Error>)));
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PING))
        .add_service(ControlServer::new(service));
    Ok(server.serve_with_incoming_shutdown(connections, stop.cancelled_owned()).await?)
}

async fn handshake(stream: TcpStream, config: Arc<ServerConfig>) -> Option<TlsStream<TcpStream>> {
    let peer: Option<SocketAddr> = stream.peer_addr().ok();
    let why = match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "took too long".to_owned(),
    };
    tracing::info!(?peer, why, "failed handshake on the control channel");
    None
}

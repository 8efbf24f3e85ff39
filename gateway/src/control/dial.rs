//! Mutual TLS to the operator. Certificate, key and roots are read at every dial, since they are renewed on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use portcullis_contract::files::{CONTROL_CA, CONTROL_CERTIFICATE, CONTROL_KEY};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// How long a connection and its handshake may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How often the operator is asked whether it is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The operator, wherever the one that leads is.
#[derive(Debug)]
pub(super) struct Operator {
    /// Whom its certificate must name, whatever address is dialled.
    name: String,
    address: String,
    tls_dir: PathBuf,
}

/// Why the operator was not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("failed to read {0}: {1}")]
    Read(&'static str, io::Error),
    #[error("failed to read {0}: {1}")]
    Pem(&'static str, rustls::pki_types::pem::Error),
    #[error("failed to set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("failed to dial {0}: {1}")]
    Connect(String, String),
    #[error("failed to dial: `{0}` is no address")]
    Address(String),
}

impl Operator {
    /// `endpoint` has a host and a port; the options made sure of it.
    pub(super) fn new(endpoint: &Uri, tls_dir: PathBuf) -> Self {
        let host = endpoint.host().unwrap_or_default();
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { name, address: format!("{host}:{}", endpoint.port_u16().unwrap_or(443)), tls_dir }
    }

    /// Dials the operator, or the one that it pointed at.
    pub(super) async fn dial(&self, leader: Option<&String>) -> Result<Channel, DialError> {
        let address = leader.unwrap_or(&self.address).clone();
        let tls = TlsConnector::from(Arc::new(client_config(&self.tls_dir).await?));
        let name =
            ServerName::try_from(self.name.clone()).map_err(|_| DialError::Address(self.name.clone()))?;
        // TLS is the connector's business; tonic is to see a plain connection.
        let endpoint = Endpoint::try_from(format!("http://{}", authority(&self.name)))
            .map_err(|_| DialError::Address(self.name.clone()))?
            .connect_timeout(CONNECT_TIME)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        let dialled = address.clone();
        let connector = service_fn(move |_: Uri| {
            let (tls, name, address) = (tls.clone(), name.clone(), dialled.clone());
            async move { connect(&tls, name, &address).await.map(TokioIo::new) }
        });
        let connecting = tokio::time::timeout(CONNECT_TIME, endpoint.connect_with_connector(connector));
        match connecting.await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(DialError::Connect(address, chain(&error))),
            Err(_) => Err(DialError::Connect(address, "no answer in time".to_owned())),
        }
    }
}

fn authority(name: &str) -> String {
    if name.contains(':') { format!("[{name}]") } else { name.to_owned() }
}

async fn connect(
    tls: &TlsConnector,
    name: ServerName<'static>,
    address: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    tls.connect(name, stream).await
}

async fn client_config(directory: &Path) -> Result<ClientConfig, DialError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(directory, CONTROL_CA).await? {
        roots.add(root)?;
    }
    let chain = certificates(directory, CONTROL_CERTIFICATE).await?;
    let key = PrivateKeyDer::from_pem_slice(&read(directory, CONTROL_KEY).await?)
        .map_err(|error| DialError::Pem(CONTROL_KEY, error))?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

async fn read(directory: &Path, file: &'static str) -> Result<Vec<u8>, DialError> {
    tokio::fs::read(directory.join(file)).await.map_err(|error| DialError::Read(file, error))
}

async fn certificates(
    directory: &Path,
    file: &'static str,
) -> Result<Vec<CertificateDer<'static>>, DialError> {
    CertificateDer::pem_slice_iter(&read(directory, file).await?)
        .collect::<Result<_, _>>()
        .map_err(|error| DialError::Pem(file, error))
}

/// An error and its sources in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

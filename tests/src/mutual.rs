//! Callers of a Gateway in a cluster that hold a bundle, in this process: many of them, and connections that are kept.
//! End-to-end tests only.

use std::collections::BTreeMap;
use std::sync::Arc;

use http_body_util::{Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_contract::tunnel::{Hello, Offer};
use portcullis_protocol::{ALPN, VERSION, greeting};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::door::Door;

/// What is in a bundle's Secret: tls.crt, tls.key and ca.crt, as PEM.
pub type Bundle = BTreeMap<String, String>;

/// A request without a body.
pub type Request = http::Request<Empty<Bytes>>;

/// The way to a Gateway.
#[derive(Clone, Debug)]
pub struct Caller {
    host: String,
    address: String,
}

impl Caller {
    /// To a Gateway's Service.
    pub async fn to(door: &Door) -> Self {
        Self { host: door.host(), address: door.address().await }
    }

    /// A handshake with whatever a configuration holds, session tickets among it.
    pub async fn tls(&self, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.host.clone()).unwrap();
        let stream = TcpStream::connect((self.address.as_str(), 443)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, stream).await
    }

    /// A request to the Gateway itself.
    pub fn request(&self, path: &str) -> Request {
        let uri = format!("https://{}{path}", self.host);
        http::Request::get(uri).header("host", &self.host).body(Empty::new()).unwrap()
    }

    /// An HTTP/2 connection, and the task that carries it until it ends.
    pub async fn http2(
        &self,
        config: Arc<ClientConfig>,
    ) -> Result<(SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>), String> {
        let stream = self.tls(config).await.map_err(|error| format!("no connection: {error}"))?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| format!("no HTTP/2: {error}"))?;
        Ok((sender, tokio::spawn(connection)))
    }

    /// A connector's connection that serves a Tunnel and answers every request; the task ends with it.
    pub async fn connector(
        &self,
        config: Arc<ClientConfig>,
        tunnel: (&str, &str),
        endpoint: &str,
    ) -> Result<JoinHandle<hyper::Result<()>>, String> {
        let mut stream = self.tls(config).await.map_err(|error| format!("no connection: {error}"))?;
        let offer = Offer {
            namespace: tunnel.0.to_owned(),
            name: tunnel.1.to_owned(),
            endpoints: vec![endpoint.to_owned()],
        };
        let hello = Hello {
            versions: vec![VERSION],
            connector: format!("test-{}", tunnel.1),
            offers: vec![offer],
            ..Hello::default()
        };
        greeting::greet(&mut stream, &hello).await.map_err(|error| error.to_string())?;
        let answer = |_: http::Request<Incoming>| async {
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from_static(b"here"))))
        };
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        Ok(tokio::spawn(serving))
    }
}

/// A client's part of TLS with a bundle, for one protocol. It keeps session tickets.
pub fn configured(bundle: &Bundle, protocol: &[u8]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for root in certificates(&bundle["ca.crt"]) {
        roots.add(root).unwrap();
    }
    let key = PrivateKeyDer::from_pem_slice(bundle["tls.key"].as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&bundle["tls.crt"]), key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// The same, for a connector.
pub fn connecting(bundle: &Bundle) -> Arc<ClientConfig> {
    configured(bundle, ALPN)
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

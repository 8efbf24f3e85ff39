//! Opens a connector's connections to a gateway: TLS with the protocol's own name, or a WebSocket where only HTTP passes,
//! either through an HTTP proxy.

use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use portcullis_protocol::{ALPN, CONNECT_PATH};
use rustls::client::Resumption;
use rustls::{AlertDescription, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::credentials::Shown;
use super::settings::{Error as Unreadable, Settings};
use crate::line::{self, CONNECT_TIME, Transport, address, websocket};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Line(#[from] line::Error),
    #[error(
        "{0} does not speak the tunnel protocol: its Gateway has no spec.tunnels, or something in between ends TLS (try --websocket)"
    )]
    NoTunnels(String),
}

/// Dials one gateway.
#[derive(Debug)]
pub(super) struct Dialer {
    settings: Arc<Settings>,
    /// Tickets of earlier connections, so that reconnecting costs the gateway little. Dropped when what is shown changes.
    resumption: Mutex<Option<(Vec<u8>, Resumption)>>,
}

impl Dialer {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, resumption: Mutex::default() }
    }

    /// Opens a connection; the token that goes with it.
    pub(super) async fn dial(&self) -> Result<(Transport, String), DialError> {
        let shown = self.settings.credentials.read().await?;
        let gateway = &self.settings.gateway;
        let (host, port) = address(gateway);
        let dialled = tokio::time::timeout(CONNECT_TIME, self.open(gateway, shown));
        dialled.await.map_err(|_| line::Error::TimedOut(format!("{host}:{port}")))?
    }

    async fn open(&self, gateway: &Uri, shown: Shown) -> Result<(Transport, String), DialError> {
        let stream = line::reach(gateway, &self.settings.proxies).await?;
        let plain = gateway.scheme_str() == Some("http");
        let Shown { tls, token, said, .. } = shown;
        let transport = match (plain, self.settings.websocket) {
            (true, _) => Transport::PlainWebSocket(websocket(stream, gateway, CONNECT_PATH, said).await?),
            (false, false) => Transport::Tls(Box::new(self.agree(stream, tls, ALPN).await?)),
            (false, true) => {
                let stream = self.agree(stream, tls, b"http/1.1").await?;
                Transport::WebSocket(websocket(stream, gateway, CONNECT_PATH, said).await?)
            }
        };
        Ok((transport, token))
    }

    async fn agree(
        &self,
        stream: TcpStream,
        mut config: ClientConfig,
        protocol: &[u8],
    ) -> Result<TlsStream<TcpStream>, DialError> {
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = self.tickets(&config);
        let (host, port) = address(&self.settings.gateway);
        let label = format!("{host}:{port}");
        let named = self.settings.server_name.as_deref().unwrap_or(host);
        let stream = line::agree(stream, named, &label, config).await.map_err(|error| match error.tls() {
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                DialError::NoTunnels(label.clone())
            }
            _ => error.into(),
        })?;
        if protocol == ALPN && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(DialError::NoTunnels(label));
        }
        Ok(stream)
    }

    /// Tickets are good for the certificate that they were got with.
    fn tickets(&self, config: &ClientConfig) -> Resumption {
        let shown = config
            .client_auth_cert_resolver
            .resolve(&[], &[rustls::SignatureScheme::ECDSA_NISTP256_SHA256])
            .and_then(|key| key.cert.first().map(|leaf| leaf.to_vec()))
            .unwrap_or_default();
        let mut kept = self.resumption.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, resumption)) if *of == shown => resumption.clone(),
            _ => {
                let fresh = Resumption::in_memory_sessions(8);
                *kept = Some((shown, fresh.clone()));
                fresh
            }
        }
    }
}

//! Opens connections to a gateway: TLS with the protocol's own name, or a WebSocket where only HTTP passes, either through
//! an HTTP proxy.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Uri};
use portcullis_protocol::{ALPN, CONNECT_PATH};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::credentials::Shown;
use super::settings::{Error as Unreadable, Settings};
use super::transport::{Transport, WebSocketBytes};

/// How long it may take to connect, and TLS to be agreed on.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The longest header of a proxy's answer.
const PROXY_ANSWER: usize = 8 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("failed to connect to {0}: {1}")]
    Connect(String, io::Error),
    #[error("failed to agree on TLS with {0}: {1}")]
    Tls(String, io::Error),
    #[error("failed to connect to {0} in time")]
    TimedOut(String),
    #[error("`{0}` is no name that a certificate could have")]
    Name(String),
    #[error("the proxy {0} refused: {1}")]
    Proxy(String, String),
    #[error("failed to open a WebSocket: {0}")]
    WebSocket(String),
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
        let name = format!("{host}:{port}");
        let dialled = tokio::time::timeout(CONNECT_TIME, self.open(gateway, host, port, shown));
        dialled.await.map_err(|_| DialError::TimedOut(name))?
    }

    async fn open(
        &self,
        gateway: &Uri,
        host: &str,
        port: u16,
        shown: Shown,
    ) -> Result<(Transport, String), DialError> {
        let stream = self.reach(gateway, host, port).await?;
        let plain = gateway.scheme_str() == Some("http");
        let Shown { tls, token } = shown;
        let transport = match (plain, self.settings.websocket) {
            (true, _) => Transport::PlainWebSocket(websocket(stream, gateway, &token).await?),
            (false, false) => Transport::Tls(Box::new(self.agree(stream, host, port, tls, ALPN).await?)),
            (false, true) => {
                let stream = self.agree(stream, host, port, tls, b"http/1.1").await?;
                Transport::WebSocket(websocket(stream, gateway, &token).await?)
            }
        };
        Ok((transport, token))
    }

    /// A connection to the gateway, or through a proxy to it.
    async fn reach(&self, gateway: &Uri, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let Some(proxy) = self.settings.proxies.intercept(gateway) else { return connect(host, port).await };
        let (proxy_host, proxy_port) = address(proxy.uri());
        let mut stream = connect(proxy_host, proxy_port).await?;
        let label = format!("{proxy_host}:{proxy_port}");
        let asked = ask_proxy(&mut stream, host, port, proxy.basic_auth()).await;
        asked.map_err(|reason| DialError::Proxy(label, reason))?;
        Ok(stream)
    }

    async fn agree(
        &self,
        stream: TcpStream,
        host: &str,
        port: u16,
        mut config: ClientConfig,
        protocol: &[u8],
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, DialError> {
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = self.tickets(&config);
        let named = self.settings.server_name.as_deref().unwrap_or(host);
        let bare = named.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| DialError::Name(named.to_owned()))?;
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let label = format!("{host}:{port}");
        let stream = connected.map_err(|error| {
            let no_protocol =
                error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>()).is_some_and(|it| {
                    matches!(
                        it,
                        rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
                    )
                });
            if no_protocol {
                DialError::NoTunnels(label.clone())
            } else {
                DialError::Tls(label.clone(), error)
            }
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

/// Host and port of a URL.
fn address(uri: &Uri) -> (&str, u16) {
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(usual))
}

/// Tries the name's addresses in turn, in an order of chance: behind a name with several, the next connection should not
/// be to the same one.
async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let failed = |error| DialError::Connect(format!("{host}:{port}"), error);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses: Vec<_> = match bare.parse::<IpAddr>() {
        Ok(address) => vec![(address, port).into()],
        Err(_) => tokio::net::lookup_host((bare, port)).await.map_err(failed)?.collect(),
    };
    if addresses.len() > 1 {
        let first = rand::random_range(0..addresses.len());
        addresses.rotate_left(first);
    }
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(failed)?;
    Ok(stream)
}

/// Asks an HTTP proxy for a connection (RFC 9110, 9.3.6).
async fn ask_proxy(
    stream: &mut TcpStream,
    host: &str,
    port: u16,
    auth: Option<&HeaderValue>,
) -> Result<(), String> {
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(auth) = auth {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(auth.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    // Byte by byte, since what follows the header belongs to the gateway.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= PROXY_ANSWER {
            return Err("its answer does not end".to_owned());
        }
        answer.push(stream.read_u8().await.map_err(|error| error.to_string())?);
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    match line.split(' ').nth(1) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(()),
        _ => Err(line),
    }
}

async fn websocket<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: S,
    gateway: &Uri,
    token: &str,
) -> Result<WebSocketBytes<S>, DialError> {
    let authority = gateway.authority().map(ToString::to_string).unwrap_or_default();
    let scheme = if gateway.scheme_str() == Some("http") { "ws" } else { "wss" };
    let failed = |error: &dyn std::fmt::Display| DialError::WebSocket(error.to_string());
    let mut request = format!("{scheme}://{authority}{CONNECT_PATH}")
        .into_client_request()
        .map_err(|error| failed(&error))?;
    if !token.is_empty() {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| failed(&error))?;
        value.set_sensitive(true);
        request.headers_mut().insert(http::header::AUTHORIZATION, value);
    }
    let (socket, _) =
        tokio_tungstenite::client_async(request, stream).await.map_err(|error| failed(&error))?;
    Ok(WebSocketBytes::new(socket))
}

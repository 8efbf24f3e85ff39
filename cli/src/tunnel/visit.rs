//! A visit of a public name, hop by hop, as a visitor makes it: the name, the connection, TLS and its certificate, and what
//! answers. Where the name does not resolve here, the gateway is asked at its own address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::channel::Access;
use crate::gateways::Resolved;
use crate::line;
use crate::line::tls::{builder, public_roots};

/// How long each hop may take.
const TIME: Duration = Duration::from_secs(10);

/// A hop between a visitor and a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    Name,
    Connection,
    Tls,
    Gateway,
}

impl Hop {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Name => "name resolution",
            Self::Connection => "TCP",
            Self::Tls => "TLS",
            Self::Gateway => "gateway",
        }
    }
}

/// Where a visit broke.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Broke {
    pub(crate) hop: Hop,
    pub(crate) message: String,
}

/// What a visit found.
#[derive(Clone, Debug)]
pub(crate) struct Visited {
    /// Where it went.
    pub(crate) address: SocketAddr,
    /// The name resolves here.
    pub(crate) resolves: bool,
    pub(crate) certificate: Certificate,
    /// What was answered; none for one that speaks no HTTP.
    pub(crate) status: Option<StatusCode>,
    /// From the beginning to the first byte of the answer.
    pub(crate) took: Duration,
}

/// Who stands behind a public name's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// Any visitor believes it.
    Public,
    /// The gateway's own authority: visitors need its `ca.crt`.
    Own,
    /// There is no TLS, or it is not the gateway's.
    None,
}

/// Whom to visit.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// As the Tunnel's status has it: https, http, tls or tcp.
    pub(crate) url: Uri,
    /// The gateway's own address, for names that do not resolve here.
    pub(crate) gateway: (String, u16),
    /// Roots of the gateway's own authority, where they are known.
    pub(crate) own: Option<RootCertStore>,
}

impl Door {
    /// The gateway's; the URL is filled in once it is known.
    pub(crate) fn of(gateway: &Resolved, access: &Access) -> Self {
        let (host, port) = line::address(&gateway.endpoint);
        Self { url: Uri::default(), gateway: (host.to_owned(), port), own: access.own_roots() }
    }
}

/// Makes one visit.
///
/// # Errors
/// Where a hop broke.
pub(crate) async fn visit(door: &Door) -> Result<Visited, Broke> {
    let began = Instant::now();
    let name = door.url.host().unwrap_or_default().to_owned();
    let scheme = door.url.scheme_str().unwrap_or("https").to_owned();
    let port = door.url.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
    let (address, resolves) = resolve(&name, port, &door.gateway).await?;
    let stream = connect(address).await?;
    let seen =
        |certificate, status| Visited { address, resolves, certificate, status, took: began.elapsed() };
    if scheme == "tcp" || scheme == "tls" {
        return Ok(seen(Certificate::None, None));
    }
    if scheme == "http" {
        let status = ask(stream, &door.url).await?;
        return Ok(seen(Certificate::None, Some(status)));
    }
    let (stream, certificate) = agree(stream, address, &name, door.own.as_ref()).await?;
    let status = ask(stream, &door.url).await?;
    Ok(seen(certificate, Some(status)))
}

async fn resolve(name: &str, port: u16, gateway: &(String, u16)) -> Result<(SocketAddr, bool), Broke> {
    if let Some(address) = first(name, port).await {
        return Ok((address, true));
    }
    match first(&gateway.0, gateway.1).await {
        Some(address) => Ok((address, false)),
        None => Err(Broke {
            hop: Hop::Name,
            message: format!("neither {name} nor the gateway's own {} resolves here", gateway.0),
        }),
    }
}

async fn first(host: &str, port: u16) -> Option<SocketAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::time::timeout(TIME, tokio::net::lookup_host((bare, port))).await.ok()?.ok()?;
    found.into_iter().next()
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Broke> {
    let broke = |message: String| Broke { hop: Hop::Connection, message };
    match tokio::time::timeout(TIME, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(broke(format!("failed to connect to {address}: {error}"))),
        Err(_) => Err(broke(format!("{address} did not take a connection within {} s", TIME.as_secs()))),
    }
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

/// As any visitor would; where that fails, with the gateway's own authority.
async fn agree(
    stream: TcpStream,
    address: SocketAddr,
    name: &str,
    own: Option<&RootCertStore>,
) -> Result<(Tls, Certificate), Broke> {
    let refused = match handshake(stream, name, public_roots()).await {
        Ok(stream) => return Ok((stream, Certificate::Public)),
        Err(error) => error,
    };
    if let Some(own) = own
        && let Ok(stream) = handshake(connect(address).await?, name, own.clone()).await
    {
        return Ok((stream, Certificate::Own));
    }
    Err(refused)
}

async fn handshake(stream: TcpStream, name: &str, roots: RootCertStore) -> Result<Tls, Broke> {
    let broke = |message: String| Broke { hop: Hop::Tls, message };
    let server =
        ServerName::try_from(name.to_owned()).map_err(|_| broke(format!("{name} is no name of a server")))?;
    let builder = builder().map_err(|error| broke(error.to_string()))?;
    let mut config: ClientConfig = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connecting = TlsConnector::from(Arc::new(config)).connect(server, stream);
    match tokio::time::timeout(TIME, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(broke(format!("the certificate for {name} is not believed: {error}"))),
        Err(_) => Err(broke(format!("no TLS for {name} within {} s", TIME.as_secs()))),
    }
}

/// Whatever answers, answers: which status it is, is for the caller to judge.
async fn ask<S>(stream: S, url: &Uri) -> Result<StatusCode, Broke>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let broke = |message: String| Broke { hop: Hop::Gateway, message };
    let asking = async {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broke(error.to_string()))?;
        let connection = tokio::spawn(connection);
        let authority = url.authority().map(ToString::to_string).unwrap_or_default();
        let request = Request::head("/")
            .header(header::HOST, authority)
            .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| broke(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| broke(error.to_string()))?;
        let status = response.status();
        // What else is said does not matter.
        let _ = response.into_body().collect().await;
        connection.abort();
        Ok(status)
    };
    tokio::time::timeout(TIME, asking)
        .await
        .unwrap_or_else(|_| Err(broke(format!("no answer within {} s", TIME.as_secs()))))
}

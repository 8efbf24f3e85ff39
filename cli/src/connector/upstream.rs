//! An endpoint and the connections to it: pooled HTTP/1.1, or HTTP/2 with prior knowledge.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Either as EitherBody;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portcullis_contract::endpoint::{Endpoint, Scheme};
use portcullis_contract::tunnel::Service;
use portcullis_protocol::carried::Fault;
use portcullis_protocol::limits::{CONNECTION_WINDOW, STREAM_WINDOW};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::body::Passing;
use super::endpoint_tls::EndpointTls;

/// How long a connection to an endpoint waits for the next request: less than the five seconds after which many servers
/// close theirs, so that no request meets an end that is on its way.
const IDLE: Duration = Duration::from_secs(4);
/// How many do.
const IDLE_CONNECTIONS: usize = 256;
/// When an endpoint that says nothing is asked whether it is still there, and how often.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(15));

pub(super) type Upload = EitherBody<Passing, http_body_util::Empty<bytes::Bytes>>;

/// Makes clients of endpoints.
pub(super) struct Forwarder {
    tls: EndpointTls,
}

impl Forwarder {
    pub(super) fn new(tls: EndpointTls) -> Self {
        Self { tls }
    }
}

/// Where a tunnel's requests go.
pub(super) struct Upstream {
    service: Service,
    scheme: Scheme,
    host_header: Option<HeaderValue>,
    response_time: Option<Duration>,
    dial: Dial,
    client: Client<Dial, Upload>,
}

impl Upstream {
    pub(super) fn new(service: Service, endpoint: &Endpoint, forwarder: &Forwarder) -> Result<Self, String> {
        let told = service.endpoint_tls.as_ref();
        let tls = match endpoint.scheme {
            Scheme::Https => {
                let named = told.map(|told| told.server_name.as_str()).filter(|name| !name.is_empty());
                let name = named.unwrap_or(&endpoint.host).to_owned();
                let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
                Some((forwarder.tls.config(told)?, name))
            }
            Scheme::Http | Scheme::H2c | Scheme::Tcp => None,
        };
        let dial = Dial {
            host: endpoint.host.as_str().into(),
            port: endpoint.port,
            time: Duration::from_millis(u64::from(service.connect_timeout_ms.max(1))),
            tls,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .set_host(false)
            .http1_preserve_header_case(false)
            .http2_only(endpoint.scheme == Scheme::H2c)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .build(dial.clone());
        Ok(Self {
            scheme: endpoint.scheme,
            host_header: HeaderValue::try_from(&service.host_header).ok().filter(|it| !it.is_empty()),
            response_time: (service.response_timeout_ms > 0)
                .then(|| Duration::from_millis(u64::from(service.response_timeout_ms))),
            dial,
            client,
            service,
        })
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// Whether bytes go there as they come.
    pub(super) fn is_raw(&self) -> bool {
        self.scheme == Scheme::Tcp
    }

    /// Opens a connection for bytes as they come.
    pub(super) async fn connect(&self) -> Result<TcpStream, Fault> {
        let endpoint = &self.service.endpoint;
        match tokio::time::timeout(self.dial.time, self.dial.tcp()).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                tracing::info!(%endpoint, %error, "the endpoint takes no connection");
                Err(Fault::Unreachable)
            }
            Err(_) => {
                tracing::info!(%endpoint, "the endpoint takes no connection in time");
                Err(Fault::ConnectTimeout)
            }
        }
    }

    pub(super) fn speaks_h2(&self) -> bool {
        self.scheme == Scheme::H2c
    }

    /// `Host` for the endpoint, where it is not the visitor's.
    pub(super) fn host_header(&self) -> Option<&HeaderValue> {
        self.host_header.as_ref()
    }

    pub(super) async fn send(&self, request: Request<Upload>) -> Result<Response<Incoming>, Fault> {
        let sent = self.client.request(request);
        let sent = match self.response_time {
            None => sent.await,
            Some(time) => tokio::time::timeout(time, sent).await.map_err(|_| Fault::HeaderTimeout)?,
        };
        sent.map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &hyper_util::client::legacy::Error) -> Fault {
        let (error, endpoint) = (error as &dyn std::error::Error, &self.service.endpoint);
        tracing::info!(%endpoint, error, "the endpoint gave no answer");
        let mut source = Some(error);
        while let Some(error) = source {
            if let Some(error) =
                error.downcast_ref::<io::Error>().filter(|it| it.kind() == io::ErrorKind::TimedOut)
            {
                tracing::debug!(%endpoint, %error, "no connection in time");
                return Fault::ConnectTimeout;
            }
            if let Some(Unreachable(cause)) = error.downcast_ref() {
                let of_tls = cause.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
                return match of_tls {
                    Some(rustls::Error::InvalidCertificate(_)) => Fault::Untrusted,
                    Some(_) => Fault::Broken,
                    None => Fault::Unreachable,
                };
            }
            source = error.source();
        }
        Fault::Broken
    }
}

/// No connection can be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to connect")]
struct Unreachable(#[source] io::Error);

/// Dials the one endpoint, whatever host a request names.
#[derive(Clone)]
struct Dial {
    host: Arc<str>,
    port: u16,
    time: Duration,
    /// And the name that is asked for.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl tower::Service<Uri> for Dial {
    type Response = Line;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Line, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            match tokio::time::timeout(dial.time, dial.open()).await {
                Ok(Ok(line)) => Ok(line),
                Ok(Err(error)) => Err(Unreachable(error).into()),
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}

impl Dial {
    async fn tcp(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        // A stream may be silent for hours; an endpoint that is gone without a word is noticed.
        SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
        Ok(stream)
    }

    async fn open(&self) -> io::Result<Line> {
        let stream = self.tcp().await?;
        let Some((tls, name)) = &self.tls else { return Ok(Line::Plain(TokioIo::new(stream))) };
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name.clone(), stream).await?;
        Ok(Line::Tls(Box::new(TokioIo::new(stream))))
    }
}

/// A connection to an endpoint.
enum Line {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Does the same with either.
macro_rules! each {
    ($line:expr, $stream:ident => $call:expr) => {
        match $line.get_mut() {
            Line::Plain($stream) => $call,
            Line::Tls($stream) => $call,
        }
    };
}

impl hyper::rt::Read for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl hyper::rt::Write for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }
}

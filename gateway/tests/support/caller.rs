//! Callers: HTTP/1.1 and HTTP/2 over a connection that is already open.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::soon;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = BoxBody<Bytes, Error>;

/// A body that is sent at once.
pub(crate) fn body(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// A GET, as `curl` sends it.
pub(crate) fn request(path: &str) -> Request<Body> {
    Request::get(path).header("host", "door.example").body(body("")).unwrap()
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    pub(crate) async fn of(response: Response<Incoming>) -> Result<Self, hyper::Error> {
        let (parts, body) = response.into_parts();
        let collected = soon("the response ends", body.collect()).await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let text = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
        Ok(Self { status: parts.status, headers: parts.headers, text, trailers })
    }

    /// A header field that must be there.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// An HTTP/1.1 connection.
pub(crate) struct Http1(pub(crate) http1::SendRequest<Body>);

impl Http1 {
    pub(crate) async fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Self(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        self.0.ready().await?;
        soon("a response begins", self.0.send_request(request)).await
    }

    pub(crate) async fn ask(&mut self, request: Request<Body>) -> Answer {
        Answer::of(self.send(request).await.unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(request(path)).await
    }
}

/// An HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Http2(pub(crate) http2::SendRequest<Body>);

impl Http2 {
    pub(crate) async fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// `Host` becomes `:authority`, as HTTP/2 clients do.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        if let Some(host) = request.headers_mut().remove("host") {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
            *request.uri_mut() = format!("https://{}{path}", host.to_str().unwrap()).parse().unwrap();
        }
        self.0.ready().await?;
        soon("a response begins", self.0.send_request(request)).await
    }

    pub(crate) async fn ask(&mut self, request: Request<Body>) -> Answer {
        Answer::of(self.send(request).await.unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(request(path)).await
    }
}

/// Bytes in, bytes out, until the other side closes.
pub(crate) async fn exchange(mut io: impl AsyncRead + AsyncWrite + Unpin, sent: &[u8]) -> Vec<u8> {
    let _ = io.write_all(sent).await;
    let _ = io.flush().await;
    let mut answer = Vec::new();
    let _ = soon("the connection is closed", io.read_to_end(&mut answer)).await;
    answer
}

/// A plain HTTP GET: status and text.
pub(crate) async fn plain_get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut caller = Http1::new(TcpStream::connect(address).await.unwrap()).await;
    let answer = caller.get(path).await;
    (answer.status.as_u16(), answer.text)
}

//! Backends: real servers on port 0.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::caller::Error;

pub(crate) type Reply = Response<BoxBody<Bytes, Error>>;

/// A server that speaks HTTP/1.1 and h2c, until dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    /// Connections that were opened to it.
    pub(crate) connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

/// What the echoing backend saw.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Seen {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }
}

pub(crate) fn reply(text: impl Into<Bytes>) -> Reply {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed())
}

impl Backend {
    /// A server that answers with what this function says.
    pub(crate) async fn new<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        Self::raw(move |stream| {
            let answer = answer.clone();
            async move {
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().enable_connect_protocol();
                let _ =
                    builder.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer)).await;
            }
        })
        .await
    }

    /// A server that does with each connection what this function says.
    pub(crate) async fn raw<F, R>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let opened = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                open.spawn(serve(stream));
            }
        });
        Self { address, connections, _task: AbortOnDropHandle::new(task) }
    }

    /// A server that answers with what it saw.
    pub(crate) async fn echo() -> Self {
        Self::new(echo).await
    }

    pub(crate) fn opened(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn echo(request: Request<Incoming>) -> Result<Reply, Error> {
    let (parts, body) = request.into_parts();
    let collected = body.collect().await?;
    let pairs = |headers: &http::HeaderMap| {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect::<Vec<_>>()
    };
    let seen = Seen {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        version: format!("{:?}", parts.version),
        headers: pairs(&parts.headers),
        trailers: collected.trailers().map(pairs).unwrap_or_default(),
        body: String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
    };
    let text = serde_json::to_vec(&seen)?;
    if parts.method == http::Method::HEAD {
        let mut head = reply("");
        head.headers_mut().insert("content-length", text.len().into());
        return Ok(head);
    }
    Ok(reply(text))
}

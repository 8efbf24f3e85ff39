//! gRPC over a connection that is already open, with a bearer token where one is given.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::codegen::http::Uri;

/// What tonic's clients speak through.
#[derive(Clone)]
pub(crate) struct Line {
    sender: SendRequest<Body>,
    /// Fields that every request gets.
    fields: Vec<(http::HeaderName, HeaderValue)>,
}

/// What requests are for.
pub(crate) fn origin() -> Uri {
    Uri::from_static("https://door.example")
}

impl Line {
    pub(crate) async fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, fields: Vec::new() }
    }

    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut line = self.clone();
        line.fields.push((name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
        line
    }

    pub(crate) fn bearer(&self, token: &str) -> Self {
        self.with(header::AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }
}

impl tower::Service<Request<Body>> for Line {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().extend(self.fields.clone());
        Box::pin(self.sender.send_request(request))
    }
}

//! What clients of the gateway's API speak through: a channel that adds a token to each request.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, header};
use tonic::body::Body;
use tonic::transport::Channel;

use super::TokenSource;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What clients of the gateway's API speak through.
#[derive(Clone)]
pub struct Service {
    inner: Channel,
    tokens: Option<Arc<dyn TokenSource>>,
}

impl Service {
    pub(super) fn new(inner: Channel, tokens: Option<Arc<dyn TokenSource>>) -> Self {
        Self { inner, tokens }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

impl tower::Service<Request<Body>> for Service {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let fresh = self.inner.clone();
        // The one that said that it is ready.
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let tokens = self.tokens.clone();
        Box::pin(async move {
            if let Some(tokens) = tokens
                && let Some(token) = tokens.bearer().await?
            {
                request.headers_mut().insert(header::AUTHORIZATION, token.value("Bearer ")?);
            }
            Ok(inner.call(request).await?)
        })
    }
}

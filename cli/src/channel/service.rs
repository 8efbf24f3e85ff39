//! What clients of the gateway's API speak through: a channel that adds a token to each request, and where the gateway does
//! not take it, another one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::transport::Channel;

use super::{Token, TokenSource};
use crate::failure::Failure;

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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fresh = self.inner.clone();
        // The one that said that it is ready.
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let tokens = self.tokens.clone();
        Box::pin(async move {
            let Some(tokens) = tokens else { return Ok(inner.call(request).await?) };
            let Some(token) = tokens.bearer().await? else { return Ok(inner.call(request).await?) };
            // All methods take one message: it is there at once, and can be sent again.
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let response = inner.call(asked(&head, &body, &token)?).await?;
            if !is_unknown(&response) {
                return Ok(response);
            }
            match tokens.instead_of(&token).await {
                Ok(Some(other)) => {
                    std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
                    Ok(inner.call(asked(&head, &body, &other)?).await?)
                }
                Ok(None) => Ok(response),
                Err(failure) => Err(failure.into()),
            }
        })
    }
}

fn asked(head: &Parts, body: &Bytes, token: &Token) -> Result<Request<Body>, Failure> {
    let mut request = Request::from_parts(head.clone(), Body::new(Full::new(body.clone())));
    request.headers_mut().insert(header::AUTHORIZATION, token.value("Bearer ")?);
    Ok(request)
}

/// Whether the gateway does not know who is asking: it has done nothing then.
fn is_unknown(response: &Response<Body>) -> bool {
    let status = response.headers().get("grpc-status").map(HeaderValue::as_bytes);
    status == Some(b"16") || response.status() == StatusCode::UNAUTHORIZED
}

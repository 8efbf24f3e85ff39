//! The whole way of one request at a glance: own services, then who is asking, then where it goes.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::api::OwnService;
use crate::backend;
use crate::body::Body;
use crate::fault::{Dialect, Fault};
use crate::listener::Connection;
use crate::metrics::RouteClass;
use crate::route::has_dot_segment;

/// Answers one request, whatever it is.
pub(crate) async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let began = Instant::now();
    let in_flight = connection.begin();
    let dialect = Dialect::of(&request);
    let is_head = request.method() == Method::HEAD;
    let mut class = RouteClass::None;
    let mut response = match handle(&connection, request, &mut class).await {
        Ok(response) => response,
        Err(fault) => fault.into_response(dialect),
    };
    if is_head {
        leave_out_body(&mut response);
    }
    response.body_mut().hold(in_flight);
    connection.shared.metrics.request(class, response.status(), began.elapsed());
    Ok(response)
}

async fn handle(
    connection: &Arc<Connection>,
    request: Request<Incoming>,
    class: &mut RouteClass,
) -> Result<Response<Body>, Fault> {
    let shared = &connection.shared;
    refuse_malformed(&request, shared.limits.header_count)?;
    let own = OwnService::find(request.uri().path());
    if let Some(OwnService::Open(service)) = own {
        *class = RouteClass::Own;
        return Ok(shared.api.open(service, request, shared.readiness()).await);
    }
    let config = shared.config();
    let config = config.as_ref().ok_or(Fault::NotReady)?;
    let principal = connection.principal(config).map_err(|denial| {
        shared.metrics.denial(denial.reason);
        Fault::Denied
    })?;
    if let Some(OwnService::Guarded) = own {
        *class = RouteClass::Own;
        return Ok(shared.api.guarded(request, principal, config, shared).await);
    }
    let upstream = config.upstream(request.uri().path()).ok_or(Fault::NoRoute)?;
    *class = upstream.class();
    let upstream = Arc::clone(upstream);
    backend::forward(connection, &principal, &upstream, request).await
}

/// A HEAD is answered with the header alone, which says how long the body would be.
fn leave_out_body(response: &mut Response<Body>) {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    *response.body_mut() = Body::empty();
}

/// What no two servers would read alike, or nobody should have to read.
fn refuse_malformed(request: &Request<Incoming>, header_count: usize) -> Result<(), Fault> {
    let headers = request.headers();
    if headers.len() > header_count {
        return Err(Fault::HeaderTooLarge);
    }
    if has_dot_segment(request.uri().path()) {
        return Err(Fault::Malformed("a path with . or .. segments is not served"));
    }
    if request.method() == Method::CONNECT && request.extensions().get::<hyper::ext::Protocol>().is_none() {
        return Err(Fault::Malformed("this is no forward proxy: CONNECT is not served"));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Fault::Malformed("more than one Host"));
    }
    if request.version() == Version::HTTP_11 && host.is_none() {
        return Err(Fault::Malformed("no Host"));
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next()
        && (!encoding.as_bytes().eq_ignore_ascii_case(b"chunked") || encodings.next().is_some())
    {
        return Err(Fault::Malformed("a Transfer-Encoding other than chunked is not served"));
    }
    Ok(())
}

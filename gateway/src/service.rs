//! The whole way of one request at a glance: own services, then who is asking, then where it goes.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use portcullis_contract::hostname::Hostname;
use portcullis_contract::snapshot::Auth;
use tokio::time::Instant;

use crate::access::Access;
use crate::api::OwnService;
use crate::auth::{Denial, DenialReason, Missing, Principal, TokenFault};
use crate::backend;
use crate::body::Body;
use crate::config::Config;
use crate::fault::{Dialect, Fault};
use crate::listener::{self, Connection, Door, Within};
use crate::login::{self, Page};
use crate::metrics::RouteClass;
use crate::route::has_dot_segment;
use crate::shared::Shared;
use crate::tunnel;

/// Answers one request, whatever it is.
pub(crate) async fn answer(
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let began = Instant::now();
    let mut span = portcullis_trace::serve(&mut request, "gateway");
    let access = Access::of(&mut request, began);
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
    span.set("portcullis.route", class.as_str());
    span.answered(Some(&response));
    response.body_mut().trace(span);
    if let Some(access) = access {
        access.answered(&connection.peer(), class, response.status());
    }
    Ok(response)
}

async fn handle(
    connection: &Arc<Connection>,
    request: Request<Incoming>,
    class: &mut RouteClass,
) -> Result<Response<Body>, Fault> {
    let shared = &connection.shared;
    refuse_malformed(&request, shared.limits.header_count)?;
    if let Some(config) = shared.config().as_ref()
        && let Some(name) = public_name(connection, &request, config)?
    {
        *class = RouteClass::Tunnel;
        return tunnel::visit(connection, request, config, &name).await;
    }
    let own = OwnService::find(request.uri().path());
    if own.is_some() {
        *class = RouteClass::Own;
    }
    if let Some(OwnService::Open(service)) = own {
        return Ok(shared.api.open(service, request, shared.readiness()).await);
    }
    let config = shared.config();
    let config = config.as_ref().ok_or(Fault::NotReady)?;
    if !connection.may_ask(config) {
        shared.metrics.denial(DenialReason::UntrustedPeer);
        return Err(Fault::UntrustedPeer);
    }
    match own {
        Some(own) => serve_own(connection, own, request, config).await,
        None => proxy(connection, request, config, class).await,
    }
}

/// The public name that a request is for; None: it is for the gateway's own. A connection that was opened for names of one
/// kind never carries a request for those of the other, since they are guarded in other ways.
fn public_name(
    connection: &Connection,
    request: &Request<Incoming>,
    config: &Config,
) -> Result<Option<Hostname>, Fault> {
    let Some(tunnels) = &config.tunnels else {
        return if connection.door() == Door::Public { Err(Fault::Misdirected) } else { Ok(None) };
    };
    let authority = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    let public = authority.and_then(|authority| tunnels.public_name(authority));
    match (connection.door(), public) {
        (Door::Public, None) | (Door::Own, Some(_)) => Err(Fault::Misdirected),
        (_, public) => Ok(public),
    }
}

async fn serve_own(
    connection: &Arc<Connection>,
    own: OwnService,
    request: Request<Incoming>,
    config: &Arc<Config>,
) -> Result<Response<Body>, Fault> {
    let shared = &connection.shared;
    match own {
        OwnService::Open(service) => Ok(shared.api.open(service, request, shared.readiness()).await),
        OwnService::Login(Page::Config) => login::config(&request, config),
        OwnService::Login(Page::Token) => login::token(request, &shared.codes, shared.clock.now()).await,
        OwnService::Login(Page::Connect) => {
            let principal = identify(connection, &request, config).await?;
            login::connect(request, &principal, config, &shared.codes, shared.clock.now()).await
        }
        OwnService::Tunnel => {
            let principal = identify(connection, &request, config).await?;
            listener::open_tunnel(connection, &principal, config, request, Within::Requests).await
        }
        OwnService::Connect => {
            let principal = identify(connection, &request, config).await?;
            listener::open_tunnel(connection, &principal, config, request, Within::Connector).await
        }
        OwnService::Method(rule) => {
            let principal = identify(connection, &request, config).await?;
            let rule = rule.ok_or(Fault::NoMethod)?;
            principal.allows(&rule).map_err(|missing| forbidden(shared, missing))?;
            Ok(shared.api.guarded(request, principal, rule, config, connection).await)
        }
    }
}

async fn proxy(
    connection: &Arc<Connection>,
    request: Request<Incoming>,
    config: &Arc<Config>,
    class: &mut RouteClass,
) -> Result<Response<Body>, Fault> {
    let Some(upstream) = config.upstream(request.uri().path()).cloned() else {
        // Strangers do not learn what is behind the door.
        identify(connection, &request, config).await?;
        return Err(Fault::NoRoute);
    };
    let principal = match upstream.auth() {
        Auth::None => None,
        Auth::Required => Some(identify(connection, &request, config).await?),
        Auth::Optional => match connection.identify(request.headers(), config).await {
            Err(denial) if denial.reason == DenialReason::NoEvidence => None,
            verdict => Some(verdict.map_err(|denial| denied(&connection.shared, &denial))?),
        },
    };
    let meets = match &principal {
        Some(principal) => principal.meets(upstream.requires(), request.method()),
        None if upstream.requires().is_empty() => Ok(()),
        None => return Err(Fault::Unauthenticated { shown: false }),
    };
    meets.map_err(|missing| forbidden(&connection.shared, missing))?;
    *class = upstream.class();
    backend::forward(connection, principal.as_deref(), config, &upstream, request).await
}

/// Who is asking, or why nobody is let in.
pub(crate) async fn identify<B>(
    connection: &Connection,
    request: &Request<B>,
    config: &Arc<Config>,
) -> Result<Arc<Principal>, Fault> {
    let verdict = connection.identify(request.headers(), config).await;
    verdict.map_err(|denial| denied(&connection.shared, &denial))
}

/// The reason is counted and logged; the caller is told a poorer one.
fn denied(shared: &Shared, denial: &Denial) -> Fault {
    shared.metrics.denial(denial.reason);
    match denial.reason {
        DenialReason::Token(TokenFault::NoKeys) => Fault::Unverifiable,
        DenialReason::Token(_) => Fault::Unauthenticated { shown: true },
        DenialReason::NoEvidence => Fault::Unauthenticated { shown: false },
        _ => Fault::Denied,
    }
}

pub(crate) fn forbidden(shared: &Shared, missing: Missing) -> Fault {
    shared.metrics.denial(DenialReason::Forbidden);
    Fault::Forbidden { missing }
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

//! The reverse proxy: a request that has its principal and its backend goes there, and the answer comes back, both
//! streamed.
//!
//! What must not live here: who may ask, and which backend is meant. Both are decided before.

mod dial;
mod h2c;
mod headers;
mod http1;
mod reply;
mod upgrade;
mod upload;
mod upstream;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use portcullis_contract::snapshot::{Auth, Protocol};

use crate::auth::{Carried, Principal};
use crate::body::Body;
use crate::config::Config;
use crate::fault::Fault;
use crate::listener::{Connection, Origin};

pub(crate) use dial::Dialer;
pub(crate) use h2c::Place;
pub(crate) use reply::Reply;
pub(crate) use upgrade::Upgrade;
pub(crate) use upload::Upload;
pub(crate) use upstream::Upstream;

use headers::Outgoing;

/// Sends a request to its backend and returns the answer, or what broke.
pub(crate) async fn forward(
    connection: &Arc<Connection>,
    principal: Option<&Principal>,
    config: &Config,
    upstream: &Arc<Upstream>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Fault> {
    upstream.check_resolved()?;
    let upgrade = Upgrade::take(&mut request);
    if upgrade.is_some() && upstream.protocol() != Protocol::Http1 {
        return Err(Fault::NoUpgrade { backend: upstream.name() });
    }
    if upstream.auth() != Auth::None {
        Carried::strip(request.headers_mut(), config);
    }
    let origin = connection.origin(request.headers(), config);
    let outgoing = outgoing(connection, principal, &origin, upstream, request, upgrade.as_ref())?;
    let mut response = upstream.send(outgoing).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(upgrade) = upgrade else {
            let reason = "it switched protocols without having been asked to".to_owned();
            return Err(Fault::Broken { backend: upstream.name(), reason });
        };
        return Ok(upgrade.accept(&mut response, connection));
    }
    Ok(incoming(response))
}

/// A response as the caller gets it.
pub(crate) fn incoming(response: Response<Reply>) -> Response<Body> {
    let (mut parts, reply) = response.into_parts();
    headers::clean_response(&mut parts.headers);
    parts.version = Version::default();
    Response::from_parts(parts, Body::from(reply))
}

/// A visitor's request as it goes to a connector, over HTTP/2: upgrades as extended CONNECT (RFC 8441).
pub(crate) fn to_connector(
    principal: Option<&Principal>,
    origin: &Origin,
    request: Request<Incoming>,
    upgrade: Option<&Upgrade>,
) -> Result<Request<Upload>, Fault> {
    let (mut parts, incoming) = request.into_parts();
    let host = headers::host(&mut parts).flatten().ok_or(Fault::Malformed("the Host is none"))?;
    let named = origin.host.as_ref().or(Some(&host));
    let protocol = Protocol::H2c;
    headers::clean_request(
        &mut parts.headers,
        Outgoing { protocol, principal, origin, host: named, certificate: None },
    );
    parts.headers.remove(header::EXPECT);
    let mut outgoing = Request::new(());
    *outgoing.method_mut() = parts.method;
    *outgoing.uri_mut() =
        headers::absolute_form(&host, &parts.uri).ok_or(Fault::Malformed("the Host is none"))?;
    *outgoing.version_mut() = Version::HTTP_2;
    let upload = match upgrade {
        None => Upload::new(incoming, parts.version == Version::HTTP_2),
        Some(upgrade) => {
            *outgoing.method_mut() = Method::CONNECT;
            outgoing.extensions_mut().insert(upgrade.protocol());
            Upload::empty()
        }
    };
    *outgoing.headers_mut() = parts.headers;
    Ok(outgoing.map(|()| upload))
}

fn outgoing(
    connection: &Connection,
    principal: Option<&Principal>,
    origin: &Origin,
    upstream: &Upstream,
    request: Request<Incoming>,
    upgrade: Option<&Upgrade>,
) -> Result<Request<Upload>, Fault> {
    let (mut parts, incoming) = request.into_parts();
    let certificate = upstream
        .forwards_certificate()
        .then(|| connection.certificate().map(|certificate| certificate.header().clone()))
        .flatten();
    let host = headers::host(&mut parts).ok_or(Fault::Malformed("the Host is none"))?;
    headers::clean_request(
        &mut parts.headers,
        Outgoing {
            protocol: upstream.protocol(),
            principal,
            origin,
            host: origin.host.as_ref().or(host.as_ref()),
            certificate,
        },
    );
    let ended = incoming.is_end_stream();
    let mut upload = Upload::new(incoming, parts.version == Version::HTTP_2);
    let mut outgoing = Request::new(());
    *outgoing.method_mut() = parts.method;
    match upstream.protocol() {
        Protocol::Http1 => {
            *outgoing.uri_mut() = headers::origin_form(&parts.uri);
            let host = host.unwrap_or_else(|| upstream.host_header());
            parts.headers.insert(header::HOST, host);
            if let Some(upgrade) = upgrade {
                upgrade.ask(&mut parts.headers);
                *outgoing.method_mut() = Method::GET;
                upload = Upload::empty();
            } else if !ended && headers::expects_continue(&parts.headers) {
                upload.wait_for_continue(&mut outgoing);
            }
        }
        Protocol::H2c => {
            let host = host.unwrap_or_else(|| upstream.host_header());
            *outgoing.uri_mut() =
                headers::absolute_form(&host, &parts.uri).ok_or(Fault::Malformed("the Host is none"))?;
            *outgoing.version_mut() = Version::HTTP_2;
            parts.headers.remove(header::HOST);
            parts.headers.remove(header::EXPECT);
        }
    }
    *outgoing.headers_mut() = parts.headers;
    Ok(outgoing.map(|()| upload))
}

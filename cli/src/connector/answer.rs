//! One request of the gateway: to the endpoint and back, or an upgrade, or the protocol's own.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Either, Empty};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use portcullis_contract::tunnel::Instruction;
use portcullis_contract::tunnel::instruction::Instruction as Told;
use portcullis_protocol::{carried, message};
use prometheus_client::metrics::counter::Counter;
use tokio_util::io::InspectReader;

use super::body::{InFlight, Passing, Reply};
use super::counts::Counted;
use super::raw;
use super::serve::Link;
use super::upstream::{Upload, Upstream};

const BUFFER: usize = 64 * 1024;

/// Answers one request.
pub(super) async fn answer(
    link: Arc<Link>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    Ok(match request.uri().path() {
        carried::CONTROL if !request.headers().contains_key(carried::TUNNEL) => listen(&link, request),
        carried::PING if !request.headers().contains_key(carried::TUNNEL) => Response::new(Reply::Empty),
        _ => forward(&link, request).await.unwrap_or_else(|fault| {
            link.failed(fault);
            failed(fault)
        }),
    })
}

fn failed(fault: carried::Fault) -> Response<Reply> {
    let mut response = Response::new(Reply::Empty);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(carried::FAULT, fault.header());
    response
}

/// The control stream: instructions come in until the connection ends; the answer ends when no more requests are wanted.
fn listen(link: &Arc<Link>, request: Request<Incoming>) -> Response<Reply> {
    let listening = Arc::clone(link);
    tokio::spawn(async move {
        let (mut body, mut buffer) = (request.into_body(), bytes::BytesMut::new());
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            buffer.extend_from_slice(&data);
            loop {
                match message::take::<Instruction>(&mut buffer) {
                    Ok(None) => break,
                    Ok(Some(Instruction { instruction: Some(Told::Services(it)) })) => {
                        listening.take(it.services);
                    }
                    Ok(Some(Instruction { instruction: Some(Told::Drain(_)) })) => listening.go_elsewhere(),
                    // Of a later version.
                    Ok(Some(Instruction { instruction: None })) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the gateway says what cannot be read");
                        return;
                    }
                }
            }
        }
    });
    Response::new(Reply::until(link.leaving()))
}

async fn forward(link: &Link, mut request: Request<Incoming>) -> Result<Response<Reply>, carried::Fault> {
    let uid = request.headers_mut().remove(carried::TUNNEL);
    let uid = uid.as_ref().and_then(|uid| uid.to_str().ok()).ok_or(carried::Fault::NotServed)?;
    let upstream = link.upstream(uid).ok_or(carried::Fault::NotServed)?;
    if upstream.is_raw() {
        return raw::carry(link, &upstream, request).await;
    }
    let in_flight = link.begin(&request);
    let mut span = portcullis_trace::serve(&mut request, "connector");
    let protocol = request.extensions_mut().remove::<Protocol>();
    let mut answered = match protocol {
        Some(protocol) if request.method() == Method::CONNECT => {
            upgrade(&upstream, request, &protocol, in_flight).await
        }
        _ => exchange(&upstream, request, in_flight).await,
    };
    span.answered(answered.as_ref().ok());
    if let Ok(response) = &mut answered {
        response.body_mut().trace(span);
    }
    answered
}

async fn exchange(
    upstream: &Upstream,
    request: Request<Incoming>,
    mut in_flight: InFlight,
) -> Result<Response<Reply>, carried::Fault> {
    let received = in_flight.counts().map(Counted::received);
    let outgoing =
        outgoing(upstream, request, |body| Either::Left(Passing::new(body, true).counted(received)));
    let (mut parts, body) = upstream.send(outgoing).await?.into_parts();
    in_flight.answered(parts.status);
    clean(&mut parts.headers);
    parts.version = Version::default();
    let body = Passing::new(body, upstream.speaks_h2());
    Ok(Response::from_parts(parts, Reply::Endpoint { body, in_flight }))
}

/// The request as the endpoint gets it.
fn outgoing(
    upstream: &Upstream,
    request: Request<Incoming>,
    body: impl FnOnce(Incoming) -> Upload,
) -> Request<Upload> {
    let (mut parts, incoming) = request.into_parts();
    let asked = parts.uri.authority().cloned();
    let host =
        upstream.host_header().cloned().or_else(|| HeaderValue::from_str(asked.as_ref()?.as_str()).ok());
    let authority = host.as_ref().and_then(|host| Authority::try_from(host.as_bytes()).ok()).or(asked);
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = authority;
    uri.path_and_query = parts.uri.path_and_query().cloned();
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    if upstream.speaks_h2() {
        parts.version = Version::HTTP_2;
    } else {
        parts.version = Version::HTTP_11;
        join_cookies(&mut parts.headers);
        if parts.headers.contains_key(header::TE) {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        parts.headers.extend(host.map(|host| (header::HOST, host)));
    }
    Request::from_parts(parts, body(incoming))
}

/// HTTP/2 splits cookies into fields; HTTP/1.1 knows one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let parts: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if parts.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Takes away what belongs to the connection with the endpoint, and what only we may say.
fn clean(headers: &mut HeaderMap) {
    headers.remove(carried::FAULT);
    headers.remove(carried::TUNNEL);
    let listed: Vec<header::HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// Extended CONNECT becomes an upgrade of HTTP/1.1 (RFC 8441), and then bytes both ways.
async fn upgrade(
    upstream: &Upstream,
    mut request: Request<Incoming>,
    protocol: &Protocol,
    mut in_flight: InFlight,
) -> Result<Response<Reply>, carried::Fault> {
    if upstream.speaks_h2() {
        return Err(carried::Fault::NoUpgrade);
    }
    let gateway = hyper::upgrade::on(&mut request);
    let mut outgoing = outgoing(upstream, request, |_| Either::Right(Empty::new()));
    *outgoing.method_mut() = Method::GET;
    let headers = outgoing.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    let named = HeaderValue::from_str(protocol.as_str()).map_err(|_| carried::Fault::NoUpgrade)?;
    headers.insert(header::UPGRADE, named);
    if protocol.as_str() == "websocket" && !headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        let key = tokio_tungstenite::tungstenite::handshake::client::generate_key();
        headers.extend(HeaderValue::try_from(key).ok().map(|key| (header::SEC_WEBSOCKET_KEY, key)));
    }
    let mut response = upstream.send(outgoing).await?;
    in_flight.answered(response.status());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        if response.status().is_success() {
            return Err(carried::Fault::NoUpgrade);
        }
        let (mut parts, body) = response.into_parts();
        clean(&mut parts.headers);
        parts.version = Version::default();
        return Ok(Response::from_parts(
            parts,
            Reply::Endpoint { body: Passing::new(body, false), in_flight },
        ));
    }
    let endpoint = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let Ok((gateway, endpoint)) = tokio::try_join!(gateway, endpoint) else { return };
        let count = |bytes: Option<Counter>| {
            move |read: &[u8]| {
                if let Some(bytes) = &bytes {
                    bytes.inc_by(read.len() as u64);
                }
            }
        };
        let counts = in_flight.counts();
        let mut gateway = InspectReader::new(TokioIo::new(gateway), count(counts.map(Counted::received)));
        let sent = counts.map(|counts| counts.sent().clone());
        let mut endpoint = InspectReader::new(TokioIo::new(endpoint), count(sent));
        let carried =
            tokio::io::copy_bidirectional_with_sizes(&mut gateway, &mut endpoint, BUFFER, BUFFER).await;
        if let Err(error) = carried {
            tracing::debug!(%error, "an upgraded connection ended");
        }
    });
    let mut agreed = Response::new(Reply::Empty);
    *agreed.headers_mut() = std::mem::take(response.headers_mut());
    clean(agreed.headers_mut());
    Ok(agreed)
}

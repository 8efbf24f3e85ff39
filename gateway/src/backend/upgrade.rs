//! WebSocket and other upgrades: agreed on with the backend, then bytes both ways. Over HTTP/2 they come as extended
//! CONNECT (RFC 8441) and go to the backend as an HTTP/1.1 upgrade.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::headers;
use super::reply::Reply;
use crate::body::Body;
use crate::listener::Connection;

const BUFFER: usize = 16 * 1024;

/// An upgrade that a caller asked for.
pub(crate) struct Upgrade {
    caller: OnUpgrade,
    protocol: HeaderValue,
    over_h2: bool,
}

impl Upgrade {
    /// Takes it out of the request, where there is one that can be passed on.
    pub(crate) fn take(request: &mut Request<Incoming>) -> Option<Self> {
        let over_h2 = request.method() == Method::CONNECT;
        let protocol = if over_h2 {
            HeaderValue::from_str(request.extensions().get::<Protocol>()?.as_str()).ok()?
        } else {
            asked_for(request)?
        };
        Some(Self { caller: hyper::upgrade::on(request), protocol, over_h2 })
    }

    /// As extended CONNECT names it.
    pub(super) fn protocol(&self) -> Protocol {
        Protocol::from(self.protocol.to_str().unwrap_or_default())
    }

    /// Asks a backend for the same.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
        if self.over_h2 && self.protocol == "websocket" {
            // Extended CONNECT has no key, HTTP/1.1 demands one.
            let key = STANDARD.encode(rand::random::<[u8; 16]>());
            if let Ok(key) = HeaderValue::try_from(key) {
                headers.insert(header::SEC_WEBSOCKET_KEY, key);
            }
        }
    }

    /// The backend agreed: tells the caller so, and carries bytes until either side ends or the connection is cut.
    pub(crate) fn accept(
        self,
        response: &mut Response<Reply>,
        connection: &Arc<Connection>,
    ) -> Response<Body> {
        let backend = hyper::upgrade::on(&mut *response);
        let mut answer = Response::new(Body::empty());
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        headers::clean_response(answer.headers_mut());
        if self.over_h2 {
            answer.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
        } else {
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            answer.headers_mut().insert(header::UPGRADE, self.protocol.clone());
        }
        let upgraded = connection.upgraded();
        let cut = connection.cut.clone();
        let carry = carry(self.caller, backend);
        connection.shared.lifeline.callers.spawn(async move {
            let _upgraded = upgraded;
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                ended = carry => if let Err(error) = ended {
                    tracing::debug!(error, "an upgraded connection ended");
                },
            }
        });
        answer
    }
}

/// The protocol that an HTTP/1.1 request asks to switch to. `h2c` is never passed on: behind it, requests would reach
/// the backend that nobody has judged.
fn asked_for(request: &Request<Incoming>) -> Option<HeaderValue> {
    const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
    let headers = request.headers();
    let asks = request.version() == Version::HTTP_11
        && headers.get_all(header::CONNECTION).iter().any(|value| headers::lists(value, "upgrade"))
        && !headers.contains_key(HTTP2_SETTINGS);
    let protocol = asks.then(|| headers.get(header::UPGRADE)).flatten()?;
    let first = protocol.as_bytes().get(..3).unwrap_or_default();
    (!headers::lists(protocol, "h2c") && !first.eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

async fn carry(caller: OnUpgrade, backend: OnUpgrade) -> Result<(), String> {
    let (caller, backend) = tokio::try_join!(caller, backend).map_err(|error| error.to_string())?;
    let (mut caller, mut backend) = (TokioIo::new(caller), TokioIo::new(backend));
    tokio::io::copy_bidirectional_with_sizes(&mut caller, &mut backend, BUFFER, BUFFER)
        .await
        .map(|_| ())
        .map_err(|error| error.to_string())
}

//! WebSockets that carry a connection: `/_ws_tunnel` one like any other, `/_connect` a connector's. Whoever opens it is known
//! before the upgrade; who that was is who asks inside, whatever requests inside say. It ends when what was shown ends.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::header::{self, HeaderMap};
use http::uri::Authority;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::connection::{self, Connection, Through, Upgraded};
use super::connector;
use super::transport::{Sniffed, Transport};
use super::websocket::{self, Socket};
use crate::auth::{Carried, Principal};
use crate::body::Body;
use crate::config::Config;
use crate::fault::Fault;

/// What a WebSocket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// Requests.
    Requests,
    /// A connector's greeting.
    Connector,
}

/// Opens it for this principal.
pub(crate) async fn open(
    outer: &Arc<Connection>,
    principal: &Principal,
    config: &Config,
    mut request: Request<Incoming>,
    within: Within,
) -> Result<Response<Body>, Fault> {
    if outer.is_tunnelled() {
        return Err(Fault::Malformed("a tunnel within a tunnel is not served"));
    }
    if is_foreign(request.headers(), request.uri().authority()) {
        return Err(Fault::Malformed("a page of another site may not open this WebSocket"));
    }
    let carried = Carried::read(request.headers(), config);
    let through = Through {
        outer: Arc::clone(outer),
        origin: outer.origin(request.headers(), config),
        expires_at: principal.expires_at,
        // A certificate has no grace: the connection that it opened ends with it.
        grace: if carried.is_empty() { 0 } else { config.edge.as_ref().map_or(0, |edge| edge.grace) },
        carried,
    };
    let (response, upgrade) = websocket::accept(&mut request)
        .ok_or(Fault::Malformed("this is a WebSocket: connect with a WebSocket client (version 13)"))?;
    outer.shared.lifeline.callers.spawn(run(upgrade, Connection::through(through), outer.upgraded(), within));
    Ok(response)
}

/// Boxed, since a connection in a connection would be a type in itself.
fn run(upgrade: OnUpgrade, inner: Arc<Connection>, held: Upgraded, within: Within) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        match within {
            Within::Requests => carry(upgrade, inner).await,
            Within::Connector => carry_connector(upgrade, inner).await,
        }
        drop(held);
    })
}

async fn carry(upgrade: OnUpgrade, inner: Arc<Connection>) {
    let Some(trust) = inner.shared.certificates.served_trust() else { return };
    let Ok(stream) = upgrade.await else { return };
    let (bytes, socket) = Socket::new(TokioIo::new(stream)).await;
    let begun = tokio::time::timeout(inner.shared.limits.handshake_time, Sniffed::read(bytes));
    let begun = tokio::select! {
        begun = begun => begun,
        () = inner.cut.cancelled() => return socket.close(inner.why()).await,
    };
    if let Ok(Ok((stream, is_h2))) = begun {
        connection::serve(Transport::Tunnel(stream), is_h2, Arc::clone(&inner), trust).await;
    }
    socket.close(inner.why()).await;
}

async fn carry_connector(upgrade: OnUpgrade, inner: Arc<Connection>) {
    let Some(trust) = inner.shared.certificates.served_trust() else { return };
    let Ok(stream) = upgrade.await else { return };
    let (bytes, socket) = Socket::new(TokioIo::new(stream)).await;
    connector::serve(bytes, Arc::clone(&inner), trust, "websocket").await;
    socket.close(inner.why()).await;
}

/// Whether a browser says that another site's page opens this. A browser sends cookies along whoever asks.
fn is_foreign(headers: &HeaderMap, authority: Option<&Authority>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = authority.map(Authority::as_str).or_else(|| headers.get(header::HOST)?.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_none_or(|(_, origin)| Some(origin) != host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_page_of_another_site_is_foreign_and_a_program_is_not() {
        let asks = |origin: Option<&'static str>, host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            is_foreign(&headers, None)
        };
        assert!(!asks(None, "door.example.com"));
        assert!(!asks(Some("https://door.example.com"), "door.example.com"));
        assert!(asks(Some("https://evil.example.com"), "door.example.com"));
        assert!(asks(Some("https://door.example.com.evil.com"), "door.example.com"));
        assert!(asks(Some("null"), "door.example.com"));
    }
}

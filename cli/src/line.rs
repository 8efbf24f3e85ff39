//! How bytes get to a gateway: a TCP connection, through an HTTP proxy where the environment names one, TLS on it, a WebSocket
//! where only HTTP passes. Connectors and the gateway's callers share it.
//!
//! What must not live here: what is said on the connection, and what is shown to whom.

mod error;
mod proxy;
mod tcp;
pub(crate) mod tls;
mod transport;
mod websocket;

use http::Uri;

pub(crate) use error::{Error, tls_error};
pub(crate) use proxy::reach;
pub(crate) use tls::agree;
pub(crate) use transport::{Transport, WebSocketBytes};
pub(crate) use websocket::{Said, websocket};

/// How long it may take to connect, and TLS to be agreed on.
pub(crate) const CONNECT_TIME: std::time::Duration = std::time::Duration::from_secs(10);

/// Host and port of a URL.
pub(crate) fn address(uri: &Uri) -> (&str, u16) {
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(usual))
}

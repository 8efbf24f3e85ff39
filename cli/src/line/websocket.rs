//! A WebSocket on a connection to a gateway.

use http::{HeaderName, HeaderValue, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::{Error, WebSocketBytes};

/// Fields of the request that opens it: who is asking.
pub(crate) type Said = Vec<(HeaderName, HeaderValue)>;

/// Opens one at this path.
pub(crate) async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    gateway: &Uri,
    path: &str,
    said: Said,
) -> Result<WebSocketBytes<S>, Error> {
    let authority = gateway.authority().map(ToString::to_string).unwrap_or_default();
    let scheme = if gateway.scheme_str() == Some("http") { "ws" } else { "wss" };
    let mut request =
        format!("{scheme}://{authority}{path}").into_client_request().map_err(|error| failed(&error))?;
    for (name, mut value) in said {
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    let opened = tokio_tungstenite::client_async(request, stream).await;
    let (socket, _) = opened.map_err(|error| failed(&error))?;
    Ok(WebSocketBytes::new(socket))
}

fn failed(error: &tungstenite::Error) -> Error {
    let status = match error {
        tungstenite::Error::Http(answer) => Some(answer.status().as_u16()),
        _ => None,
    };
    Error::WebSocket { status, reason: error.to_string() }
}

//! What fuzz targets need of the connector's insides, and nothing else.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::line::WebSocketBytes;

/// The connector's end of a WebSocket, as a stream of bytes.
pub async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> impl AsyncRead + AsyncWrite + Unpin {
    WebSocketBytes::new(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
}

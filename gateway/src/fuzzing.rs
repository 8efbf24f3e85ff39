//! What fuzz targets need of the gateway's insides, and nothing else.

use tokio::io::{AsyncRead, AsyncWrite};

/// The gateway's end of a WebSocket, as a stream of bytes.
pub async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> impl AsyncRead + AsyncWrite + Unpin {
    crate::listener::Socket::new(stream).await.0
}

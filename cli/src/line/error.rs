//! Why there is no connection.

use std::io;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The name has no address, or nothing answers there.
    #[error("failed to connect to {0}: {1}")]
    Connect(String, io::Error),
    /// The handshake failed, whoever ended it.
    #[error("failed to agree on TLS with {0}: {1}")]
    Tls(String, io::Error),
    /// It took too long.
    #[error("failed to connect to {0} in time")]
    TimedOut(String),
    /// Nothing that a certificate could name.
    #[error("`{0}` is no name that a certificate could have")]
    Name(String),
    /// An HTTP proxy did not open the connection.
    #[error("the proxy {0} refused: {1}")]
    Proxy(String, String),
    /// The answer to a WebSocket's request was another one.
    #[error("failed to open a WebSocket: {reason}")]
    WebSocket {
        /// Status of the answer, where there was one.
        status: Option<u16>,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// What the TLS library says, where TLS is what failed.
    pub(crate) fn tls(&self) -> Option<&rustls::Error> {
        match self {
            Self::Tls(_, error) => tls_error(error),
            _ => None,
        }
    }
}

/// What the TLS library says in an error of a stream.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

//! The TLS handshake: within its time, its failure classified and counted, and parted from politely.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::metrics::HandshakeResult;

/// First byte of every TLS connection: a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;
/// How long, and for how many bytes, a failed connection is read on, so that its alert is not lost in a reset.
const PARTING_TIME: Duration = Duration::from_millis(500);
const PARTING_BYTES: u64 = 64 * 1024;

const PLAINTEXT_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 61\r\n\
    Connection: close\r\n\r\n\
    This port speaks TLS with a client certificate: use https://\n";

/// A handshake that failed.
pub(super) struct Failure {
    pub(super) result: HandshakeResult,
    pub(super) error: io::Error,
    /// What is left of the connection.
    stream: Option<TcpStream>,
}

/// Shakes hands within the time allowed.
pub(super) async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    time: Duration,
) -> Result<TlsStream<TcpStream>, Failure> {
    match tokio::time::timeout(time, shake(stream, config)).await {
        Ok(shaken) => shaken,
        Err(_) => Err(Failure {
            result: HandshakeResult::Timeout,
            error: io::ErrorKind::TimedOut.into(),
            stream: None,
        }),
    }
}

async fn shake(mut stream: TcpStream, config: Arc<ServerConfig>) -> Result<TlsStream<TcpStream>, Failure> {
    let mut first = [0];
    let peeked = stream.peek(&mut first).await;
    match peeked {
        Ok(1..) if first[0] == HANDSHAKE_RECORD => {}
        Ok(0) => {
            let error = io::ErrorKind::UnexpectedEof.into();
            return Err(Failure { result: HandshakeResult::Other, error, stream: None });
        }
        Ok(_) => {
            if first[0].is_ascii_uppercase() {
                let _ = stream.write_all(PLAINTEXT_ANSWER).await;
            }
            let error = io::Error::new(io::ErrorKind::InvalidData, "not TLS");
            return Err(Failure { result: HandshakeResult::NotTls, error, stream: Some(stream) });
        }
        Err(error) => return Err(Failure { result: HandshakeResult::Other, error, stream: None }),
    }
    TlsAcceptor::from(config).accept(stream).into_fallible().await.map_err(|(error, stream)| Failure {
        result: classify(&error),
        error,
        stream: Some(stream),
    })
}

fn classify(error: &io::Error) -> HandshakeResult {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return HandshakeResult::Other;
    };
    match error {
        rustls::Error::NoCertificatesPresented => HandshakeResult::NoCertificate,
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => HandshakeResult::Expired,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                HandshakeResult::UnknownIssuer
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                HandshakeResult::BadUsage
            }
            _ => HandshakeResult::Other,
        },
        rustls::Error::InvalidMessage(_) => HandshakeResult::NotTls,
        _ => HandshakeResult::Other,
    }
}

/// Closes our half and reads on for a moment: a reset would take the alert from the caller before it is read.
pub(super) async fn part(failure: Failure) {
    let Some(mut stream) = failure.stream else { return };
    let parting = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(PARTING_BYTES), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(PARTING_TIME, parting).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plaintext_has_the_length_that_it_says() {
        let text = std::str::from_utf8(PLAINTEXT_ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}

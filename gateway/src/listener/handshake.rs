//! The TLS handshake: within its time, its failure classified and counted, and parted from politely.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::CertificateError;
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::certificates::Tls;
use super::connection::Door;
use super::proxy;
use super::transport::{Sniffed, Transport};
use crate::auth::Chain;
use crate::metrics::{HandshakeResult, KeyExchange};
use crate::tunnel::{Tunnel, Tunnels};

/// What a handshake's first message is likely to fit into.
const HELLO: usize = 2048;
/// First byte of every TLS connection: a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;
/// How long, and for how many bytes, a failed connection is read on, so that its alert is not lost in a reset.
const PARTING_TIME: Duration = Duration::from_millis(500);
const PARTING_BYTES: u64 = 64 * 1024;

const PLAINTEXT_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 35\r\n\
    Connection: close\r\n\r\n\
    This port speaks TLS: use https://\n";

/// A handshake that failed.
pub(super) struct Failure {
    pub(super) result: HandshakeResult,
    pub(super) error: io::Error,
    /// What is left of the connection.
    stream: Option<TcpStream>,
}

/// A connection that has begun.
pub(super) struct Shaken {
    pub(super) kind: Kind,
    /// Whom a trusted proxy says that it speaks for.
    pub(super) on_behalf_of: Option<SocketAddr>,
}

/// What becomes of a connection.
pub(super) enum Kind {
    /// It may ask.
    Asks(Box<Asking>),
    /// Its handshake is for the endpoint of a tunnel, not for us.
    Passes(Passing),
}

/// A connection that may ask.
pub(super) struct Asking {
    pub(super) transport: Transport,
    pub(super) spoken: Spoken,
    pub(super) door: Door,
    /// How the keys were agreed on; None: without TLS, or by a session that was resumed.
    pub(super) exchange: Option<KeyExchange>,
    /// What the caller has shown.
    pub(super) chain: Chain,
}

/// A connection whose handshake was only looked at.
pub(super) struct Passing {
    pub(super) tunnel: Arc<Tunnel>,
    /// The first message of the handshake, and what came with it.
    pub(super) seen: Bytes,
    /// The protocols that it names.
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) stream: TcpStream,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
    /// A connector's greeting.
    Connector,
}

impl Spoken {
    fn of_alpn(protocol: Option<&[u8]>) -> Self {
        match protocol {
            Some(b"h2") => Self::Http2,
            Some(portcullis_protocol::ALPN) => Self::Connector,
            _ => Self::Http1,
        }
    }
}

/// How a connection begins.
pub(super) struct Manner {
    /// None: without TLS.
    pub(super) tls: Option<Arc<Tls>>,
    /// Some of which end TLS themselves.
    pub(super) tunnels: Option<Arc<Tunnels>>,
    /// With a PROXY protocol header before all else.
    pub(super) proxy_protocol: bool,
}

/// Shakes hands within the time allowed.
pub(super) async fn handshake(stream: TcpStream, manner: Manner, time: Duration) -> Result<Shaken, Failure> {
    match tokio::time::timeout(time, shake(stream, manner)).await {
        Ok(shaken) => shaken,
        Err(_) => Err(Failure {
            result: HandshakeResult::Timeout,
            error: io::ErrorKind::TimedOut.into(),
            stream: None,
        }),
    }
}

async fn shake(mut stream: TcpStream, manner: Manner) -> Result<Shaken, Failure> {
    let on_behalf_of =
        if manner.proxy_protocol { proxy::read(&mut stream).await.map_err(Failure::other)? } else { None };
    let kind = match manner.tls {
        Some(tls) => shake_tls(stream, &tls, manner.tunnels.as_deref()).await?,
        None => plain(stream).await?,
    };
    Ok(Shaken { kind, on_behalf_of })
}

async fn plain(stream: TcpStream) -> Result<Kind, Failure> {
    let (stream, is_h2) = Sniffed::read(stream).await.map_err(Failure::other)?;
    Ok(Kind::Asks(Box::new(Asking {
        transport: Transport::Plain(stream),
        spoken: if is_h2 { Spoken::Http2 } else { Spoken::Http1 },
        door: Door::Any,
        exchange: None,
        chain: Chain::default(),
    })))
}

async fn shake_tls(mut stream: TcpStream, tls: &Tls, tunnels: Option<&Tunnels>) -> Result<Kind, Failure> {
    let mut first = [0];
    match stream.peek(&mut first).await.map_err(Failure::other)? {
        1.. if first[0] == HANDSHAKE_RECORD => {}
        0 => return Err(Failure::other(io::ErrorKind::UnexpectedEof.into())),
        _ => {
            if first[0].is_ascii_uppercase() {
                let _ = stream.write_all(PLAINTEXT_ANSWER).await;
            }
            let error = io::Error::new(io::ErrorKind::InvalidData, "not TLS");
            return Err(Failure { result: HandshakeResult::NotTls, error, stream: Some(stream) });
        }
    }
    let failed = |(error, stream)| Failure { result: classify(&error), error, stream: Some(stream) };
    let (begun, seen) = match read_hello(&mut stream).await {
        Ok(read) => read,
        Err(error) => return Err(failed((error, stream))),
    };
    let hello = begun.client_hello();
    let name = hello.server_name();
    if let Some(tunnel) = tunnels.zip(name).and_then(|(tunnels, name)| tunnels.passed_on(name)) {
        let alpn = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
        return Ok(Kind::Passes(Passing { tunnel: Arc::clone(tunnel), seen, alpn, stream }));
    }
    let (door, config) = tls.pick(name);
    let accepted = StartHandshake::from_parts(begun, stream).into_stream(Arc::clone(config));
    let stream: TlsStream<TcpStream> = accepted.into_fallible().await.map_err(failed)?;
    let (_, tls) = stream.get_ref();
    let (chain, spoken) = (Chain::read(tls.peer_certificates()), Spoken::of_alpn(tls.alpn_protocol()));
    let exchange = tls.negotiated_key_exchange_group().map(|group| KeyExchange::of(group.name()));
    let transport = Transport::Tls(Box::new(stream));
    Ok(Kind::Asks(Box::new(Asking { transport, spoken, door, exchange, chain })))
}

/// Reads the first message of a handshake: who is asked for is looked at before it is answered.
async fn read_hello(stream: &mut TcpStream) -> io::Result<(Accepted, Bytes)> {
    let (mut acceptor, mut seen) = (Acceptor::default(), BytesMut::with_capacity(HELLO));
    loop {
        let known = seen.len();
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut fresh = &seen[known..];
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh)?;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok((accepted, seen.freeze())),
            Err((error, mut alert)) => {
                let mut said = Vec::new();
                alert.write_all(&mut said)?;
                let _ = stream.write_all(&said).await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

impl Failure {
    fn other(error: io::Error) -> Self {
        Self { result: HandshakeResult::Other, error, stream: None }
    }
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
            CertificateError::Revoked => HandshakeResult::Revoked,
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

//! One caller: a TLS 1.3 connection with a client certificate, and HTTP/1.1 on it as plain as can be, so that little of
//! the machine goes to the caller.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_contract::files;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest response that is read.
const LONGEST: usize = 64 * 1024;

/// Which keys a handshake exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// X25519 alone, which every server knows.
    Classical,
    /// X25519 with ML-KEM-768 beside it, where the server knows that, as today's browsers do.
    Hybrid,
}

/// What every connection of a load has in common.
#[derive(Clone, Debug)]
pub struct Caller {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    address: SocketAddr,
    request: Arc<[u8]>,
}

/// A connection.
pub struct Session {
    stream: TlsStream<TcpStream>,
    request: Arc<[u8]>,
    buffer: Vec<u8>,
}

impl Caller {
    /// A caller with this bundle, who asks for this path, with a bearer token where one is given. Every handshake of it is
    /// a full one.
    ///
    /// # Errors
    /// Where the bundle cannot be read or the name is none.
    pub fn new(
        bundle: &Path,
        address: SocketAddr,
        host: &str,
        path: &str,
        exchange: Exchange,
        bearer: Option<&str>,
    ) -> Result<Self> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider(exchange)))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots(bundle)?)
            .with_client_auth_cert(
                certificates(&bundle.join(files::SERVER_CERTIFICATE))?,
                PrivateKeyDer::from_pem_file(bundle.join(files::SERVER_KEY))
                    .context("failed to read the key")?,
            )?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        let bearer = bearer.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n{bearer}\r\n"
        );
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::try_from(host.to_owned()).context("the host is no name")?,
            address,
            request: request.into_bytes().into(),
        })
    }

    /// The same, speaking another protocol than HTTP/1.1 once hands are shaken.
    #[must_use]
    pub fn speaking(mut self, protocol: &[u8]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.to_vec()];
        self.config = Arc::new(config);
        self
    }

    /// What it asks, as it is sent.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Connects and shakes hands, and asks nothing.
    ///
    /// # Errors
    /// Where either fails.
    pub async fn stream(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.context("failed to connect")?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(self.name.clone(), stream).await.context("failed to shake hands")
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// Where either fails.
    pub async fn connect(&self) -> Result<Session> {
        let stream = self.stream().await?;
        Ok(Session { stream, request: Arc::clone(&self.request), buffer: Vec::with_capacity(4096) })
    }
}

/// One cipher suite and one group, the same for every server that is measured.
fn provider(exchange: Exchange) -> CryptoProvider {
    let group = match exchange {
        Exchange::Classical => aws_lc_rs::kx_group::X25519,
        Exchange::Hybrid => aws_lc_rs::kx_group::X25519MLKEM768,
    };
    CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    certificates.with_context(|| format!("failed to read {}", path.display()))
}

fn roots(bundle: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in certificates(&bundle.join(files::SERVER_CA))? {
        roots.add(root).context("a root cannot be trusted")?;
    }
    Ok(roots)
}

impl Session {
    /// Asks once and reads the whole answer; its status.
    ///
    /// # Errors
    /// Where the connection breaks or the answer is no such as a `Content-Length` frames.
    pub async fn ask(&mut self) -> Result<u16> {
        self.stream.write_all(&self.request).await.context("failed to ask")?;
        self.stream.flush().await.context("failed to ask")?;
        self.buffer.clear();
        loop {
            if let Some((status, length)) = answer(&self.buffer)?
                && self.buffer.len() >= length
            {
                ensure!(self.buffer.len() == length, "more was answered than was asked for");
                return Ok(status);
            }
            ensure!(self.buffer.len() < LONGEST, "an answer that does not end");
            if self.stream.read_buf(&mut self.buffer).await.context("failed to read the answer")? == 0 {
                bail!("the connection ended before the answer");
            }
        }
    }

    /// Takes leave as TLS wants it.
    ///
    /// # Errors
    /// Where the connection is broken.
    pub async fn close(mut self) -> Result<()> {
        self.stream.shutdown().await.context("failed to close the connection")
    }
}

/// Status and whole length of an answer whose header is complete.
fn answer(bytes: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let header = std::str::from_utf8(&bytes[..end]).context("a header that is no text")?;
    let status = header.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.with_context(|| format!("no HTTP/1.1: {header}"))?;
    let length = header.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.with_context(|| format!("an answer without a length: {header}"))?;
    Ok(Some((status, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_its_header_and_what_that_announces() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(answer(whole).unwrap(), Some((200, whole.len())));
        assert_eq!(answer(&whole[..20]).unwrap(), None);
    }

    #[test]
    fn an_answer_of_unknown_length_is_refused() {
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer(b"SSH-2.0\r\n\r\n").is_err());
    }
}

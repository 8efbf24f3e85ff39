//! A connection to a gateway, through an HTTP proxy where the environment names one.

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::tcp::connect;
use super::{Error, address};

/// The longest header of a proxy's answer.
const PROXY_ANSWER: usize = 8 * 1024;

/// A connection to the gateway, or through a proxy to it.
pub(crate) async fn reach(gateway: &Uri, proxies: &Matcher) -> Result<TcpStream, Error> {
    let (host, port) = address(gateway);
    let Some(proxy) = proxies.intercept(gateway) else { return connect(host, port).await };
    let (proxy_host, proxy_port) = address(proxy.uri());
    let mut stream = connect(proxy_host, proxy_port).await?;
    let label = format!("{proxy_host}:{proxy_port}");
    let asked = ask(&mut stream, host, port, proxy.basic_auth()).await;
    asked.map_err(|reason| Error::Proxy(label, reason))?;
    Ok(stream)
}

/// Asks an HTTP proxy for a connection (RFC 9110, 9.3.6).
async fn ask(
    stream: &mut TcpStream,
    host: &str,
    port: u16,
    auth: Option<&HeaderValue>,
) -> Result<(), String> {
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(auth) = auth {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(auth.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    // Byte by byte, since what follows the header belongs to the gateway.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= PROXY_ANSWER {
            return Err("its answer does not end".to_owned());
        }
        answer.push(stream.read_u8().await.map_err(|error| error.to_string())?);
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    match line.split(' ').nth(1) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(()),
        _ => Err(line),
    }
}

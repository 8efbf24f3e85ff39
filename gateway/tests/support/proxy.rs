//! An HTTP proxy that knows CONNECT (RFC 9110, 9.3.6), and whatever else proxies answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Backend;

/// A proxy, until dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// The header of each request that came.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    _server: Backend,
}

impl Proxy {
    /// One that connects whoever shows this in `Proxy-Authorization`; None: everybody.
    pub(crate) async fn new(credentials: Option<&'static str>) -> Self {
        Self::answering(move |asked| {
            let shown = asked.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
            if credentials.is_none_or(|expected| shown == Some(expected)) {
                return b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n".to_vec();
            }
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\r\n"
                .to_vec()
        })
        .await
    }

    /// One that answers with what this function says, and connects where that is a success.
    pub(crate) async fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let seen = Arc::clone(&asked);
        let server = Backend::raw(move |stream| {
            let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
            async move {
                let _ = serve(stream, &*answer, &seen).await;
            }
        })
        .await;
        Self { address: server.address, asked, _server: server }
    }
}

async fn serve(
    mut near: TcpStream,
    answer: &(dyn Fn(&str) -> Vec<u8> + Send + Sync),
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        header.push(near.read_u8().await?);
    }
    let header = String::from_utf8_lossy(&header).into_owned();
    seen.lock().unwrap().push(header.clone());
    let answer = answer(&header);
    let target = header.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let Some(target) = target.filter(|_| answer.starts_with(b"HTTP/1.1 200 ")) else {
        near.write_all(&answer).await?;
        // Until whoever asked has read it.
        return near.shutdown().await;
    };
    let mut far = TcpStream::connect(target).await?;
    near.write_all(&answer).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}

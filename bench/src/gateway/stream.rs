//! One long download, straight over TLS or through a WebSocket in it, and what it cost the server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::caller::Caller;
use super::cpu;

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Bytes that came, headers included.
    pub bytes: u64,
    /// Processor time of the servers for 1e9 of them, in seconds.
    pub cpu_seconds_per_gb: f64,
    /// Megabytes (1e6) a second.
    pub megabytes_per_second: f64,
}

/// Downloads what the caller asks for until that ends with the connection, or so many bytes have come.
///
/// # Errors
/// Where the connection breaks before.
pub async fn run(caller: &Caller, host: &str, tunnelled: bool, wanted: u64, pids: &[u32]) -> Result<Figures> {
    let (before, began) = (cpu::spent(pids)?, Instant::now());
    let bytes =
        if tunnelled { through(caller, host, wanted).await? } else { straight(caller, wanted).await? };
    let (cost, took) = (cpu::spent(pids)?.saturating_sub(before), began.elapsed());
    Ok(figures(bytes, cost, took))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn figures(bytes: u64, cost: Duration, took: Duration) -> Figures {
    Figures {
        bytes,
        cpu_seconds_per_gb: cost.as_secs_f64() * 1e9 / bytes as f64,
        megabytes_per_second: bytes as f64 / 1e6 / took.as_secs_f64(),
    }
}

async fn straight(caller: &Caller, wanted: u64) -> Result<u64> {
    let mut stream = caller.stream().await?;
    stream.write_all(caller.request()).await.context("failed to ask")?;
    stream.flush().await?;
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    while bytes < wanted {
        match stream.read(&mut buffer).await.context("failed to read")? {
            0 => bail!("the download ended after {bytes} bytes"),
            read => {
                ensure!(bytes > 0 || buffer.starts_with(b"HTTP/1.1 200"), "the answer is no 200");
                bytes += read as u64;
            }
        }
    }
    Ok(bytes)
}

async fn through(caller: &Caller, host: &str, wanted: u64) -> Result<u64> {
    let stream = caller.stream().await?;
    let (mut socket, _) =
        Box::pin(tokio_tungstenite::client_async(format!("wss://{host}/_ws_tunnel"), stream))
            .await
            .context("failed to open the WebSocket")?;
    socket.send(Message::Binary(caller.request().to_vec().into())).await.context("failed to ask")?;
    let mut bytes = 0;
    while bytes < wanted {
        match socket.next().await.context("the download ended")?.context("failed to read")? {
            Message::Binary(part) => {
                ensure!(bytes > 0 || part.starts_with(b"HTTP/1.1 200"), "the answer is no 200");
                bytes += part.len() as u64;
            }
            Message::Close(_) => bail!("the WebSocket closed after {bytes} bytes"),
            _ => {}
        }
    }
    Ok(bytes)
}

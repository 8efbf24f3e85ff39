//! A long line between two programs of this machine: what goes in comes out so much later, both ways, at a bounded rate.
//!
//! It stands in for netem, which needs a kernel module that not every machine has. What it does not have is a congestion
//! window: a sender's socket is next door. So it flatters plain TCP, which would need a window of its own to fill such a
//! line.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// What is read at once.
const PIECE: u64 = 16 * 1024;

/// Pieces that are on the line at once, whatever fits.
const MOST: usize = 100_000;

/// A line's properties.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// From one end to the other.
    pub delay: Duration,
    /// Bytes a second, each way.
    pub rate: u32,
}

/// Accepts connections and carries each over a line of its own, until it is killed.
///
/// # Errors
/// Where it cannot listen.
pub async fn run(listen: SocketAddr, to: SocketAddr, line: Line) -> Result<()> {
    let listener = TcpListener::bind(listen).await.context("failed to listen")?;
    loop {
        let (near, _) = listener.accept().await.context("failed to accept")?;
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(to).await else { return };
            let nodelay = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            // Whatever breaks ends the connection, which both ends notice.
            let _ = nodelay.and(
                tokio::try_join!(carry(near_in, far_out, line), carry(far_in, near_out, line)).map(drop),
            );
        });
    }
}

/// One way. As much is on the line as fits: the reader stops where its pieces would be too many.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: Line,
) -> std::io::Result<()> {
    let on_the_line = u128::from(line.rate) * line.delay.as_millis() / 1000;
    let fits = usize::try_from(on_the_line / u128::from(PIECE)).unwrap_or(usize::MAX);
    let (pieces, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(fits.saturating_add(2).min(MOST));
    let read = async move {
        let mut free = Instant::now();
        loop {
            let mut piece = Vec::with_capacity(16 * 1024);
            let length = (&mut from).take(PIECE).read_buf(&mut piece).await? as u64;
            free = free.max(Instant::now());
            free += Duration::from_nanos(1_000_000_000 * length / u64::from(line.rate));
            sleep_until(free).await;
            if length == 0 || pieces.send((free + line.delay, piece)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = arriving.recv().await {
            sleep_until(due).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}

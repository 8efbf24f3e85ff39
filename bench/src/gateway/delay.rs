//! A long line between two programs of this machine: what goes in comes out so much later, both ways, at a bounded rate.
//!
//! It stands in for netem, which needs a kernel module that not every machine has. What it does not have is a congestion
//! window: a sender's socket is next door. So it flatters plain TCP, which would need a window of its own to fill such a
//! line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

/// What is read at once.
const PIECE: usize = 16 * 1024;

/// What a socket takes at most before we read it.
const BUFFER: usize = 64 * 1024;

/// How late a timer may wake us without the line losing what it could have carried meanwhile.
const LATE: Duration = Duration::from_millis(5);

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
            // What is on the way is in our pieces, not in a socket: it would let a sender believe that all has arrived.
            let _ = [&near, &far].map(|end| SockRef::from(end).set_recv_buffer_size(BUFFER));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            // Whatever breaks ends the connection, which both ends notice.
            let _ = nodelay.and(
                tokio::try_join!(carry(near_in, far_out, line), carry(far_in, near_out, line)).map(drop),
            );
        });
    }
}

/// One way. As much is on the line as fits: the reader stops where more would be on it.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: Line,
) -> std::io::Result<()> {
    let fits = u128::from(line.rate) * line.delay.as_millis() / 1000;
    let room =
        Arc::new(Semaphore::new(usize::try_from(fits).unwrap_or(0).clamp(PIECE, Semaphore::MAX_PERMITS)));
    // Bytes are what bounds it, not pieces.
    let (pieces, mut arriving) = mpsc::channel::<(Instant, Vec<u8>, Option<OwnedSemaphorePermit>)>(1 << 16);
    let read = async move {
        let mut free = Instant::now();
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let length = (&mut from).take(PIECE as u64).read_buf(&mut piece).await?;
            let taken = u32::try_from(length).unwrap_or(u32::MAX);
            let room = Arc::clone(&room).acquire_many_owned(taken).await.ok();
            free = free.max(Instant::now() - LATE);
            free += Duration::from_nanos(1_000_000_000 * u64::from(taken) / u64::from(line.rate));
            sleep_until(free).await;
            let due = free.max(Instant::now()) + line.delay;
            if length == 0 || pieces.send((due, piece, room)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, piece, room)) = arriving.recv().await {
            sleep_until(due).await;
            drop(room);
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}

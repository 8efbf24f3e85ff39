//! A TCP connection to a name's addresses.

use std::net::IpAddr;
use std::time::Duration;

#[cfg(target_os = "linux")]
use portcullis_protocol::limits::UNSENT;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::Error;

/// Tries the name's addresses in turn, in an order of chance: behind a name with several, the next connection should not
/// be to the same one.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, Error> {
    let failed = |error| Error::Connect(format!("{host}:{port}"), error);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses: Vec<_> = match bare.parse::<IpAddr>() {
        Ok(address) => vec![(address, port).into()],
        Err(_) => tokio::net::lookup_host((bare, port)).await.map_err(failed)?.collect(),
    };
    if addresses.len() > 1 {
        let first = rand::random_range(0..addresses.len());
        addresses.rotate_left(first);
    }
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive).map_err(failed)?;
    // A kernel that does not know it does without.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    Ok(stream)
}

//! A gateway, its certificates, its callers and its backends, all in this process.

pub(crate) mod backend;
pub(crate) mod caller;
pub(crate) mod door;
pub(crate) mod endpoint;
pub(crate) mod grpc;
pub(crate) mod idp;
pub(crate) mod operator;
pub(crate) mod pki;
pub(crate) mod proxy;
pub(crate) mod relay;
pub(crate) mod signer;
pub(crate) mod tunnel;

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

pub(crate) use backend::{Backend, Seen};
pub(crate) use caller::{Answer, body, request};
pub(crate) use door::Door;
pub(crate) use endpoint::Endpoint;

/// Longer than anything here takes, on a machine that is busy with other things too; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A port of these loopback addresses that stays free until it is listened on: below those that the system hands out.
pub(crate) fn port_of(addresses: &[&str]) -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 500).unwrap() * 20;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if addresses.iter().all(|address| std::net::TcpListener::bind((*address, port)).is_ok()) {
            return port;
        }
    }
}

/// An address where connections are refused for as long as the socket is held, since nobody else is given it.
pub(crate) fn nobody() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Waits until something is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            if is_so().await {
                return;
            }
        }
    });
    assert!(waited.await.is_ok(), "it never came to be: {what}");
}

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(late) => panic!("it never happened: {what} ({late})"),
    }
}

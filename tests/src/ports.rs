//! Ports for programs that must be told which one to listen on.
//!
//! What must not live here: who listens there; a program that can, takes port 0.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the system hands out to whoever wants any, and those that a cluster gives to its Services: nobody
/// else takes one before it is listened on.
const FIRST: u16 = 21_000;
/// How many there are, until they come round again.
const COUNT: u16 = 8_000;

/// A port of this address that nobody listens on, and that no other test of this process is given.
pub fn free(address: &str) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Out of the way of what the process before has left in the kernel.
    let begin = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    loop {
        let port = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind((address, port)).is_ok() {
            return port;
        }
    }
}

/// The same, on loopback, as an address.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free("127.0.0.1")))
}

//! The tunnel protocol, as a gateway and a connector share it: how they begin ([`greeting`]), how messages stand in a
//! stream ([`message`]), what the requests between them say ([`carried`]), and how bytes that are no HTTP go in them
//! ([`raw`]). And what both need for it: limits, pauses before another try, the clock. `docs/reference/protocol.md` describes it.
//!
//! What must not live here: sockets, TLS, who may serve which tunnel.

pub mod backoff;
pub mod carried;
pub mod clock;
pub mod greeting;
pub mod limits;
pub mod message;
pub mod raw;

/// What both sides name in the TLS handshake (ALPN).
pub const ALPN: &[u8] = b"portcullis-tunnel";
/// Where a connector opens a WebSocket when only HTTP passes.
pub const CONNECT_PATH: &str = "/_connect";
/// The one version so far.
pub const VERSION: u32 = 1;

//! Every limit of the protocol, with the reason for it.

use std::time::Duration;

/// How long each side may take for its part of the greeting.
pub const GREETING_TIME: Duration = Duration::from_secs(10);
/// How long a gateway waits for a tunnel that it has not heard of yet: a connector may be there before the snapshot is.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The longest message: a bearer token of 16 KiB and 64 tunnels with their names fit.
pub const MESSAGE: usize = 64 * 1024;
/// Tunnels on one connection.
pub const OFFERS: usize = 64;
/// How often each side asks whether the other is still there, and how long the answer may take.
pub const PING: Duration = Duration::from_secs(10);
/// See [`PING`].
pub const PONG: Duration = Duration::from_secs(5);
/// HTTP/2 receive window of one stream: what one stalled reader can hold, and what is under way at 100 ms and 160 Mbit/s.
pub const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// HTTP/2 receive window of a connection: many times a stream's, so that stalled readers stop nobody else.
pub const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// The longest HTTP/2 frame: long enough to be cheap, short enough to let others between (at 100 Mbit/s, 2.6 ms).
pub const FRAME: u32 = 32 * 1024;
/// Bytes that wait in one stream to be sent.
pub const SEND_BUFFER: usize = 256 * 1024;
/// Bytes that the kernel takes from us before they can be on their way (`TCP_NOTSENT_LOWAT`). Streams take turns frame by
/// frame until then and no longer: what a download has put there, a small answer behind it must wait for.
pub const UNSENT: u32 = 128 * 1024;
/// Streams at once on one connection. More go to another connector, or are told to come again.
pub const STREAMS: u32 = 1024;

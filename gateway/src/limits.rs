//! Every limit of the data plane, with its default and the reason for it, in one place.

use std::time::Duration;

/// What a caller may ask of a replica.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes in a request's header, start line included. Beyond: 431. Tokens and cookies of identity providers reach
    /// 16 KiB; four of them fit.
    pub header_bytes: usize,
    /// Fields in a request's header. Beyond: 431. hyper keeps up to 100 of them on the stack.
    pub header_count: usize,
    /// How long a request's header may take to arrive, from its first byte, over HTTP/1.1.
    pub header_time: Duration,
    /// How long a TLS handshake may take, from the accepted connection.
    pub handshake_time: Duration,
    /// Connections open at once. Beyond: a TLS alert, and the connection is closed.
    pub connections: usize,
    /// Requests open at once on one HTTP/2 connection.
    pub concurrent_streams: u32,
    /// Streams that a client opened and reset before we came to them (Rapid Reset, CVE-2023-44487). Beyond: GOAWAY.
    pub pending_reset_streams: usize,
    /// Streams that we had to reset for a client's protocol errors (CVE-2025-8671). Beyond: GOAWAY.
    pub local_error_resets: usize,
    /// How long a connection may stay open without a request in flight.
    pub idle_time: Duration,
    /// How often an HTTP/2 peer is asked whether it is still there.
    pub ping_interval: Duration,
    /// How long it may take to answer before its connection is closed.
    pub ping_timeout: Duration,
    /// HTTP/2 receive window of one stream: what one stalled reader can hold.
    pub stream_window: u32,
    /// HTTP/2 receive window of a connection: many times a stream's, so that a few stalled readers stop nobody else.
    pub connection_window: u32,
    /// Bytes that wait in one HTTP/2 stream for a slow reader.
    pub send_buffer: usize,
    /// Connections to one HTTP/1.1 backend that wait for the next request.
    pub idle_backend_connections: usize,
    /// How long they wait: less than the five seconds after which many servers close theirs (Node, Apache, uvicorn), so that
    /// no request meets an end that is on its way.
    pub backend_idle_time: Duration,
    /// Requests on one h2c connection to a backend before another one is opened.
    pub streams_per_backend_connection: usize,
    /// h2c connections to one backend.
    pub h2c_backend_connections: usize,
    /// However many tokens name keys that nobody knows, their issuer is asked once in this time.
    pub issuer_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            header_count: 100,
            header_time: Duration::from_secs(10),
            handshake_time: Duration::from_secs(10),
            connections: 20_000,
            concurrent_streams: 250,
            pending_reset_streams: 50,
            local_error_resets: 200,
            idle_time: Duration::from_mins(5),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            stream_window: 256 * 1024,
            connection_window: 8 * 1024 * 1024,
            send_buffer: 128 * 1024,
            idle_backend_connections: 512,
            backend_idle_time: Duration::from_secs(4),
            streams_per_backend_connection: 100,
            h2c_backend_connections: 8,
            issuer_pause: Duration::from_secs(30),
        }
    }
}

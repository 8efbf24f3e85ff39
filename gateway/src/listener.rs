//! The one port: accepts connections, limits them, and speaks TLS, or none behind a trusted proxy. A connection may
//! come through a WebSocket of another one, and is then served like any other. Beside it, ports that tunnels hold.
//!
//! What must not live here: who a caller is ([`crate::auth`]) and where requests go ([`crate::route`]).

mod accept;
mod activity;
mod any_of;
mod certificates;
mod connection;
mod connector;
mod cut;
mod files;
mod frame;
mod guard;
mod handshake;
mod io;
mod origin;
mod policy;
mod ports;
mod proxy;
mod revoked;
mod transport;
mod trust;
mod tunnel;
mod websocket;

pub(crate) use accept::{bind, serve};
pub(crate) use activity::InFlight;
pub(crate) use certificates::{Certificates, Served};
pub(crate) use connection::{Connection, Door};
pub(crate) use files::{watch as watch_files, watch_public};
pub(crate) use origin::Origin;
pub(crate) use ports::serve as serve_ports;
pub(crate) use tunnel::{Within, open as open_tunnel};
pub(crate) use websocket::Socket;

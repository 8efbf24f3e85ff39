//! The one port: accepts connections, limits them, and speaks TLS with those who show a certificate.
//!
//! What must not live here: who a caller is ([`crate::auth`]) and where requests go ([`crate::route`]).

mod accept;
mod activity;
mod certificates;
mod connection;
mod files;
mod handshake;
mod io;

pub(crate) use accept::{bind, serve};
pub(crate) use activity::InFlight;
pub(crate) use certificates::{Certificates, Served};
pub(crate) use connection::Connection;
pub(crate) use files::watch as watch_files;

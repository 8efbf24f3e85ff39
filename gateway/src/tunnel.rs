//! Public names, and the services elsewhere that answer on them: a connector dials in and then serves HTTP/2 on that
//! connection, a stream for each request.
//!
//! What must not live here: who is asking ([`crate::auth`]) and what a connector and a gateway say to each other
//! (`portcullis-protocol`).

mod names;
mod rate;

pub(crate) use names::{Tunnel, Tunnels};

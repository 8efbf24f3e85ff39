//! The other replicas of this gateway. Each dials every other one over mutual TLS, hears which tunnels it holds, and sends
//! requests there for which it has no connector itself: one hop, since what comes in here goes to a connector or nowhere.
//! The operator's absence changes nothing.
//!
//! What must not live here: who may visit. That was decided by the replica that the visitor came to.

mod dial;
mod links;
mod port;
mod tls;

pub(crate) use dial::Peer;
pub(crate) use links::{Peers, run as find_peers};
pub(crate) use port::serve;

/// The path of the stream of [`portcullis_contract::peer::Held`].
const HELD: &str = "/portcullis.peer.v1/held";

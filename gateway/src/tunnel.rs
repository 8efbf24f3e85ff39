//! Public names, and the services elsewhere that answer on them: a connector dials in and then serves HTTP/2 on that
//! connection, a stream for each request; bytes of visitors who speak something else go in streams as they come.
//!
//! What must not live here: who is asking ([`crate::auth`]) and what a connector and a gateway say to each other
//! (`portcullis-protocol`).

mod admission;
mod attached;
mod carrier;
mod fault;
mod names;
mod outbound;
mod pass;
mod probe;
mod prober;
mod rate;
mod raw;
mod report;
mod session;
mod sessions;
mod visit;

pub(crate) use admission::admit;
pub(crate) use attached::Attached;
pub(crate) use fault::TunnelFault;
pub(crate) use names::{Tunnel, Tunnels};
pub(crate) use outbound::{Outbound, http2_client};
pub(crate) use pass::Passes;
pub(crate) use prober::{Probes, run as probe_tunnels};
pub(crate) use raw::{Visitor, pass_on};
pub(crate) use report::reports;
pub(crate) use sessions::Sessions;
pub(crate) use visit::visit;

//! Tunnels by a gateway's API: which one is meant, making and finding it, its way to the first byte, a visit as visitors
//! make it, and what is told of all that.
//!
//! What must not live here: arguments ([`crate::options`]), printing ([`crate::say`]), connections of connectors
//! ([`crate::connector`]).

mod access;
mod doctor;
mod event;
mod last;
mod listen;
mod notes;
mod shown;
mod steps;
mod visit;
mod want;

use portcullis_contract::gateway::tunnels_client::TunnelsClient;

use crate::channel::Service;

pub(crate) use access::access;
pub(crate) use doctor::{Evidence, Health, findings};
pub(crate) use event::Event;
pub(crate) use last::{Last, Which};
pub(crate) use listen::{Ended, Listening};
pub(crate) use shown::{COLUMNS, Shown, row};
pub(crate) use steps::is_ready;
pub(crate) use visit::{Door, visit};
pub(crate) use want::{Wanted, endpoint};

/// The gateway's API.
pub(crate) type Api = TunnelsClient<Service>;

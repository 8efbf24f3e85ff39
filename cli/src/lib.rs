//! The command line of Portcullis, and the connector that it runs.
//!
//! Rooms: [`options`] (every argument), [`commands`] (what they do), [`store`] (the configuration directory), [`gateways`]
//! (which one is meant), [`channel`] (calls to it),
//! [`cluster`] (what Kubernetes knows of one), [`say`] (what is printed), [`portable`] (export and
//! import), [`failure`] (why something came to nothing,
//! and exit codes), [`connector`] (dials a gateway and serves its tunnels), `line` (how bytes get to a gateway).

pub mod channel;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod complete;
pub mod connector;
pub mod context;
pub mod failure;
pub mod gateways;
mod line;
pub mod options;
pub mod portable;
pub mod say;
pub mod shutdown;
pub mod store;

//! The command line of Portcullis, and the connector that it runs.
//!
//! Rooms: [`options`] (every argument), [`commands`] (what they do), [`store`] (the configuration directory), [`gateways`]
//! (which one is meant), [`channel`] (calls to it), [`login`] (how tokens are got, renewed and given back), [`accounts`]
//! (who is logged in where), [`cluster`] (what Kubernetes knows of a gateway), [`diagnose`] (a cluster in a file),
//! [`portable`] (export and import), [`say`] (what is printed), [`failure`] (why something came to nothing, and exit
//! codes), `background` (tunnels without a terminal), `remote` (another machine, by ssh),
//! [`renewal`] (certificates and roots that are kept good), [`connector`] (dials a gateway
//! and serves its tunnels), `line` (how bytes get to a gateway).

pub mod accounts;
mod background;
pub mod channel;
pub mod cluster;
pub mod commands;
pub mod complete;
pub mod connector;
pub mod context;
pub mod diagnose;
pub mod failure;
pub mod gateways;
mod line;
pub mod login;
pub mod options;
pub mod portable;
mod reference;
mod remote;
pub mod renewal;
pub mod say;
pub mod shutdown;
pub mod store;
mod tunnel;

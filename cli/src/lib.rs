//! The command line of Portcullis, and the connector that it runs.
//!
//! Rooms: [`options`] (every argument, in one place), [`connector`] (dials a gateway and serves its tunnels).

pub mod connector;
pub mod options;
pub mod shutdown;

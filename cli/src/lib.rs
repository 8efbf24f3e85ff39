//! The command line of Portcullis, and the connector that it runs.
//!
//! Rooms: [`options`] (every argument, in one place), [`login`] (gets tokens, renews them and gives them back), [`connector`]
//! (dials a gateway and serves its tunnels).

pub mod clock;
pub mod connector;
pub mod login;
pub mod options;
pub mod shutdown;

//! Which gateway a command means, and what is done with gateways that are stored.
//!
//! What must not live here: files ([`crate::store`]), how a connection is opened ([`crate::channel`]), printing
//! ([`crate::say`]).

mod asked;
pub mod certificate;
mod discover;
mod resolve;
mod verify;

pub use asked::Asked;
pub(crate) use asked::endpoint;
pub use discover::{Config, Discovered, discover};
pub use resolve::{Given, Known, Resolved, Rule, Unresolved, resolve};
pub use verify::{Verified, verify};

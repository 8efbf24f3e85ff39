//! Which gateway a command means, and what is done with gateways that are stored.
//!
//! What must not live here: files ([`crate::store`]), connections ([`crate::channel`]), printing ([`crate::say`]).

mod asked;
mod resolve;

pub use asked::Asked;
pub(crate) use asked::endpoint;
pub use resolve::{Given, Known, Resolved, Rule, Unresolved, resolve};

//! Example drivers: what a sidecar of `spec.drivers` looks like, small enough to begin one of your own from. The tests run
//! them, and nothing is meant for production: credentials come from a mounted file, sandboxes are entries in memory.
//!
//! [`socket`] is what both share: listening where the gateway looks, and letting it in.

pub mod compute;
pub mod credentials;
pub mod socket;

//! The operator under load, and a plain client that makes the same writes.
//!
//! ```text
//! admin (Gateways applied) ─► [API server] ─► sight (which are Ready with certificates, and when)
//!                              ▲        ▲
//!           subject (the operator)    floor (the same writes, by nobody who thinks)
//! ```
//!
//! What must not live here: starting the API server and judging the figures. `cargo xtask bench` does both.

pub mod admin;
pub mod course;
pub mod floor;
pub mod probes;
pub mod process;
pub mod scrape;
pub mod sight;
pub mod subject;

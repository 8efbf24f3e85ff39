//! Load on a door that asks for client certificates, whoever built the door.
//!
//! ```text
//! credentials (certificates, snapshot) ─► [the door] ◄─ caller (one connection) ◄─ load (many, counted)
//!                                             └─► cpu (what it cost)
//! ```
//!
//! What must not live here: starting the doors and judging the figures. `cargo xtask bench` does both.

pub mod answer;
pub mod caller;
pub mod cpu;
pub mod credentials;
pub mod delay;
pub mod idle;
pub mod load;
pub mod stream;
pub mod token;

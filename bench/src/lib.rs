//! What the benchmarks share. `cargo xtask bench` starts clusters, peers and these programs, and judges what they print.

pub mod gateway;
pub mod operator;
pub mod ready;

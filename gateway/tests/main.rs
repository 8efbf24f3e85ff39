//! The data plane in-process: real TLS, real backends, port 0.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod brought;
mod calls;
mod command_line;
mod control;
mod drivers;
mod edge;
mod exchange;
mod faults;
mod foreign;
mod fuzz_corpus;
mod handshake;
mod headers;
mod hostile;
mod lifecycle;
mod limits;
mod matrix;
mod own_services;
mod passing;
mod plaintext;
mod policy;
mod renewal;
mod revocation;
mod simulation;
mod streams;
mod support;
mod tokens;
mod tunnels;
mod upgrade;

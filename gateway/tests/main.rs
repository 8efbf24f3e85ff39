//! The data plane in-process: real TLS, real backends, port 0.

mod control;
mod exchange;
mod faults;
mod handshake;
mod headers;
mod lifecycle;
mod limits;
mod own_services;
mod streams;
mod support;
mod upgrade;

//! The data plane of Portcullis: one port that serves gRPC, HTTP and WebSocket together, guarded by mutual TLS, by an
//! identity-aware edge, or by a trusted proxy, with tokens of an OpenID provider on top.
//!
//! Rooms, in the order that a request walks through them: [`listener`] (accept, TLS, ALPN, limits, WebSocket tunnels) →
//! [`service`] (the whole way of one request at a glance) → [`auth`] (who is asking, and what they may) → [`route`] (where
//! it goes) → [`backend`] (the reverse proxy) or [`api`] (services of our own) or [`login`] (pages for people who log in).
//! Beside them: [`issuer`] (keys of those who sign tokens), [`driver`] (programs beside the gateway), [`control`] (snapshots
//! in, reports out), [`admin`] (health and metrics), [`shutdown`].
//!
//! What must not live here: Kubernetes. The gateway holds no credentials of the cluster and links no client for it.

mod access;
mod admin;
mod api;
mod auth;
mod backend;
mod body;
mod census;
mod config;
mod control;
mod driver;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod issuer;
pub mod limits;
mod listener;
pub mod logging;
mod login;
pub mod measure;
mod metrics;
mod options;
mod peer;
mod rounds;
mod route;
mod running;
mod seen;
mod service;
mod shared;
pub mod shutdown;
mod tunnel;

pub use options::Options;
pub use running::{Running, StartError, start};

#[cfg(test)]
#[path = "../tests/support/signer.rs"]
mod signer;

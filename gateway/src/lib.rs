//! The data plane of Portcullis: one port that serves gRPC, HTTP and WebSocket together, guarded by mutual TLS.
//!
//! Rooms, in the order that a request walks through them: [`listener`] (accept, TLS, ALPN, limits) → [`service`] (the
//! whole way of one request at a glance) → [`auth`] (who is asking) → [`route`] (where it goes) → [`backend`] (the
//! reverse proxy) or [`api`] (services of our own). Beside them: [`control`] (snapshots in, reports out), [`admin`]
//! (health and metrics), [`shutdown`].
//!
//! What must not live here: Kubernetes. The gateway holds no credentials of the cluster and links no client for it.

mod admin;
mod api;
mod auth;
mod backend;
mod body;
pub mod clock;
mod config;
mod control;
mod fault;
pub mod limits;
mod listener;
pub mod logging;
mod metrics;
mod options;
mod route;
mod running;
mod service;
mod shared;
pub mod shutdown;

pub use options::Options;
pub use running::{Running, StartError, start};

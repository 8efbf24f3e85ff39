//! Tunnels among enemies: visitors who send what two servers would read in two ways, endpoints that hang or lie, and
//! connectors that show the wrong certificate or break the protocol. Each gets nowhere, and nobody else notices.

mod connectors;
mod endpoints;
mod proxies;
mod visitors;

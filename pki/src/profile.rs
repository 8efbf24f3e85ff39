//! What is asked for: the profile of an authority and of a leaf. How it is written into a
//! certificate is told in `authority.rs` and `leaf.rs`.

use std::net::IpAddr;

use time::Duration;

use crate::{KeyAlgorithm, NameConstraints};

/// What an authority should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityProfile {
    /// What people see, such as `portcullis demo/door`. The generation is appended (` G1`), so that
    /// no two generations share a subject; clipped to 64 characters with it.
    pub common_name: String,
    /// From issuing to expiry.
    pub lifetime: Duration,
    /// Which names the authority may certify; the default constrains nothing.
    pub name_constraints: NameConstraints,
    /// Its key's kind, and that of its leaves' keys.
    pub key: KeyAlgorithm,
}

/// Which side of a connection a leaf may stand on; never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    /// Extended key usage `serverAuth`, alone.
    Server,
    /// Extended key usage `clientAuth`, alone.
    Client,
}

/// What a leaf should say. The order of names, their case, a trailing dot and repetitions do not
/// matter: two profiles that differ in nothing else ask for the same certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafProfile {
    /// What people see; identifies nothing, and a change of it alone issues nothing. Clipped to 64
    /// characters.
    pub common_name: String,
    /// Server or client.
    pub usage: Usage,
    /// Host names, also `*.example.com`.
    pub dns_names: Vec<String>,
    /// Addresses; an IPv4 address mapped into IPv6 counts as the IPv4 address.
    pub ip_addresses: Vec<IpAddr>,
    /// URIs such as `spiffe://cluster.local/ns/demo/gateway/door/client/alice`.
    pub uris: Vec<String>,
    /// From issuing to expiry; shorter where the authority ends first.
    pub lifetime: Duration,
    /// How long before expiry a new leaf is issued. Where it isn't shorter than `lifetime` (the API
    /// refuses that), a third of `lifetime` counts instead.
    pub renew_before: Duration,
}

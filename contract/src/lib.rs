//! What the operator, the gateway and connectors agree on: the generated code of `proto/`, the configuration snapshot,
//! identities, names in canonical form, and the files that a gateway's pod finds mounted. No I/O and no decisions live here.

pub mod endpoint;
pub mod files;
pub mod hostname;
pub mod identity;
pub mod pattern;
pub mod rules;
pub mod snapshot;

/// `portcullis.gateway.v1`: what a gateway answers on its own names.
#[expect(missing_docs, clippy::pedantic, reason = "generated; the documentation is in proto/")]
pub mod gateway {
    tonic::include_proto!("portcullis.gateway.v1");
}

/// `portcullis.control.v1`: how the operator configures replicas.
#[expect(
    missing_docs,
    clippy::pedantic,
    clippy::large_enum_variant,
    reason = "generated; the documentation is in proto/"
)]
pub mod control {
    include!(concat!(env!("OUT_DIR"), "/within/portcullis.control.v1.rs"));
}

/// `portcullis.tunnel.v1`: how a connector and a gateway begin.
#[expect(missing_docs, clippy::pedantic, reason = "generated; the documentation is in proto/")]
pub mod tunnel {
    tonic::include_proto!("portcullis.tunnel.v1");
}

/// `portcullis.peer.v1`: what replicas of one gateway tell each other.
#[expect(missing_docs, reason = "generated; the documentation is in proto/")]
pub mod peer {
    tonic::include_proto!("portcullis.peer.v1");
}

/// `portcullis.driver.compute.v1`: how the gateway asks a driver for sandboxes.
#[expect(clippy::pedantic, reason = "generated; the documentation is in proto/")]
pub mod compute_driver {
    include!(concat!(env!("OUT_DIR"), "/within/portcullis.driver.compute.v1.rs"));
}

/// `portcullis.driver.credentials.v1`: how the gateway asks a driver for credentials.
#[expect(clippy::pedantic, reason = "generated; the documentation is in proto/")]
pub mod credentials_driver {
    include!(concat!(env!("OUT_DIR"), "/within/portcullis.driver.credentials.v1.rs"));
}

/// The encoded `FileDescriptorSet` of the gateway's API, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

//! The custom resources of `portcullis.dev`: their types, defaults, CEL rules, conditions and reasons. No I/O and no
//! decisions live here; what the API server can refuse by itself is refused here.

#![expect(unreachable_pub, reason = "KubeSchema writes a private copy of each type")]

pub mod condition;
pub mod crd;
pub mod gateway;
pub mod tunnel;

pub use gateway::access::{Access, AccessMode, CipherPolicy, TlsPolicy, TlsVersion};
pub use gateway::backend::{Backend, BackendMatch, BackendProtocol, ServiceTarget, SidecarTarget, Timeouts};
pub use gateway::client::Client;
pub use gateway::client_authority::{ClientAuthority, ForeignIdentity};
pub use gateway::driver::{Driver, Drivers, EnvVar, Sidecar};
pub use gateway::edge::{Cloudflare, Edge, Generic};
pub use gateway::issuer::{CaBundleRef, Roles};
pub use gateway::oidc::{Oidc, RevokedSubject};
pub use gateway::pki::{AuthoritySpec, IssuerRef, KeyAlgorithm, Pki, ServerCertificate};
pub use gateway::requirement::{BackendAuth, Requirement};
pub use gateway::service::{IpFamily, IpFamilyPolicy, Service, ServiceType};
pub use gateway::status::{
    AuthorityStatus, BroughtStatus, CertificateStatus, ClientStatus, GatewayStatus, GenerationStatus,
    RevocationStatus, RotationPhase, TunnelCount,
};
pub use gateway::tunnels::{Authorization, NamespacesFrom, Tunnels};
pub use gateway::{Gateway, GatewaySpec, LogLevel};
pub use tunnel::access::{TunnelAccess, VisitorAuth};
pub use tunnel::connector::Connector;
pub use tunnel::status::{Connection, ProbeStatus, TunnelStatus};
pub use tunnel::upstream::{Upstream, UpstreamTls};
pub use tunnel::{GatewayRef, Protocol, Tunnel, TunnelSpec};

/// API group of every resource here.
pub const GROUP: &str = "portcullis.dev";

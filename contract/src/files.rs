//! Where a gateway's pod finds what the operator mounted, and the ports that it listens on.

/// Folder with the server Secret.
pub const TLS_DIR: &str = "/etc/portcullis/tls";
/// The server's certificate chain, PEM, leaf first.
pub const SERVER_CERTIFICATE: &str = "tls.crt";
/// The server's private key, PEM, PKCS #8.
pub const SERVER_KEY: &str = "tls.key";
/// Roots that a client checks this server against, PEM.
pub const SERVER_CA: &str = "ca.crt";
/// Certificate that the replica shows the operator, PEM.
pub const CONTROL_CERTIFICATE: &str = "control.crt";
/// Its private key, PEM, PKCS #8.
pub const CONTROL_KEY: &str = "control.key";
/// Roots that the operator's certificate is checked against, PEM.
pub const CONTROL_CA: &str = "control-ca.crt";

/// Folder with the bootstrap ConfigMap.
pub const CONFIG_DIR: &str = "/etc/portcullis/config";
/// The bootstrap snapshot, JSON.
pub const SNAPSHOT: &str = "snapshot.json";

/// Folder with the roots of the OpenID provider, one file [`ISSUER_CA`], where the Gateway names some.
pub const OIDC_CA_DIR: &str = "/etc/portcullis/oidc-ca";
/// Folder with the roots of the edge's issuer, one file [`ISSUER_CA`], where the Gateway names some.
pub const EDGE_CA_DIR: &str = "/etc/portcullis/edge-ca";
/// Roots that an issuer's TLS certificate is checked against, PEM.
pub const ISSUER_CA: &str = "ca.crt";
/// Folder that a driver's sidecar shares with the gateway; below it, a folder for each kind of driver.
pub const DRIVERS_DIR: &str = "/run/portcullis";

/// Folder with the certificate for public names ([`SERVER_CERTIFICATE`] and [`SERVER_KEY`]), where the Gateway names one.
pub const PUBLIC_TLS_DIR: &str = "/etc/portcullis/public-tls";
/// Folder with what a connector shows and trusts: [`SERVER_CERTIFICATE`], [`SERVER_KEY`] and [`SERVER_CA`].
pub const CONNECTOR_TLS_DIR: &str = "/etc/portcullis/connector-tls";

/// The one port that is served to callers.
pub const PORT: u16 = 8443;
/// Mutual TLS: replicas of one gateway among themselves.
pub const PEER_PORT: u16 = 8444;
/// Plain HTTP: `/healthz` and `/readyz` for the kubelet.
pub const HEALTH_PORT: u16 = 8081;
/// Plain HTTP: `/metrics`.
pub const METRICS_PORT: u16 = 9090;

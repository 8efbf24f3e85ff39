//! What the operator was told at its start and needs in every plan.

/// Settings of the whole operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The gateway's image where the spec names none.
    pub gateway_image: String,
    /// The image of connectors in this cluster, where a Tunnel names none.
    pub connector_image: Option<String>,
    /// Where gateways find the operator: `https://HOST:PORT`.
    pub control_endpoint: String,
    /// Trust domain of every identity.
    pub trust_domain: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
}

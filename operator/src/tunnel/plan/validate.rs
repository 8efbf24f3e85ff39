//! `spec.connector`, parsed into what the Deployment needs.

use k8s_openapi::api::core::v1::ResourceRequirements;
use portcullis_api::condition::Reason;
use portcullis_contract::endpoint::Endpoint;
use portcullis_contract::snapshot;

use crate::gateway::validate::{Rejected, pods};
use crate::settings::Settings;
use crate::tunnel::observe::Door;
use crate::world::Key;

/// A connector that makes sense.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) replicas: i32,
    pub(super) image: String,
    pub(super) resources: Option<ResourceRequirements>,
    /// Where the gateway is, as a URL.
    pub(super) gateway: String,
    /// What it forwards to.
    pub(super) endpoint: String,
    /// Namespace and name of the Tunnel.
    pub(super) tunnel: Key,
}

pub(super) fn connector(
    spec: &portcullis_api::Connector,
    accepted: &snapshot::Tunnel,
    gateway: &Key,
    door: &Door,
    settings: &Settings,
) -> Result<Connector, Rejected> {
    if !door.tls {
        return Err(rejected(format!(
            "spec.connector needs a Gateway with TLS, to which it can show its certificate, and {gateway} is in mode Plaintext: leave connector out, and run `portcullis connector` with a token"
        )));
    }
    let is_itself = accepted.endpoint.parse::<Endpoint>().is_ok_and(|endpoint| endpoint.host == "localhost");
    if is_itself {
        return Err(rejected(format!(
            "spec.endpoint is {}, which to a connector in this cluster is its own pod: write the address of a Service, such as http://web.{}.svc:8080; or leave connector out, and run `portcullis connector` beside the service",
            accepted.endpoint, accepted.namespace
        )));
    }
    let Some(image) = spec.image.clone().or_else(|| settings.connector_image.clone()) else {
        return Err(rejected(
            "no image is known for connectors: write spec.connector.image, or start the operator with --connector-image".to_owned(),
        ));
    };
    let resources = |written| {
        pods::read(written, "spec.connector.resources", "ResourceRequirements", Reason::InvalidConnector)
    };
    Ok(Connector {
        replicas: spec.replicas,
        image,
        resources: spec.resources.as_ref().map(resources).transpose()?,
        gateway: format!("https://{}.{}.svc:{}", gateway.name, gateway.namespace, door.port),
        endpoint: accepted.endpoint.clone(),
        tunnel: Key::new(&accepted.namespace, &accepted.name),
    })
}

fn rejected(message: String) -> Rejected {
    Rejected { reason: Reason::InvalidConnector, message }
}

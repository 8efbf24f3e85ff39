//! What a Kubernetes cluster knows of a Gateway: where it is, and a client's bundle, read with the caller's own kubeconfig.
//!
//! What must not live here: what is made of that ([`crate::commands`]).

mod addresses;
mod clients;
mod connect;
mod revoke;

use http::Uri;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::{Api, Client};
use portcullis_api::{AccessMode, ClientStatus, Gateway};
use portcullis_contract::files::{SERVER_CA, SERVER_CERTIFICATE, SERVER_KEY};

use crate::failure::{Exit, Failure};
use crate::store::{Bundle, Mode};
use connect::said;

pub use connect::connect;
pub use revoke::Revoking;

/// A Gateway in a cluster.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where its status says it is.
    pub endpoint: Uri,
    /// Other addresses of the same port: of its Service, for callers outside of the cluster.
    pub others: Vec<Uri>,
    /// How callers come in.
    pub mode: Mode,
    /// The client and its bundle, where callers need one.
    pub client: Option<(String, Bundle)>,
}

/// Reads a Gateway, and the bundle of one of its clients: of `wanted`, or of the only one.
///
/// # Errors
/// Where it is not there, not ready to be used, or may not be read.
pub async fn find(
    client: &Client,
    namespace: &str,
    name: &str,
    wanted: Option<&str>,
) -> Result<Found, Failure> {
    let title = format!("the Gateway {namespace}/{name}");
    let gateways: Api<Gateway> = Api::namespaced(client.clone(), namespace);
    let gateway = gateways.get(name).await.map_err(|error| said("read", &title, &error))?;
    let status = gateway.status.clone().unwrap_or_default();
    let endpoint = status.endpoint.as_deref().and_then(|it| super::gateways::endpoint(it).ok());
    let endpoint = endpoint.ok_or_else(|| {
        Failure::new(Exit::Conflict, format!("{title} has no endpoint in its status yet")).hint(format!(
            "is the operator running? `kubectl -n {namespace} describe gateways.portcullis.dev {name}` says more"
        ))
    })?;
    let mode = match gateway.spec.access.mode {
        AccessMode::MutualTLS => Mode::MutualTLS,
        AccessMode::Edge => Mode::Edge,
        AccessMode::Plaintext => Mode::Plaintext,
    };
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    // Whoever may not read it may be inside, where the endpoint is good as it is.
    let service = services.get(name).await.ok();
    let others = service.map(|service| addresses::of(&service, &endpoint)).unwrap_or_default();
    let client = match mode {
        Mode::MutualTLS => Some(bundle(client, namespace, &title, &status.clients, wanted).await?),
        Mode::Edge | Mode::Plaintext => None,
    };
    Ok(Found { endpoint, others, mode, client })
}

async fn bundle(
    client: &Client,
    namespace: &str,
    title: &str,
    clients: &[ClientStatus],
    wanted: Option<&str>,
) -> Result<(String, Bundle), Failure> {
    let chosen = clients::choose(title, clients, wanted)?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let what = format!("the Secret {namespace}/{}", chosen.secret_name);
    let secret = secrets.get(&chosen.secret_name).await.map_err(|error| said("read", &what, &error))?;
    let mut data = secret.data.unwrap_or_default();
    let mut take = |name: &str| {
        data.remove(name).map(|it| it.0).filter(|it| !it.is_empty()).ok_or_else(|| {
            Failure::new(Exit::Failed, format!("there is no {name} in {what}"))
                .hint("the operator fills it: look at the Gateway's conditions")
        })
    };
    let ca = take(SERVER_CA)?;
    let identity = (take(SERVER_CERTIFICATE)?, take(SERVER_KEY)?);
    Ok((chosen.name.clone(), Bundle { ca: Some(ca), identity: Some(identity) }))
}

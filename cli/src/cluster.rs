//! What a Kubernetes cluster knows of a Gateway: where it is, and a client's bundle, read with the caller's own kubeconfig.
//!
//! What must not live here: what is made of that ([`crate::commands`]).

mod addresses;
mod clients;
mod connect;
mod revoke;

use http::Uri;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::ListParams;
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
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    // Whoever may not read it may be inside, where the endpoint is good as it is.
    let service = services.get(name).await.ok();
    let mut found = Found::of(&gateway, &title, service.as_ref())?;
    if let Some(chosen) = chosen(&gateway, &title, wanted)? {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let what = format!("the Secret {namespace}/{}", chosen.secret_name);
        let secret = secrets.get(&chosen.secret_name).await.map_err(|error| said("read", &what, &error))?;
        found.client = Some((chosen.name.clone(), bundle_in(secret, &what)?));
    }
    Ok(found)
}

/// All Gateways, or those of a namespace.
///
/// # Errors
/// Where they may not be read.
pub async fn list(client: &Client, namespace: Option<&str>) -> Result<Vec<Gateway>, Failure> {
    let gateways: Api<Gateway> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let all = gateways.list(&ListParams::default()).await;
    all.map(|it| it.items).map_err(|error| said("list", "Gateways", &error))
}

/// The only one of them.
///
/// # Errors
/// Where there is none, or several: then it says which.
pub fn only<'a>(all: &'a [Gateway], place: &str) -> Result<&'a Gateway, Failure> {
    match all {
        [] => Err(Failure::new(Exit::NotFound, format!("there is no Gateway {place}"))
            .hint("--kubeconfig, --context and --namespace look elsewhere")),
        [only] => Ok(only),
        several => {
            let title = |gateway: &Gateway| {
                let (namespace, name) = named(gateway);
                format!("{namespace}/{name}")
            };
            let names: Vec<_> = several.iter().map(title).collect();
            Err(Failure::new(
                Exit::Usage,
                format!("there are several Gateways {place}: {}", names.join(", ")),
            )
            .hint("write which one: --from-kube NAMESPACE/NAME"))
        }
    }
}

/// A Gateway's namespace and name.
pub fn named(gateway: &Gateway) -> (String, String) {
    let metadata = &gateway.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// The client of a Gateway that we are: the one that is wanted, or the only one. None where its mode asks for no certificate.
///
/// # Errors
/// Where there is no such client.
pub fn chosen<'a>(
    gateway: &'a Gateway,
    title: &str,
    wanted: Option<&str>,
) -> Result<Option<&'a ClientStatus>, Failure> {
    match gateway.spec.access.mode {
        AccessMode::MutualTLS => {
            let clients = gateway.status.as_ref().map_or(&[][..], |status| &status.clients);
            clients::choose(title, clients, wanted).map(Some)
        }
        AccessMode::Edge | AccessMode::Plaintext => Ok(None),
    }
}

impl Found {
    /// What a Gateway and its Service say; without a client's bundle.
    ///
    /// # Errors
    /// Where its status says no endpoint.
    pub fn of(gateway: &Gateway, title: &str, service: Option<&Service>) -> Result<Self, Failure> {
        let (namespace, name) = named(gateway);
        let endpoint = gateway.status.as_ref().and_then(|status| status.endpoint.as_deref());
        let endpoint = endpoint.and_then(|it| super::gateways::endpoint(it).ok()).ok_or_else(|| {
            Failure::new(Exit::Conflict, format!("{title} has no endpoint in its status yet")).hint(format!(
                "is the operator running? `kubectl -n {namespace} describe gateways.portcullis.dev {name}` says more"
            ))
        })?;
        let mode = match gateway.spec.access.mode {
            AccessMode::MutualTLS => Mode::MutualTLS,
            AccessMode::Edge => Mode::Edge,
            AccessMode::Plaintext => Mode::Plaintext,
        };
        let others = service.map(|service| addresses::of(service, &endpoint)).unwrap_or_default();
        Ok(Self { endpoint, others, mode, client: None })
    }
}

/// The bundle in a Secret.
///
/// # Errors
/// Where something of it is missing.
pub fn bundle_in(secret: Secret, what: &str) -> Result<Bundle, Failure> {
    let mut data = secret.data.unwrap_or_default();
    let mut take = |name: &str| {
        data.remove(name).map(|it| it.0).filter(|it| !it.is_empty()).ok_or_else(|| {
            Failure::new(Exit::Failed, format!("there is no {name} in {what}"))
                .hint("the operator fills it: look at the Gateway's conditions")
        })
    };
    let ca = take(SERVER_CA)?;
    let identity = (take(SERVER_CERTIFICATE)?, take(SERVER_KEY)?);
    Ok(Bundle { ca: Some(ca), identity: Some(identity) })
}

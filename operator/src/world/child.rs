//! A child of a Gateway or a Tunnel, boiled down: whose it is, whether it still is what we applied, and what we must know of its
//! content. Of keys only the authority's is held, since it signs.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::ResourceExt as _;
use kube::api::ApiResource;
use portcullis_contract::files;
use portcullis_pki::{Authority, LeafFacts, Unusable, read_authority, read_leaf};
use serde::Serialize;
use serde_json::Value;

use super::owned::{self, Digest};
use super::request::{Answer, CertificateRequest, Pending};
use super::{Key, Owner, Rollout, Roots, version_number};
use crate::names;

/// The kinds of children, in the order that they are applied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Keys and certificates.
    Secret,
    /// The bootstrap snapshot.
    ConfigMap,
    /// In front of the pods.
    Service,
    /// Keeps a drain from taking all pods at once.
    PodDisruptionBudget,
    /// The pods.
    Deployment,
    /// An authority that cert-manager is asked for. Its kind may not be there: only looked at where some Gateway needs it.
    CertificateRequest,
}

impl Kind {
    /// Every kind that each cluster has.
    pub const ALL: [Self; 5] =
        [Self::Secret, Self::ConfigMap, Self::Service, Self::PodDisruptionBudget, Self::Deployment];

    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Deployment => "Deployment",
            Self::CertificateRequest => "CertificateRequest",
        }
    }

    /// Where the API server keeps it.
    pub fn resource(self) -> ApiResource {
        use k8s_openapi::api::{apps, core, policy};
        match self {
            Self::Secret => ApiResource::erase::<core::v1::Secret>(&()),
            Self::ConfigMap => ApiResource::erase::<core::v1::ConfigMap>(&()),
            Self::Service => ApiResource::erase::<core::v1::Service>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<policy::v1::PodDisruptionBudget>(&()),
            Self::Deployment => ApiResource::erase::<apps::v1::Deployment>(&()),
            Self::CertificateRequest => ApiResource::erase::<CertificateRequest>(&()),
        }
    }
}

/// A child as it was last seen.
#[derive(Debug)]
pub struct Child {
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// Which object of that name.
    pub uid: String,
    /// Its resource version as a number; 0 where it is none.
    pub version: u64,
    /// The uid of the resource that controls it.
    pub owner: Option<String>,
    /// Of the fields that are ours; a Secret's data apart.
    pub digest: Digest,
    /// What must be known of its content.
    pub content: Content,
}

/// What must be known of a child's content.
#[derive(Debug)]
pub enum Content {
    /// Nothing beyond the digest.
    Plain,
    /// The authority's Secret.
    Authority(Result<Arc<Roots>, Unusable>),
    /// An authority that is asked for; None where its Secret does not hold all of it.
    Pending(Option<Arc<Pending>>),
    /// What cert-manager says of one.
    Answer(Answer),
    /// The server Secret.
    Server(Box<Served>),
    /// A client's or a connector's bundle.
    Bundle(Box<Bundle>),
    /// The Deployment: how it gets on.
    Deployment(Rollout),
    /// The Service: where a load balancer answers for it.
    Service(Option<String>),
}

/// What is in the server Secret.
#[derive(Debug)]
pub struct Served {
    /// The server's leaf.
    pub server: Result<LeafFacts, Unusable>,
    /// What is shown after it, PEM.
    pub chain: String,
    /// The control channel's leaf.
    pub control: Result<LeafFacts, Unusable>,
    /// Roots for clients, PEM.
    pub ca: String,
    /// Roots for the control channel, PEM.
    pub control_ca: String,
}

/// What is in a client's or a connector's bundle.
#[derive(Debug)]
pub struct Bundle {
    /// The client's leaf.
    pub leaf: Result<LeafFacts, Unusable>,
    /// What is shown after it, PEM.
    pub chain: String,
    /// Roots for the server, PEM.
    pub ca: String,
}

impl Child {
    /// Boils an object down. None where it does not say whose it is.
    pub fn read<K: kube::Resource<DynamicType = ()> + Serialize>(
        kind: Kind,
        object: &K,
    ) -> Option<(Owner, Self)> {
        let value = serde_json::to_value(object).ok()?;
        Self::from_value(kind, &value)
    }

    /// Boils an object down that came as JSON.
    pub fn from_value(kind: Kind, value: &Value) -> Option<(Owner, Self)> {
        let metadata = &value["metadata"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let name = text(&metadata["name"])?;
        let owners = metadata["ownerReferences"].as_array();
        let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
        let (labels, namespace) = (&metadata["labels"], text(&metadata["namespace"])?);
        let word = |owner: &'_ Value, field: &str| text(&owner[field]).unwrap_or_default();
        let reference = controller.map(|it| ["apiVersion", "kind", "name"].map(|field| word(it, field)));
        let reference = reference.as_ref().map(|it| it.each_ref().map(String::as_str));
        let owner = owner(&namespace, |label| text(&labels[label]), reference)?;
        let mut ours = owned::owned(value);
        if let (Kind::Secret, Some(fields)) = (kind, ours.as_object_mut()) {
            fields.remove("data");
        }
        let child = Self {
            kind,
            uid: text(&metadata["uid"])?,
            version: version_number(metadata["resourceVersion"].as_str()),
            owner: controller.and_then(|owner| text(&owner["uid"])),
            digest: owned::digest(&ours),
            content: read_content(kind, &owner, &name, value),
            name,
        };
        Some((owner, child))
    }
}

/// Whose an object in a namespace is, by its labels; where somebody took these off, by version, kind and name of its controller.
pub fn owner(
    namespace: &str,
    label: impl Fn(&str) -> Option<String>,
    controller: Option<[&str; 3]>,
) -> Option<Owner> {
    let key = |name: &str| Key::new(namespace, name);
    let labelled = label(names::GATEWAY).map(|name| Owner::Gateway(key(&name)));
    labelled.or_else(|| label(names::TUNNEL).map(|name| Owner::Tunnel(key(&name)))).or_else(|| {
        match controller? {
            ["portcullis.dev/v1alpha1", "Gateway", name] => Some(Owner::Gateway(key(name))),
            ["portcullis.dev/v1alpha1", "Tunnel", name] => Some(Owner::Tunnel(key(name))),
            _ => None,
        }
    })
}

fn read_content(kind: Kind, owner: &Owner, name: &str, value: &Value) -> Content {
    match kind {
        Kind::Secret => serde_json::from_value(value.clone())
            .map_or(Content::Plain, |secret| read_secret(owner, name, &secret)),
        Kind::Deployment => serde_json::from_value(value.clone())
            .map_or(Content::Plain, |deployment| Content::Deployment(Rollout::read(&deployment))),
        Kind::Service => serde_json::from_value(value.clone())
            .map_or(Content::Plain, |service| Content::Service(load_balancer(&service))),
        Kind::CertificateRequest => Content::Answer(Answer::of(value)),
        Kind::ConfigMap | Kind::PodDisruptionBudget => Content::Plain,
    }
}

fn read_secret(owner: &Owner, name: &str, secret: &Secret) -> Content {
    let is = |named: fn(&str) -> String| matches!(owner, Owner::Gateway(key) if named(&key.name) == name);
    let leaf = |certificate, key| read_leaf(&text(secret, certificate), &text(secret, key));
    if is(names::authority_secret) {
        Content::Authority(Roots::read(secret).map(Arc::new))
    } else if is(names::request_secret) {
        Content::Pending(Pending::read(secret).map(Arc::new))
    } else if is(names::server_secret) {
        Content::Server(Box::new(Served {
            server: leaf(files::SERVER_CERTIFICATE, files::SERVER_KEY),
            chain: chain(&text(secret, files::SERVER_CERTIFICATE)),
            control: leaf(files::CONTROL_CERTIFICATE, files::CONTROL_KEY),
            ca: text(secret, files::SERVER_CA),
            control_ca: text(secret, files::CONTROL_CA),
        }))
    } else {
        Content::Bundle(Box::new(Bundle {
            leaf: leaf(files::SERVER_CERTIFICATE, files::SERVER_KEY),
            chain: chain(&text(secret, files::SERVER_CERTIFICATE)),
            ca: text(secret, files::SERVER_CA),
        }))
    }
}

/// Reads the newest generation of an authority's Secret.
///
/// # Errors
/// Where there is none, or it cannot be used; says why.
pub fn read_authority_secret(secret: &Secret) -> Result<Authority, Unusable> {
    let generation = newest_generation(secret).unwrap_or(1);
    let [certificate, key] = authority_keys(generation);
    read_authority(generation, &text(secret, &certificate), &text(secret, &key))
}

/// The keys of a generation in an authority's Secret: certificate and private key.
pub fn authority_keys(generation: u32) -> [String; 2] {
    [format!("ca-{generation}.crt"), format!("ca-{generation}.key")]
}

/// The keys of what stands above a generation that was brought along: what is served after its leaves, and its root.
pub fn above_keys(generation: u32) -> [String; 2] {
    [format!("ca-{generation}.chain"), format!("ca-{generation}.root")]
}

/// The newest generation in an authority's Secret.
pub(super) fn newest_generation(secret: &Secret) -> Option<u32> {
    secret.data.iter().flatten().filter_map(|(name, _)| generation_of(name)).max()
}

/// The generation whose certificate is kept under this name.
pub(super) fn generation_of(name: &str) -> Option<u32> {
    name.strip_prefix("ca-")?.strip_suffix(".crt")?.parse().ok()
}

/// A Secret's value as text; empty where there is none, which no certificate and no key is.
pub(super) fn text(secret: &Secret, key: &str) -> String {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value.map(|ByteString(bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

/// What follows the first certificate.
fn chain(certificates: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----\n";
    certificates.split_once(END).map(|(_, chain)| chain.to_owned()).unwrap_or_default()
}

/// Where a load balancer answers.
fn load_balancer(service: &Service) -> Option<String> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?;
    ingress.hostname.clone().or_else(|| ingress.ip.clone())
}

/// Namespace and name of any object.
pub fn slot<K: kube::Resource<DynamicType = ()>>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

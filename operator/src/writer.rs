//! The one place that writes to the API server. It writes only while this operator leads; each write is counted.

use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
    ValidationDirective,
};
use kube::{Api, Client, Resource, ResourceExt as _};
use portcullis_api::Tunnel;
use portcullis_api::condition::Reason;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::lease::{Leadership, WRITE};
use crate::metrics::{Metrics, Target, Verb};
use crate::names;
use crate::world::{Key, Kind};

/// Writes, as long as this operator leads.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
    metrics: Arc<Metrics>,
}

/// Why a write did not happen, or was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another operator leads now.
    #[error("failed to {verb} {what}: this operator does not lead any more")]
    NotLeading {
        /// What was to be done.
        verb: &'static str,
        /// What to.
        what: String,
    },
    /// The API server did not answer in time; it may have done it all the same.
    #[error("failed to {verb} {what}: no answer within {} seconds", WRITE.as_secs())]
    Unanswered {
        /// What was to be done.
        verb: &'static str,
        /// What to.
        what: String,
    },
    /// The API server refused, or could not be reached.
    #[error("failed to {verb} {what}")]
    Api {
        /// What was to be done.
        verb: &'static str,
        /// What to.
        what: String,
        /// What the API server, or the way there, said.
        #[source]
        source: kube::Error,
    },
}

impl Error {
    /// The HTTP status that the API server answered with; 0 where it did not.
    pub fn code(&self) -> u16 {
        match self {
            Self::Api { source: kube::Error::Api(status), .. } => status.code,
            _ => 0,
        }
    }

    /// Whether an object of that name stands in the way.
    pub fn says_already_exists(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.reason == "AlreadyExists")
    }

    /// The reason that a condition carries for it.
    pub fn reason(&self) -> Reason {
        if self.code() == 403 { Reason::Forbidden } else { Reason::WriteFailed }
    }
}

/// The kinds whose status is ours to write.
pub trait Ours:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned
{
    /// What a write of it counts as.
    const STATUS: Target;
}

impl Ours for portcullis_api::Gateway {
    const STATUS: Target = Target::GatewayStatus;
}

impl Ours for Tunnel {
    const STATUS: Target = Target::TunnelStatus;
}

/// What must hold for an apply to be carried out.
#[derive(Clone, Copy, Debug)]
pub enum If<'a> {
    /// No object of that name exists. The API server has no such precondition for server-side apply; a resource
    /// version that no live object can have does it (docs/adr/0005).
    Absent,
    /// The object is this one.
    Uid(&'a str),
}

/// What is told in an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Something is wrong.
    pub warning: bool,
    /// The reason that the condition carries.
    pub reason: String,
    /// The message that the condition carries.
    pub message: String,
}

impl Writer {
    /// Writes with this client while `leadership` holds.
    pub fn new(client: Client, leadership: Leadership, metrics: Arc<Metrics>) -> Self {
        Self { client, leadership, metrics }
    }

    /// Applies a child; returns it as it is now.
    pub async fn apply(&self, kind: Kind, object: &Value, only: If<'_>) -> Result<Value, Error> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let what = format!("{} {namespace}/{name}", kind.as_str());
        self.check("apply", &what)?;
        let resource = kind.resource();
        let mut patch = object.clone();
        patch["apiVersion"] = json!(resource.api_version);
        patch["kind"] = json!(resource.kind);
        match only {
            If::Absent => patch["metadata"]["resourceVersion"] = json!("1"),
            If::Uid(uid) => patch["metadata"]["uid"] = json!(uid),
        }
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let params = PatchParams::apply(names::MANAGER).force();
        let patch = Patch::Apply(&patch);
        let applied = answered("apply", &what, api.patch(name, &params, &patch)).await?;
        self.metrics.count_write(Verb::Apply, Target::Child(kind));
        serde_json::to_value(applied).map_err(|error| unreadable("apply", &what, error))
    }

    /// Deletes a child, if it still is this object.
    pub async fn delete(&self, kind: Kind, key: &Key, name: &str, uid: &str) -> Result<(), Error> {
        let what = format!("{} {}/{name}", kind.as_str(), key.namespace);
        self.check("delete", &what)?;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &kind.resource());
        match answered("delete", &what, api.delete(name, &only(uid))).await {
            Ok(_) => self.metrics.count_write(Verb::Delete, Target::Child(kind)),
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes the status of a Gateway or a Tunnel; returns it as it is now.
    pub async fn status<K: Ours, S: Serialize>(&self, key: &Key, uid: &str, status: &S) -> Result<K, Error> {
        let kind = K::kind(&());
        let what = format!("status of {kind} {key}");
        self.check("apply", &what)?;
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": kind,
            "metadata": { "name": key.name, "uid": uid },
            "status": status,
        });
        let params = PatchParams::apply(names::MANAGER).force();
        let patch = Patch::Apply(&patch);
        let written = answered("apply", &what, api.patch_status(&key.name, &params, &patch)).await?;
        self.metrics.count_write(Verb::Apply, K::STATUS);
        Ok(written)
    }

    /// Creates a Tunnel for a caller of a Gateway's API; returns it as it is now.
    pub async fn create_tunnel(&self, key: &Key, tunnel: &Value) -> Result<Tunnel, Error> {
        let what = format!("Tunnel {key}");
        self.check("create", &what)?;
        let resource = ApiResource::erase::<Tunnel>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
        let params =
            PostParams { field_manager: Some(names::API_MANAGER.to_owned()), ..PostParams::default() };
        let object =
            serde_json::from_value(tunnel.clone()).map_err(|error| unreadable("create", &what, error))?;
        let created = answered("create", &what, api.create(&params, &object)).await?;
        self.metrics.count_write(Verb::Create, Target::Tunnel);
        created.try_parse().map_err(|error| unreadable("create", &what, serde::de::Error::custom(error)))
    }

    /// What stands where a Tunnel was to be created.
    pub async fn standing_tunnel(&self, key: &Key) -> Result<Option<Tunnel>, Error> {
        let api: Api<Tunnel> = Api::namespaced(self.client.clone(), &key.namespace);
        answered("read", &format!("Tunnel {key}"), api.get_opt(&key.name)).await
    }

    /// Changes a Tunnel for a caller of a Gateway's API, if it still is this one; returns it as it is now.
    pub async fn change_tunnel(&self, key: &Key, uid: &str, mut patch: Value) -> Result<Tunnel, Error> {
        let what = format!("Tunnel {key}");
        self.check("change", &what)?;
        patch["metadata"]["uid"] = json!(uid);
        let api: Api<Tunnel> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PatchParams {
            field_manager: Some(names::API_MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        };
        let changed = answered("change", &what, api.patch(&key.name, &params, &Patch::Merge(&patch))).await?;
        self.metrics.count_write(Verb::Patch, Target::Tunnel);
        Ok(changed)
    }

    /// Deletes a Tunnel for a caller of a Gateway's API, if it still is this one.
    pub async fn delete_tunnel(&self, key: &Key, uid: &str) -> Result<(), Error> {
        let what = format!("Tunnel {key}");
        self.check("delete", &what)?;
        let api: Api<Tunnel> = Api::namespaced(self.client.clone(), &key.namespace);
        match answered("delete", &what, api.delete(&key.name, &only(uid))).await {
            Ok(_) => self.metrics.count_write(Verb::Delete, Target::Tunnel),
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells what happened to a Gateway or a Tunnel.
    pub async fn event<K: Ours>(
        &self,
        object: &K,
        news: &News,
        now: k8s_openapi::jiff::Timestamp,
    ) -> Result<(), Error> {
        let (key, kind) = (Key::of(object), K::kind(&()));
        let what = format!("Event of {kind} {key}");
        self.check("create", &what)?;
        let event = Event {
            metadata: ObjectMeta { generate_name: Some(format!("{}-", key.name)), ..ObjectMeta::default() },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(news.message.chars().take(1000).collect()),
            reason: Some(news.reason.clone()),
            regarding: Some(ObjectReference {
                api_version: Some("portcullis.dev/v1alpha1".to_owned()),
                kind: Some(kind.into_owned()),
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                uid: object.uid(),
                resource_version: object.resource_version(),
                field_path: None,
            }),
            reporting_controller: Some("portcullis.dev/operator".to_owned()),
            reporting_instance: Some(self.leadership.identity().to_owned()),
            type_: Some(if news.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &key.namespace);
        answered("create", &what, api.create(&PostParams::default(), &event)).await?;
        self.metrics.count_write(Verb::Create, Target::Event);
        Ok(())
    }

    /// Whether it may write now.
    pub fn leads(&self) -> bool {
        self.leadership.leads()
    }

    fn check(&self, verb: &'static str, what: &str) -> Result<(), Error> {
        if self.leadership.leads() { Ok(()) } else { Err(Error::NotLeading { verb, what: what.to_owned() }) }
    }
}

/// In the background, and only the object that has this uid.
fn only(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() }
}

fn unreadable(verb: &'static str, what: &str, error: serde_json::Error) -> Error {
    Error::Api { verb, what: what.to_owned(), source: kube::Error::SerdeError(error) }
}

/// Waits for an answer of the API server, as long as a write may take.
pub async fn answered<T>(
    verb: &'static str,
    what: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    let what = || what.to_owned();
    match tokio::time::timeout(WRITE, request).await {
        Ok(answer) => answer.map_err(|source| Error::Api { verb, what: what(), source }),
        Err(_) => Err(Error::Unanswered { verb, what: what() }),
    }
}

//! Carries steps out: the only room here that writes, and what it reads is only what stands in its way. Everything that
//! is decided was decided in a plan.

use std::collections::BTreeSet;

use kube::api::DynamicObject;
use kube::{Api, Client};
use portcullis_api::condition::Reason;
use serde_json::Value;

use super::{Slot, Step};
use crate::cause::chain;
use crate::context::Context;
use crate::names;
use crate::world::{Child, Kind, Owner, World, owned};
use crate::writer::{Error, If, Writer, answered};

/// What became of the steps.
#[derive(Debug, Default)]
pub struct Carried {
    /// What went wrong, in order. Empty: everything is as planned.
    pub failures: Vec<Failure>,
    /// Children that are not as planned: their writes failed, or were not reached.
    pub unwritten: BTreeSet<Slot>,
    /// A Secret that was planned anew turned out to be there: what it holds must be looked at before anything else.
    pub again: bool,
}

/// Something that could not be done.
#[derive(Debug)]
pub struct Failure {
    /// For the condition.
    pub reason: Reason,
    /// In words for the condition.
    pub message: String,
}

/// A child, and the kinds of those that make no sense without it.
#[derive(Clone, Debug)]
pub struct Foundation {
    /// Which child.
    pub slot: Slot,
    /// What rests on it.
    pub carries: &'static [Kind],
}

/// Carries steps out, in order. A name that somebody else holds stops only that child, and where it is the foundation,
/// what rests on it. Any other failure stops all.
pub async fn carry_out(
    ctx: &Context,
    owner: &Owner,
    uid: &str,
    steps: Vec<Step>,
    foundation: &Foundation,
) -> Carried {
    let hands = Hands { client: &ctx.client, writer: &ctx.writer, world: &ctx.world, owner, uid };
    let mut carried = Carried { unwritten: steps.iter().map(Step::slot).collect(), ..Carried::default() };
    let mut unfounded = false;
    for step in steps {
        let slot = step.slot();
        if unfounded && foundation.carries.contains(&slot.0) {
            continue;
        }
        match hands.carry_out(&step).await {
            Ok(()) => drop(carried.unwritten.remove(&slot)),
            Err(Stop::Again) => {
                carried.again = true;
                break;
            }
            Err(Stop::Conflict(message)) => {
                unfounded |= foundation.slot == slot;
                carried.failures.push(Failure { reason: Reason::NameConflict, message });
            }
            // cert-manager's webhook may be away, or somebody's policy say no: the rest goes on.
            Err(Stop::Write(error)) if slot.0 == Kind::CertificateRequest && ctx.writer.leads() => {
                let message = format!(
                    "CertificateRequest {} could not be written: {}. Whether cert-manager runs is told by kubectl get pods -A -l app.kubernetes.io/instance=cert-manager",
                    slot.1,
                    chain(&error)
                );
                carried.failures.push(Failure { reason: Reason::RequestFailed, message });
            }
            Err(Stop::Write(error)) => {
                carried.failures.push(Failure { reason: error.reason(), message: chain(&error) });
                break;
            }
        }
    }
    carried
}

enum Stop {
    Again,
    Conflict(String),
    Write(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Write(error)
    }
}

struct Hands<'a> {
    client: &'a Client,
    writer: &'a Writer,
    world: &'a World,
    owner: &'a Owner,
    uid: &'a str,
}

impl Hands<'_> {
    async fn carry_out(&self, step: &Step) -> Result<(), Stop> {
        let key = self.owner.key();
        match step {
            Step::Create(kind, name, object) => self.create(*kind, name, object).await,
            Step::Update(kind, name, object) => {
                let uid = self.known_uid(*kind, name);
                let written = match self.writer.apply(*kind, object, If::Uid(&uid)).await {
                    // It is another object by now, or gone: as if nobody had seen it.
                    Err(error) if matches!(error.code(), 404 | 409) => {
                        return self.create(*kind, name, object).await;
                    }
                    written => written?,
                };
                self.remember(*kind, name, object, &written);
                Ok(())
            }
            Step::Relabel(kind, name, object) | Step::Amend(kind, name, object) => {
                match self.live(*kind, name).await? {
                    Some(live) => self.relabel(*kind, name, object, &live).await,
                    None => self.forget(*kind, name),
                }
            }
            Step::Delete(kind, name) => {
                let uid = self.known_uid(*kind, name);
                self.writer.delete(*kind, key, name, &uid).await?;
                self.forget(*kind, name)
            }
        }
    }

    /// Makes a child. Where something stands there already, it may be ours (an answer that got lost, a label that was
    /// taken off) or somebody else's.
    async fn create(&self, kind: Kind, name: &str, object: &Value) -> Result<(), Stop> {
        let written = match self.writer.apply(kind, object, If::Absent).await {
            Err(error) if error.code() == 409 => {
                let Some(live) = self.live(kind, name).await? else { return Err(error.into()) };
                if !self.is_ours(&live) {
                    return Err(Stop::Conflict(self.conflict(kind, name, &live)));
                }
                if kind == Kind::Secret {
                    // What is in it may be in use, and what was planned after it may hang on what was planned for it.
                    let mut bare = object.clone();
                    if let Some(fields) = bare.as_object_mut() {
                        fields.remove("data");
                    }
                    self.relabel(kind, name, &bare, &live).await?;
                    return Err(Stop::Again);
                }
                let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
                self.writer.apply(kind, object, If::Uid(uid)).await?
            }
            written => written?,
        };
        self.remember(kind, name, object, &written);
        Ok(())
    }

    /// Puts labels and owner of a Secret back, and leaves its data as it is, but for the values that are given.
    async fn relabel(&self, kind: Kind, name: &str, object: &Value, live: &Value) -> Result<(), Stop> {
        if !self.is_ours(live) {
            return Err(Stop::Conflict(self.conflict(kind, name, live)));
        }
        let mut whole = object.clone();
        whole["data"] = live["data"].clone();
        if let (Some(data), Some(given)) = (whole["data"].as_object_mut(), object["data"].as_object()) {
            data.extend(given.clone());
        }
        let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
        let written = self.writer.apply(kind, &whole, If::Uid(uid)).await?;
        self.remember(kind, name, object, &written);
        Ok(())
    }

    /// Ours are those that this very Gateway or Tunnel controls, and those without a controller that say they belong to it: a
    /// backup that was restored, an owner that was taken off.
    fn is_ours(&self, live: &Value) -> bool {
        let owners = live["metadata"]["ownerReferences"].as_array();
        let labels = &live["metadata"]["labels"];
        match owners.into_iter().flatten().find(|owner| owner["controller"] == true) {
            Some(owner) => owner["uid"] == self.uid,
            None => {
                labels[self.owner.label()] == self.owner.key().name.as_str()
                    && labels[names::MANAGED_BY] == names::MANAGER
            }
        }
    }

    async fn live(&self, kind: Kind, name: &str) -> Result<Option<Value>, Error> {
        let namespace = &self.owner.key().namespace;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind.resource());
        let what = format!("{} {namespace}/{name}", kind.as_str());
        let live = answered("get", &what, api.get_opt(name)).await?;
        let json = live.map(serde_json::to_value).transpose();
        json.map_err(|error| Error::Api { verb: "get", what, source: kube::Error::SerdeError(error) })
    }

    fn known_uid(&self, kind: Kind, name: &str) -> String {
        let around = self.world.surroundings(self.owner, self.uid);
        around.children.get(&(kind, name.to_owned())).map(|child| child.uid.clone()).unwrap_or_default()
    }

    /// Lets the next visit see our own write, however late the watch is.
    fn remember(&self, kind: Kind, name: &str, applied: &Value, written: &Value) {
        let Some((owner, child)) = Child::from_value(kind, written) else { return };
        let mut applied = applied.clone();
        if let (Kind::Secret, Some(fields)) = (kind, applied.as_object_mut()) {
            fields.remove("data");
        }
        self.world.settle(&owner, kind, name, owned::digest(&applied), child.digest);
        self.world.put_child(&owner, child);
    }

    #[expect(clippy::unnecessary_wraps, reason = "the last step of a branch that may fail")]
    fn forget(&self, kind: Kind, name: &str) -> Result<(), Stop> {
        self.world.remove_child(self.owner, kind, name);
        Ok(())
    }

    /// Whose the object is that stands in the way, and what to do.
    fn conflict(&self, kind: Kind, name: &str, live: &Value) -> String {
        let owners = live["metadata"]["ownerReferences"].as_array();
        let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
        let whose = match controller {
            Some(owner) => format!(
                "belongs to {} {}",
                owner["kind"].as_str().unwrap_or("an object"),
                owner["name"].as_str().unwrap_or_default()
            ),
            None => "was not made by Portcullis".to_owned(),
        };
        format!(
            "{} {name} already exists and {whose}; it is left as it is. Rename or remove it, or give the {} another name",
            kind.as_str(),
            self.owner.kind()
        )
    }
}

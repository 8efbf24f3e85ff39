//! What the children of a Gateway and those of a Tunnel have in common: how they are made, which steps bring what there
//! is to what should be, and how these are carried out. Which children there should be is decided by their rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::world::{Child, Digest, Kind, owned};

pub mod apply;
pub mod disruption;
pub mod issuer;
pub mod maker;
pub mod pods;
pub mod secret;

pub use maker::Maker;

/// Kind and name of a child.
pub type Slot = (Kind, String);

/// Why a plan could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Issuing failed.
    #[error("failed to issue a certificate")]
    Issue(#[from] portcullis_pki::Error),
    /// An object could not be written as JSON.
    #[error("failed to write an object as JSON")]
    Json(#[from] serde_json::Error),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nobody has seen such a child: make it, unless somebody else's stands there.
    Create(Kind, String, Value),
    /// It is ours and differs.
    Update(Kind, String, Value),
    /// It is a Secret of ours whose labels or owner were changed: put those back, and leave the data as it is.
    Relabel(Kind, String, Value),
    /// It is a Secret of ours that is to get these values, and to keep what else is in it.
    Amend(Kind, String, Value),
    /// It has no place any more.
    Delete(Kind, String),
}

impl Step {
    /// Kind and name of the child that it is about.
    pub fn slot(&self) -> Slot {
        match self {
            Self::Create(kind, name, _)
            | Self::Update(kind, name, _)
            | Self::Relabel(kind, name, _)
            | Self::Amend(kind, name, _)
            | Self::Delete(kind, name) => (*kind, name.clone()),
        }
    }
}

/// What should be of a child: the object in full, or of a Secret that is to keep its data, all but that.
#[derive(Debug)]
pub enum Wanted {
    /// The object.
    Object(Kind, Value),
    /// A Secret without its data.
    KeepData(Value),
    /// A Secret with the values that change.
    Amend(Value),
}

/// The children that there are, and whose they should be.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The uid of the Gateway or the Tunnel.
    pub uid: &'a str,
    /// Children by kind and name.
    pub children: &'a BTreeMap<Slot, Arc<Child>>,
    /// Digests of what was applied to a child and of what was found afterwards.
    pub settled: &'a BTreeMap<Slot, (Digest, Digest)>,
}

impl Found<'_> {
    /// Whether a child is there, and as applying `object` would make it.
    pub fn holds(&self, kind: Kind, object: &Value) -> bool {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let child = self.children.get(&(kind, name));
        child.is_some_and(|child| is_settled(child, object, self.settled))
    }
}

/// From what there is to what is wanted. What is neither wanted nor to `stay` goes.
pub fn steps(found: Found<'_>, wanted: Vec<Wanted>, stays: impl Fn(&Slot) -> bool) -> Vec<Step> {
    let mut kept = BTreeSet::new();
    let mut steps = Vec::new();
    for wanted in wanted {
        let (kind, object, known): (_, _, fn(Kind, String, Value) -> Step) = match wanted {
            Wanted::Object(kind, object) => (kind, object, Step::Update),
            Wanted::KeepData(object) => (Kind::Secret, object, Step::Relabel),
            Wanted::Amend(object) => (Kind::Secret, object, Step::Amend),
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let slot = (kind, name.clone());
        let step = match found.children.get(&slot) {
            None => Some(Step::Create(kind, name, object)),
            Some(child) if is_settled(child, &object, found.settled) => None,
            Some(_) => Some(known(kind, name, object)),
        };
        kept.insert(slot);
        steps.extend(step);
    }
    let stale = found.children.iter().filter(|(slot, child)| {
        !kept.contains(*slot) && child.owner.as_deref() == Some(found.uid) && !stays(slot)
    });
    steps.extend(stale.map(|((kind, name), _)| Step::Delete(*kind, name.clone())));
    steps
}

/// Whether a child is what applying `object` would make of it. A Secret whose data is to change differs by that alone:
/// its data is never in the digest.
fn is_settled(child: &Child, object: &Value, settled: &BTreeMap<Slot, (Digest, Digest)>) -> bool {
    if child.kind == Kind::Secret && object.get("data").is_some() {
        return false;
    }
    let wanted = owned::digest(object);
    let found = child.digest;
    wanted == found || settled.get(&(child.kind, child.name.clone())) == Some(&(wanted, found))
}

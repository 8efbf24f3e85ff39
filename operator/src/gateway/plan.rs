//! From an accepted Gateway and what there is to what should be: every child in full, what is to go, and the snapshot.
//! Pure: time, keys and serials are arguments. A child that is as it should be is kept without a write.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_contract::snapshot::{self, Snapshot};
use portcullis_pki::Mint;
use serde_json::Value;
use time::OffsetDateTime;

use super::observe::Observed;
use super::validate::Accepted;
use crate::settings::Settings;
use crate::world::{Child, Kind, owned};

pub mod certificates;
pub mod config;
pub mod deployment;
pub mod disruption;
pub mod metadata;
pub mod service;

pub use certificates::{Certificates, Trouble};

/// What should be.
#[derive(Debug)]
pub struct Plan {
    /// In the order that they are applied in.
    pub steps: Vec<Step>,
    /// What the replicas should serve. None while there is no authority to trust.
    pub snapshot: Option<Published>,
    /// What callers are shown, and what stands in the way.
    pub certificates: Certificates,
    /// Backends that cannot be reached, in the words of the condition.
    pub unresolved: Vec<String>,
}

/// A snapshot, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Digest of the document.
    pub version: String,
    /// The document.
    pub json: String,
    /// SHA-256 of the certificate that replicas are to serve.
    pub server_fingerprint: String,
    /// The tunnels in it, by uid.
    pub tunnels: BTreeMap<String, snapshot::Tunnel>,
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
    /// It has no place any more.
    Delete(Kind, String),
}

impl Step {
    /// Kind and name of the child that it is about.
    pub fn slot(&self) -> (Kind, String) {
        match self {
            Self::Create(kind, name, _)
            | Self::Update(kind, name, _)
            | Self::Relabel(kind, name, _)
            | Self::Delete(kind, name) => (*kind, name.clone()),
        }
    }
}

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

/// What should be of a child: the object in full, or of a Secret that is to keep its data, all but that.
#[derive(Debug)]
enum Wanted {
    Object(Kind, Value),
    KeepData(Value),
}

/// Plans a Gateway.
///
/// # Errors
/// Where a certificate cannot be issued.
pub fn plan(
    accepted: &Accepted,
    observed: &Observed,
    settings: &Settings,
    recorded_authority: Option<&str>,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Plan, Error> {
    let maker = metadata::Maker::new(accepted);
    let certificates = certificates::plan(accepted, observed, settings, recorded_authority, now, mint)?;
    let mut wanted = certificates.wanted(&maker)?;
    let snapshot = config::snapshot(accepted, settings, &certificates).map(publish).transpose()?;
    if let Some(published) = &snapshot {
        wanted.push(Wanted::Object(Kind::ConfigMap, config::config_map(&maker, published)?));
    }
    wanted.push(Wanted::Object(Kind::Service, service::service(&maker, accepted)?));
    if accepted.tunnels.is_some() {
        wanted.push(Wanted::Object(Kind::Service, service::peers(&maker)?));
    }
    wanted.push(Wanted::Object(Kind::PodDisruptionBudget, disruption::budget(&maker)?));
    if let Ok(pods) = &accepted.pods {
        let deployment = deployment::deployment(&maker, accepted, pods, settings)?;
        wanted.push(Wanted::Object(Kind::Deployment, deployment));
    }
    let steps = steps(accepted, observed, wanted, &certificates);
    let unresolved = config::unresolved(accepted);
    Ok(Plan { steps, snapshot, certificates, unresolved })
}

fn publish(snapshot: Snapshot) -> Result<Published, Error> {
    let json = snapshot.to_json()?;
    let version = snapshot::version(json.as_bytes());
    let tunnels = snapshot.tunnels.into_iter().flat_map(|tunnels| tunnels.tunnels);
    let tunnels = tunnels.map(|tunnel| (tunnel.uid.clone(), tunnel)).collect();
    Ok(Published { version, json, server_fingerprint: snapshot.server_fingerprint, tunnels })
}

fn steps(
    accepted: &Accepted,
    observed: &Observed,
    wanted: Vec<Wanted>,
    certificates: &Certificates,
) -> Vec<Step> {
    let mut kept = BTreeSet::new();
    let mut steps = Vec::new();
    for wanted in wanted {
        let (kind, object, keeps_data) = match wanted {
            Wanted::Object(kind, object) => (kind, object, false),
            Wanted::KeepData(object) => (Kind::Secret, object, true),
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let slot = (kind, name.clone());
        let step = match observed.children.get(&slot) {
            None => Some(Step::Create(kind, name, object)),
            Some(child) if is_settled(child, &object, observed) => None,
            Some(_) if keeps_data => Some(Step::Relabel(kind, name, object)),
            Some(_) => Some(Step::Update(kind, name, object)),
        };
        kept.insert(slot);
        steps.extend(step);
    }
    if accepted.pods.is_err() {
        kept.insert((Kind::Deployment, accepted.key.name.clone()));
    }
    let stale = observed.children.iter().filter(|(slot, child)| {
        !kept.contains(*slot) && child.owner.as_deref() == Some(&accepted.uid) && !certificates.in_doubt(slot)
    });
    steps.extend(stale.map(|((kind, name), _)| Step::Delete(*kind, name.clone())));
    steps
}

/// Whether a child is what applying `object` would make of it. A Secret whose data is to change differs by that alone:
/// its data is never in the digest.
fn is_settled(child: &Child, object: &Value, observed: &Observed) -> bool {
    if child.kind == Kind::Secret && object.get("data").is_some() {
        return false;
    }
    let wanted = owned::digest(object);
    let found = child.digest;
    wanted == found || observed.settled.get(&(child.kind, child.name.clone())) == Some(&(wanted, found))
}

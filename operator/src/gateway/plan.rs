//! From an accepted Gateway and what there is to what should be: every child in full, what is to go, and the snapshot.
//! Pure: time, keys and serials are arguments. A child that is as it should be is kept without a write.

use std::collections::BTreeMap;

use portcullis_api::{GatewayStatus, RevocationStatus};
use portcullis_contract::snapshot::{self, Snapshot};
use portcullis_pki::Mint;
use time::OffsetDateTime;

use super::observe::Observed;
use super::validate::Accepted;
use crate::children::{Found, Maker, Wanted, disruption, steps};
use crate::names;
use crate::settings::Settings;
use crate::world::Kind;

pub mod certificates;
pub mod config;
pub mod deployment;
pub mod revocations;
pub mod service;

pub use crate::children::{Error, Step};
pub use certificates::{Certificates, Past, Trouble};

/// What should be.
#[derive(Debug)]
pub struct Plan {
    /// In the order that they are applied in.
    pub steps: Vec<Step>,
    /// What the replicas should serve. None while there is no authority to trust.
    pub snapshot: Option<Published>,
    /// What callers are shown, and what stands in the way.
    pub certificates: Certificates,
    /// Certificates that count no more.
    pub revocations: Vec<RevocationStatus>,
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

/// Plans a Gateway. `status` is what was said of it last.
///
/// # Errors
/// Where a certificate cannot be issued.
pub fn plan(
    accepted: &Accepted,
    observed: &Observed,
    settings: &Settings,
    status: Option<&GatewayStatus>,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Plan, Error> {
    let owner = accepted.owner();
    let maker = Maker::new(&owner, &accepted.uid);
    let revocations = revocations::revocations(accepted, observed, status, now);
    let revoked = revocations::serials(&revocations);
    let past = Past { authority: status.and_then(|status| status.ca.as_ref()), revoked: &revoked };
    let certificates = certificates::plan(accepted, observed, settings, &past, now, mint)?;
    let mut wanted = certificates.wanted(&maker)?;
    let snapshot = config::snapshot(accepted, settings, &certificates, revoked).map(publish).transpose()?;
    if let Some(published) = &snapshot {
        wanted.push(Wanted::Object(Kind::ConfigMap, config::config_map(&maker, published)?));
    }
    wanted.push(Wanted::Object(Kind::Service, service::service(&maker, accepted)?));
    if accepted.tunnels.is_some() {
        wanted.push(Wanted::Object(Kind::Service, service::peers(&maker)?));
    }
    let name = maker.name().to_owned();
    let budget = disruption::budget(&maker, name, names::selector(maker.name()))?;
    wanted.push(Wanted::Object(Kind::PodDisruptionBudget, budget));
    if let Ok(pods) = &accepted.pods {
        let deployment = deployment::deployment(&maker, accepted, pods, settings)?;
        wanted.push(Wanted::Object(Kind::Deployment, deployment));
    }
    let found = Found { uid: &accepted.uid, children: &observed.children, settled: &observed.settled };
    let steps = steps(found, wanted, |slot| {
        let pods = accepted.pods.is_err() && *slot == (Kind::Deployment, accepted.key.name.clone());
        pods || certificates.in_doubt(slot)
    });
    let unresolved = config::unresolved(accepted);
    Ok(Plan { steps, snapshot, certificates, revocations, unresolved })
}

fn publish(snapshot: Snapshot) -> Result<Published, Error> {
    let json = snapshot.to_json()?;
    let version = snapshot::version(json.as_bytes());
    let tunnels = snapshot.tunnels.into_iter().flat_map(|tunnels| tunnels.tunnels);
    let tunnels = tunnels.map(|tunnel| (tunnel.uid.clone(), tunnel)).collect();
    Ok(Published { version, json, server_fingerprint: snapshot.server_fingerprint, tunnels })
}

//! From an accepted Gateway and what there is to what should be: every child in full, what is to go, and the snapshot.
//! Pure: time, keys and serials are arguments. A child that is as it should be is kept without a write.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_api::condition::Reason;
use portcullis_api::{GatewayStatus, RevocationStatus};
use portcullis_contract::snapshot::{self, Snapshot};
use portcullis_pki::Mint;
use time::OffsetDateTime;

use super::observe::Observed;
use super::validate::Accepted;
use crate::children::{Found, Maker, Wanted, disruption, steps};
use crate::settings::Settings;
use crate::world::Kind;
use crate::{moment, names};

pub mod brought;
pub mod certificates;
pub mod config;
pub mod deployment;
pub mod renewals;
pub mod request;
pub mod revocations;
pub mod rotation;
pub mod service;

pub use crate::children::{Error, Step};
use certificates::signer::{Signer, signer};
pub use certificates::{Certificates, Trouble};
use renewals::Grounds;
use request::Ground;
use rotation::Candidate;

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
    /// What becomes of the certificates that clients ask for.
    pub renewals: Vec<renewals::Renewal>,
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
    let planned = |signer| -> Result<(Certificates, Option<Published>), Error> {
        let certificates = certificates::plan(accepted, observed, settings, signer, &revoked, now, mint)?;
        let snapshot = config::snapshot(accepted, settings, &certificates, revoked.clone());
        Ok((certificates, snapshot.map(publish).transpose()?))
    };
    let candidate = brought::candidate(accepted, settings, now);
    let (signer, mut ground) = moved(accepted, observed, status, candidate.as_ref(), now, mint)?;
    let (is_kept, mut is_new) = (matches!(signer, Signer::Kept(_)), matches!(signer, Signer::New(..)));
    let (mut certificates, mut snapshot) = planned(signer)?;
    let found = Found { uid: &accepted.uid, children: &observed.children, settled: &observed.settled };
    let trust = |certificates: &Certificates| -> Result<_, Error> {
        let roots = certificates.roots.as_ref().filter(|_| accepted.publish_trust);
        roots.map(|roots| config::trust(&maker, roots)).transpose()
    };
    // One step at a time: what the next one needs is proved by what this one has written.
    if let (Some(roots), true) = (&certificates.roots, is_kept) {
        let waits_for = rotation::waits_for(accepted, observed, &certificates, snapshot.as_ref());
        let published = trust(&certificates)?.is_none_or(|trust| found.holds(Kind::ConfigMap, &trust));
        let untold = || format!("ConfigMap {} is to be written", names::trust_config_map(maker.name()));
        let waits_for = waits_for.or_else(|| (!published).then(untold));
        let next = rotation::proved(accepted, observed, status, roots, waits_for.as_deref(), now);
        if let Some((next, why)) = next {
            is_new = true;
            (certificates, snapshot) = planned(Signer::New(Arc::new(next), why))?;
        }
    }
    if let Some(roots) = &certificates.roots {
        ground = Ground::After(roots.clone());
    }
    let request = request::plan(accepted, candidate.as_ref(), &ground, now, mint)?;
    if let Some(roots) = &certificates.roots {
        certificates.warnings = brought::warnings(accepted, candidate.as_ref(), roots, &request, now);
    }
    certificates.notes.extend(request.note.clone());
    certificates.rotation = certificates.rotation.into_iter().chain(request.due).min();
    // What is to be signed by an authority that is not written yet waits until it is.
    let grounds =
        Grounds { accepted, settings, certificates: &certificates, revoked: &revoked, status, now, mint };
    let renewals = if is_new { Vec::new() } else { renewals::renewals(&grounds, &observed.renewals) };
    let mut wanted = certificates.wanted(&maker)?;
    let (kept, asked) = request.wanted(&maker)?;
    wanted.extend(kept);
    if let Some(published) = &snapshot {
        wanted.push(Wanted::Object(Kind::ConfigMap, config::config_map(&maker, published)?));
    }
    wanted.extend(trust(&certificates)?.map(|trust| Wanted::Object(Kind::ConfigMap, trust)));
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
    // Last: what cert-manager makes of it stands in nobody's way.
    wanted.extend(asked);
    let steps = steps(found, wanted, |slot| {
        if slot.0 == Kind::CertificateRequest {
            return request.keeps(&slot.1);
        }
        let pods = accepted.pods.is_err() && *slot == (Kind::Deployment, accepted.key.name.clone());
        pods || certificates.in_doubt(slot)
    });
    let unresolved = config::unresolved(accepted);
    Ok(Plan { steps, snapshot, certificates, revocations, renewals, unresolved })
}

/// Which authority signs, or why there is none; it may have been asked to go a step further. And what another one would
/// take the place of.
fn moved(
    accepted: &Accepted,
    observed: &Observed,
    status: Option<&GatewayStatus>,
    candidate: Option<&Candidate>,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<(Signer, Ground), Error> {
    let recorded = status.and_then(|status| status.ca.as_ref()).map(|ca| ca.fingerprint.as_str());
    let signer = signer(accepted, observed, recorded, candidate, now, mint)?;
    let credited = |roots| Arc::new(request::credited(roots, accepted));
    let signer = match signer {
        Signer::New(roots, why) => Signer::New(credited(Arc::unwrap_or_clone(roots)), why),
        other => other,
    };
    let ground = Ground::of(&signer);
    let Signer::Kept(roots) = &signer else { return Ok((signer, ground)) };
    if let Some((what, begins)) = rotation::ahead(&roots.signing.facts, observed, now) {
        let message = format!(
            "the operator's clock says {}, but {what} was issued later, by a clock that said at least {}. Nothing is issued until that time: set the clock of the operator's node; or, if it is the other one that was wrong, delete what it issued",
            moment::text(now),
            moment::text(begins),
        );
        return Ok((Signer::Lost(Trouble { reason: Reason::ClockBehind, message }), Ground::Unclear));
    }
    let step = rotation::asked(accepted, observed, status, roots, candidate, now, mint)?;
    if let (None, Some(trouble)) = (&step, brought::ended(accepted, candidate, roots, now)) {
        return Ok((Signer::Lost(trouble), ground));
    }
    Ok((step.map_or(signer, |(roots, why)| Signer::New(credited(roots), why)), ground))
}

fn publish(snapshot: Snapshot) -> Result<Published, Error> {
    let json = snapshot.to_json()?;
    let version = snapshot::version(json.as_bytes());
    let tunnels = snapshot.tunnels.into_iter().flat_map(|tunnels| tunnels.tunnels);
    let tunnels = tunnels.map(|tunnel| (tunnel.uid.clone(), tunnel)).collect();
    Ok(Published { version, json, server_fingerprint: snapshot.server_fingerprint, tunnels })
}

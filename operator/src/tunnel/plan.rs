//! From a Tunnel and what there is to what should be of its connector in this cluster: a Secret with a certificate for
//! exactly this Tunnel, a Deployment, and where it has several pods a PodDisruptionBudget. Pure: time, keys and serials are arguments.

use kube::ResourceExt as _;
use portcullis_api::Tunnel;
use portcullis_pki::Mint;
use time::OffsetDateTime;

use super::observe::Observed;
use crate::children::{Error, Found, Maker, Step, Wanted, disruption, steps};
use crate::gateway::validate::Rejected;
use crate::names;
use crate::settings::Settings;
use crate::world::{Key, Kind, Owner};

pub mod certificate;
pub mod deployment;
pub mod validate;

/// What should be.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the order that they are applied in.
    pub steps: Vec<Step>,
    /// Why the connector cannot be run as it is written. What there is of it stays as it is; its certificate is renewed.
    pub trouble: Option<Rejected>,
    /// When its certificate is due.
    pub renewal: Option<OffsetDateTime>,
    /// Why something is issued, in words for the log.
    pub notes: Vec<String>,
}

/// Plans a Tunnel's connector. While the Tunnel is not accepted, or the Gateway has no authority, what there is stays as it
/// is.
///
/// # Errors
/// Where a certificate cannot be issued.
pub fn plan(
    tunnel: &Tunnel,
    observed: &Observed,
    settings: &Settings,
    now: OffsetDateTime,
    mint: &dyn Mint,
) -> Result<Plan, Error> {
    let (owner, uid) = (Owner::Tunnel(Key::of(tunnel)), tunnel.uid().unwrap_or_default());
    let found = Found { uid: &uid, children: &observed.children, settled: &observed.settled };
    let Some(spec) = &tunnel.spec.connector else {
        return Ok(Plan { steps: steps(found, Vec::new(), |_| false), ..Plan::default() });
    };
    let (Some(Ok(accepted)), Some(authority), Some(door)) =
        (&observed.verdict, &observed.authority, &observed.door)
    else {
        return Ok(Plan::default());
    };
    let maker = Maker::new(&owner, &uid);
    let gateway = Key::of_gateway(tunnel);
    let issued = certificate::bundle(&gateway, owner.key(), authority, observed, settings, now, mint)?;
    let mut wanted = vec![issued.secret(&maker)?];
    let mut plan = Plan { renewal: Some(issued.renewal), notes: issued.notes, ..Plan::default() };
    match validate::connector(spec, accepted, &gateway, door, settings) {
        Ok(connector) => {
            if connector.replicas > 1 {
                let selector = names::connector_selector(maker.name());
                let budget = disruption::budget(&maker, names::connector(maker.name()), selector)?;
                wanted.push(Wanted::Object(Kind::PodDisruptionBudget, budget));
            }
            let deployment = deployment::deployment(&maker, &connector, settings)?;
            wanted.push(Wanted::Object(Kind::Deployment, deployment));
        }
        Err(trouble) => plan.trouble = Some(trouble),
    }
    let broken = plan.trouble.is_some();
    plan.steps = steps(found, wanted, |(kind, _)| broken && *kind != Kind::Secret);
    Ok(plan)
}

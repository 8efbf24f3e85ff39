//! Carries a Gateway's plan out.

use std::collections::BTreeSet;

use super::plan::Plan;
use super::validate::Accepted;
use crate::children::{Slot, apply};
use crate::context::Context;
use crate::names;
use crate::world::Kind;

pub use apply::Failure;

/// What became of a plan.
#[derive(Debug)]
pub struct Applied {
    /// The plan.
    pub plan: Plan,
    /// What went wrong, in order. Empty: everything is as planned.
    pub failures: Vec<Failure>,
    /// Children that are not as planned: their writes failed, or were not reached.
    pub unwritten: BTreeSet<Slot>,
    /// A Secret that was planned anew turned out to be there: what it holds must be looked at before anything else.
    pub again: bool,
}

/// Carries a plan out, in order. Where the authority's name is somebody else's, what it would sign is not written either,
/// nor who is told to trust it, since a leaf of an authority that is nowhere forbids making another.
pub async fn apply(ctx: &Context, accepted: &Accepted, mut plan: Plan) -> Applied {
    let steps = std::mem::take(&mut plan.steps);
    let authority = apply::Foundation {
        slot: (Kind::Secret, names::authority_secret(&accepted.key.name)),
        carries: &[Kind::Secret, Kind::ConfigMap],
    };
    let owner = accepted.owner();
    let apply::Carried { failures, unwritten, again } =
        apply::carry_out(ctx, &owner, &accepted.uid, steps, &authority).await;
    Applied { plan, failures, unwritten, again }
}

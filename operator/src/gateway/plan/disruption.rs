//! Keeps a drained node from taking all pods at once, and never blocks the drain of the only one.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::children::{Error, Maker};
use crate::names;

/// The PodDisruptionBudget.
pub fn budget(maker: &Maker<'_>) -> Result<Value, Error> {
    maker.finish(&PodDisruptionBudget {
        metadata: maker.metadata(maker.name().to_owned()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(maker.name())),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

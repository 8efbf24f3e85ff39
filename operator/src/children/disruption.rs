//! Keeps a drained node from taking all pods at once, and never blocks the drain of the only one.

use std::collections::BTreeMap;

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::pods::matching;
use super::{Error, Maker};

/// The PodDisruptionBudget of this name for the pods that the labels select.
pub fn budget(maker: &Maker<'_>, name: String, selector: BTreeMap<String, String>) -> Result<Value, Error> {
    maker.finish(&PodDisruptionBudget {
        metadata: maker.metadata(name),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(matching(selector)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

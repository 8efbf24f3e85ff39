//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;

use crate::condition::{ConditionType, Reason};
use crate::{Gateway, Tunnel};

/// Every CustomResourceDefinition, ready to apply.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![gateway(), tunnel()]
}

/// The Gateway's. Its conditions begin as Unknown, so that `kubectl wait` and kstatus never take a Gateway that the
/// operator has not seen for one that is done.
fn gateway() -> CustomResourceDefinition {
    beginning(Gateway::crd(), &ConditionType::ALWAYS)
}

/// The Tunnel's.
fn tunnel() -> CustomResourceDefinition {
    beginning(Tunnel::crd(), &ConditionType::TUNNEL)
}

fn beginning(mut crd: CustomResourceDefinition, conditions: &[ConditionType]) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|root| root.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            begin_as_unknown(status, conditions);
        }
    }
    crd
}

fn begin_as_unknown(status: &mut JSONSchemaProps, conditions: &[ConditionType]) {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|condition| {
            serde_json::json!({
                "type": condition.as_str(),
                "status": "Unknown",
                "reason": Reason::Pending.as_str(),
                "message": "Waiting for the operator",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            })
        })
        .collect();
    status.default = Some(JSON(serde_json::json!({ "conditions": conditions })));
}

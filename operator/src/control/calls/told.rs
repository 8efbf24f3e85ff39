//! A Tunnel as callers are told of it, and what they write as the resource has it. What they leave out is left to the
//! schema, and what is wrong with the rest is the API server's to say. Pure.

use kube::ResourceExt as _;
use portcullis_api::{Requirement, Tunnel, TunnelAccess, VisitorAuth};
use portcullis_contract::gateway as api;
use serde_json::{Map, Value, json};

use crate::names;
use crate::world::Key;

/// A Tunnel as callers are told of it.
pub(super) fn tunnel(tunnel: &Tunnel) -> api::Tunnel {
    let (spec, status) = (&tunnel.spec, tunnel.status.clone().unwrap_or_default());
    let annotation = |name: &str| tunnel.annotations().get(name).cloned().unwrap_or_default();
    let conditions = status.conditions.into_iter().map(|it| api::TunnelCondition {
        r#type: it.type_,
        status: it.status,
        reason: it.reason,
        message: it.message,
        since_ms: it.last_transition_time.0.as_millisecond(),
    });
    api::Tunnel {
        namespace: tunnel.namespace().unwrap_or_default(),
        name: tunnel.name_any(),
        uid: tunnel.uid().unwrap_or_default(),
        hostnames: spec.hostnames.clone(),
        label: spec.label.clone().unwrap_or_default(),
        endpoint: spec.endpoint.clone(),
        protocol: serde_json::to_value(spec.protocol)
            .ok()
            .and_then(|protocol| protocol.as_str().map(ToOwned::to_owned))
            .unwrap_or_default(),
        enabled: spec.enabled,
        access: Some(access(&spec.access)),
        url: status.url.unwrap_or_default(),
        connected: status.connected,
        conditions: conditions.collect(),
        created_by: annotation(names::CREATED_BY),
        resource_version: tunnel.resource_version().unwrap_or_default(),
        held_hostnames: status.hostnames,
        connector: annotation(names::CONNECTOR_ID),
        observed: status.observed_generation == tunnel.metadata.generation,
    }
}

fn access(access: &TunnelAccess) -> api::TunnelAccess {
    let requirement = |it: &Requirement| api::VisitorRequirement {
        methods: it.methods.clone(),
        role: it.role.clone().unwrap_or_default(),
        scopes: it.scopes.clone(),
    };
    api::TunnelAccess {
        auth: match access.auth {
            VisitorAuth::Required => api::VisitorAuth::Required,
            VisitorAuth::None => api::VisitorAuth::None,
        }
        .into(),
        requires: access.requires.iter().map(requirement).collect(),
        methods: access.methods.clone(),
        path_prefixes: access.path_prefixes.clone(),
        source_cidrs: access.source_cidrs.clone(),
        rate_limit: access
            .rate_limit
            .map(|it| api::VisitorRate { requests_per_second: it.requests_per_second, burst: it.burst }),
    }
}

/// A new Tunnel of a user at a Gateway.
pub(super) fn created(key: &Key, gateway: &Key, user: &str, request: &api::CreateTunnelRequest) -> Value {
    let mut spec = Map::new();
    let mut reference = json!({ "name": gateway.name });
    if key.namespace != gateway.namespace {
        reference["namespace"] = json!(gateway.namespace);
    }
    spec.insert("gatewayRef".to_owned(), reference);
    spec.insert("endpoint".to_owned(), json!(request.endpoint));
    let given = [
        ("hostnames", (!request.hostnames.is_empty()).then(|| json!(request.hostnames))),
        ("label", (!request.label.is_empty()).then(|| json!(request.label))),
        ("protocol", (!request.protocol.is_empty()).then(|| json!(request.protocol))),
        ("enabled", request.enabled.map(|enabled| json!(enabled))),
        ("access", request.access.as_ref().map(written_access)),
    ];
    spec.extend(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let mut annotations = json!({ names::CREATED_BY: user });
    if !request.connector.is_empty() {
        annotations[names::CONNECTOR_ID] = json!(request.connector);
    }
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "Tunnel",
        "metadata": { "name": key.name, "namespace": key.namespace, "annotations": annotations },
        "spec": spec,
    })
}

/// A merge patch with what is given; null takes away what there was.
pub(super) fn changed(request: &api::UpdateTunnelRequest) -> Value {
    let mut spec = Map::new();
    let mut set = |name: &str, value: Value| spec.insert(name.to_owned(), value);
    if let Some(endpoint) = &request.endpoint {
        set("endpoint", json!(endpoint));
    }
    // A name takes the place of whichever there was.
    if request.label.is_some() || request.hostnames.is_some() {
        let hostnames = request.hostnames.as_ref().map(|it| &it.hostnames).filter(|it| !it.is_empty());
        set("label", json!(request.label.as_ref().filter(|label| !label.is_empty())));
        set("hostnames", json!(hostnames));
    }
    if let Some(enabled) = request.enabled {
        set("enabled", json!(enabled));
    }
    if let Some(access) = &request.access {
        set("access", written_access(access));
    }
    let mut patch = json!({ "spec": spec });
    if !request.resource_version.is_empty() {
        patch["metadata"] = json!({ "resourceVersion": request.resource_version });
    }
    patch
}

/// Everything that is not said is null: what stood there is taken away, and the schema's defaults come in.
fn written_access(access: &api::TunnelAccess) -> Value {
    let list = |texts: &[String]| if texts.is_empty() { Value::Null } else { json!(texts) };
    let requirement = |it: &api::VisitorRequirement| {
        let mut written = Map::new();
        let role = if it.role.is_empty() { Value::Null } else { json!(it.role) };
        let fields = [("methods", list(&it.methods)), ("role", role), ("scopes", list(&it.scopes))];
        written
            .extend(fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.to_owned(), v)));
        Value::Object(written)
    };
    let requires: Vec<Value> = access.requires.iter().map(requirement).collect();
    json!({
        // A value of a later version of the protocol opens nothing.
        "auth": if access.auth() == api::VisitorAuth::None { "None" } else { "Required" },
        "requires": if requires.is_empty() { Value::Null } else { Value::Array(requires) },
        "methods": list(&access.methods),
        "pathPrefixes": list(&access.path_prefixes),
        "sourceCIDRs": list(&access.source_cidrs),
        "rateLimit": access.rate_limit.map(|it| json!({ "requestsPerSecond": it.requests_per_second, "burst": it.burst })),
    })
}

//! What the pods have of the spec's own: the overlay and the drivers' containers. Both are read strictly: a key that
//! Kubernetes does not know is an error, not silence.

use k8s_openapi::DeepMerge as _;
use k8s_openapi::api::core::v1::{Capabilities, Container, EnvVar, PodTemplateSpec, SecurityContext};
use portcullis_api::condition::Reason;
use portcullis_api::{GatewaySpec, Sidecar};
use portcullis_contract::files;
use portcullis_contract::snapshot::{Driver, DriverKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Rejected;

/// Where a sidecar finds the path of the socket that it is to open.
const SOCKET: &str = "PORTCULLIS_DRIVER_SOCKET";

/// What the pods have of the spec's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pods {
    /// What is laid over them.
    pub overlay: Option<PodTemplateSpec>,
    /// Containers that serve drivers.
    pub sidecars: Vec<(DriverKind, Container)>,
}

/// Folder that a driver's sidecar shares with the gateway.
pub fn shared_folder(kind: DriverKind) -> String {
    format!("{}/{}", files::DRIVERS_DIR, kind.as_str())
}

fn listed(spec: &GatewaySpec) -> impl Iterator<Item = (DriverKind, &portcullis_api::Driver)> {
    let drivers = spec.drivers.iter();
    drivers.flat_map(|drivers| {
        let compute = drivers.compute.iter().map(|driver| (DriverKind::Compute, driver));
        compute.chain(drivers.credentials.iter().map(|driver| (DriverKind::Credentials, driver)))
    })
}

fn socket(kind: DriverKind, driver: &portcullis_api::Driver) -> String {
    driver.socket_path.clone().unwrap_or_else(|| format!("{}/driver.sock", shared_folder(kind)))
}

/// The drivers as the gateway finds them.
pub(super) fn drivers(spec: &GatewaySpec) -> Vec<Driver> {
    listed(spec).map(|(kind, driver)| Driver { kind, socket: socket(kind, driver) }).collect()
}

/// Reads overlay and sidecars.
pub(super) fn pods(spec: &GatewaySpec) -> Result<Pods, Rejected> {
    let overlay = |value| read(value, "spec.podTemplate", "PodTemplateSpec", Reason::InvalidPodTemplate);
    let sidecars = listed(spec).filter_map(|(kind, driver)| {
        let sidecar = driver.sidecar.as_ref()?;
        Some(container(kind, sidecar, socket(kind, driver)).map(|container| (kind, container)))
    });
    Ok(Pods {
        overlay: spec.pod_template.as_ref().map(overlay).transpose()?,
        sidecars: sidecars.collect::<Result<_, _>>()?,
    })
}

fn container(kind: DriverKind, sidecar: &Sidecar, socket: String) -> Result<Container, Rejected> {
    let written = json!({
        "name": format!("driver-{}", kind.as_str()),
        "image": sidecar.image,
        "args": sidecar.args,
        "env": sidecar.env,
        "resources": sidecar.resources,
        "securityContext": sidecar.security_context,
    });
    let field = format!("spec.drivers.{}.sidecar", kind.as_str());
    let mut container: Container = read(&written, &field, "container", Reason::InvalidSidecar)?;
    let given = container.security_context.take();
    let mut security = restricted();
    security.merge_from(given.unwrap_or_default());
    container.security_context = Some(security);
    let variable = EnvVar { name: SOCKET.to_owned(), value: Some(socket), value_from: None };
    container.env.get_or_insert_default().insert(0, variable);
    container.args = container.args.filter(|args| !args.is_empty());
    container.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    Ok(container)
}

/// What Pod Security "restricted" wants of a container, and a root file system that stays as it is.
pub fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Reads a value of a spec as one of Kubernetes' own types.
///
/// # Errors
/// Where it is none, or has a key that such a value does not know; says where.
pub fn read<T: Serialize + DeserializeOwned>(
    written: &Value,
    field: &str,
    what: &str,
    reason: Reason,
) -> Result<T, Rejected> {
    let wrong = |why: String| Rejected {
        reason,
        message: format!("{field} {why}. The pods stay as they are until it makes sense"),
    };
    let read: T =
        serde_json::from_value(written.clone()).map_err(|error| wrong(format!("is no {what}: {error}")))?;
    let understood = serde_json::to_value(&read).map_err(|error| wrong(error.to_string()))?;
    match unknown_key(written, &understood, field) {
        Some(path) => Err(wrong(format!("has a field that a {what} does not know: {path}"))),
        None => Ok(read),
    }
}

fn unknown_key(written: &Value, understood: &Value, path: &str) -> Option<String> {
    match written {
        Value::Object(fields) => {
            fields.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match understood.get(key) {
                    Some(understood) => unknown_key(value, understood, &path),
                    None => Some(path),
                }
            })
        }
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            unknown_key(item, understood.get(index).unwrap_or(&Value::Null), &format!("{path}[{index}]"))
        }),
        _ => None,
    }
}

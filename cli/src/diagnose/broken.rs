//! What is not as it should be: conditions, and containers that do not run. Pure.

use serde::Serialize;
use serde_json::Value;

/// Conditions that are false where all is well.
const UNWANTED: [&str; 3] = ["Degraded", "Warning", "Stalled"];

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// What it is about, such as `gateway demo/door`.
    pub of: String,
    /// The condition and its status, or the container and its state.
    pub what: String,
    /// Its reason.
    pub reason: String,
    /// What is said of it.
    pub message: String,
}

/// The conditions of a Gateway or a Tunnel that are not as they should be. One that was never visited has none, and that is
/// said too.
pub(super) fn conditions(kind: &str, object: &Value) -> Vec<Broken> {
    let of = format!("{kind} {}", title(object));
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let broken = conditions.iter().filter(|it| {
        let wanted = if UNWANTED.iter().any(|name| it["type"] == **name) { "False" } else { "True" };
        it["status"] != wanted
    });
    let mut broken: Vec<_> = broken
        .map(|it| Broken {
            of: of.clone(),
            what: format!("{}={}", text(it, "type"), text(it, "status")),
            reason: text(it, "reason"),
            message: text(it, "message"),
        })
        .collect();
    if conditions.is_empty() {
        broken.push(Broken {
            of,
            what: "no conditions".to_owned(),
            reason: "NeverVisited".to_owned(),
            message: "no operator has looked at it: is one running, and does it watch this namespace?"
                .to_owned(),
        });
    }
    broken
}

/// The containers of a pod that do not run, or not yet.
pub(super) fn containers(pod: &Value) -> Vec<Broken> {
    let of = format!("pod {}", title(pod));
    let mut broken = Vec::new();
    for kind in ["initContainerStatuses", "containerStatuses"] {
        for container in pod["status"][kind].as_array().into_iter().flatten() {
            let state = &container["state"];
            let is_done = state["terminated"]["exitCode"] == 0;
            if is_done || (container["ready"] == true && !state["running"].is_null()) {
                continue;
            }
            let (name, state) = ["waiting", "terminated", "running"]
                .into_iter()
                .map(|name| (name, &state[name]))
                .find(|(_, state)| !state.is_null())
                .unwrap_or(("unknown", &Value::Null));
            let restarts = container["restartCount"].as_i64().unwrap_or_default();
            let last = &container["lastState"]["terminated"]["message"];
            let message = state["message"].as_str().or(last.as_str()).unwrap_or("it is not ready");
            broken.push(Broken {
                of: of.clone(),
                what: format!("{} {name}", container["name"].as_str().unwrap_or_default()),
                reason: state["reason"].as_str().unwrap_or("NotReady").to_owned(),
                message: format!("{}, {restarts} restarts", message.trim()),
            });
        }
    }
    if broken.is_empty() && pod["status"]["phase"] == "Pending" {
        let scheduled = pod["status"]["conditions"].as_array().into_iter().flatten();
        let said = scheduled.filter(|it| it["status"] != "True").find_map(|it| it["message"].as_str());
        broken.push(Broken {
            of,
            what: "pending".to_owned(),
            reason: "Pending".to_owned(),
            message: said.unwrap_or("it is on no node yet").to_owned(),
        });
    }
    broken
}

fn title(object: &Value) -> String {
    let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", of("namespace"), of("name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(broken: &[Broken]) -> Vec<[&str; 2]> {
        broken.iter().map(|it| [it.what.as_str(), it.reason.as_str()]).collect()
    }

    #[test]
    fn a_condition_is_broken_where_it_is_not_as_one_wants_it() {
        let object = |conditions: &[[&str; 2]]| {
            let conditions: Vec<_> = conditions
                .iter()
                .map(
                    |[kind, status]| json!({ "type": kind, "status": status, "reason": "R", "message": "m" }),
                )
                .collect();
            json!({ "metadata": { "namespace": "demo", "name": "door" }, "status": { "conditions": conditions } })
        };
        let well = object(&[["Ready", "True"], ["Degraded", "False"]]);
        assert_eq!(conditions("gateway", &well), []);
        let ill =
            object(&[["Ready", "Unknown"], ["Accepted", "True"], ["Stalled", "True"], ["Warning", "True"]]);
        let broken = conditions("gateway", &ill);
        assert_eq!(told(&broken), [["Ready=Unknown", "R"], ["Stalled=True", "R"], ["Warning=True", "R"]]);
        assert_eq!(broken[0].of, "gateway demo/door");
        assert_eq!(told(&conditions("tunnel", &object(&[]))), [["no conditions", "NeverVisited"]]);
    }

    #[test]
    fn a_container_is_broken_unless_it_runs_and_is_ready_or_is_done() {
        let pod = |state: Value, ready: bool| {
            json!({ "metadata": { "namespace": "demo", "name": "door-1" }, "status": { "phase": "Running",
                "containerStatuses": [{ "name": "gateway", "ready": ready, "restartCount": 3, "state": state }] } })
        };
        assert_eq!(containers(&pod(json!({ "running": {} }), true)), []);
        assert_eq!(containers(&pod(json!({ "terminated": { "exitCode": 0 } }), false)), []);
        let waiting = containers(&pod(
            json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } }),
            false,
        ));
        assert_eq!(told(&waiting), [["gateway waiting", "ImagePullBackOff"]]);
        assert_eq!(waiting[0].message, "no such image, 3 restarts");
        assert_eq!(
            told(&containers(&pod(json!({ "running": {} }), false))),
            [["gateway running", "NotReady"]]
        );
        let pending = json!({ "metadata": {}, "status": { "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available" }] } });
        assert_eq!(containers(&pending)[0].message, "0/1 nodes are available");
    }
}

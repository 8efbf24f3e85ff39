//! The last lines of a pod's containers, and of what ran before where it was started again.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::Value;

use super::Bounds;
use super::cluster::Cluster;

/// No log of a container is longer, in bytes.
const BYTES: i64 = 1024 * 1024;

/// The file of a log, and the log or why there is none.
pub(super) type Log = (String, Result<String, String>);

/// All logs of a pod.
pub(super) async fn of(cluster: &Cluster, namespace: &str, pod: &Value, bounds: &Bounds) -> Vec<Log> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let mut logs = Vec::new();
    for kind in ["initContainerStatuses", "containerStatuses"] {
        for container in pod["status"][kind].as_array().into_iter().flatten() {
            let container_name = container["name"].as_str().unwrap_or_default();
            let has_begun = container["state"]["waiting"].is_null();
            let has_ended = container["restartCount"].as_i64().is_some_and(|it| it > 0);
            for (is_previous, wanted, ending) in
                [(false, has_begun, "log"), (true, has_ended, "previous.log")]
            {
                if !wanted {
                    continue;
                }
                let params = LogParams {
                    container: Some(container_name.to_owned()),
                    previous: is_previous,
                    tail_lines: Some(bounds.lines),
                    limit_bytes: Some(BYTES),
                    timestamps: true,
                    ..LogParams::default()
                };
                let what = format!("the log of {container_name} of pod {namespace}/{name}");
                let text = cluster.ask(&what, pods.logs(name, &params)).await;
                logs.push((format!("namespaces/{namespace}/logs/{name}/{container_name}.{ending}"), text));
            }
        }
    }
    logs
}

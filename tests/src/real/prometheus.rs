//! Prometheus, as the example configures it: it finds the operator and Gateways by their pods and knows the chart's alerts.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::{Server, contained_beside_pods, json_of, loopback};
use crate::chart;
use crate::door::kubectl;

/// What stands for the discovery of pods, which Debian builds without.
const TARGETS: &str = "targets.json";

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    address: String,
    server: Server,
    _folder: TempDir,
}

/// A sample: its labels, and its value.
pub type Sample = (Value, f64);

impl Prometheus {
    /// Starts one that looks every second at the operator and at a namespace's Gateways, those pods that there are now.
    pub async fn start(namespace: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::copy(chart::folder().join("files/alerts.yaml"), path.join("alerts.yaml")).unwrap();
        std::fs::write(path.join("prometheus.yaml"), configuration(path).to_string()).unwrap();
        let mut targets = Vec::new();
        for namespace in ["portcullis-system", namespace] {
            targets.extend(pods(namespace).await);
        }
        std::fs::write(path.join(TARGETS), Value::from(targets).to_string()).unwrap();
        Self::started(folder).await
    }

    /// Starts one that looks every ten seconds at one target alone, with the files of a client's certificate.
    pub async fn looking(host: &str, address: &str, path: &str, bundle: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| bundle.join(name);
        let configuration = json!({
            "global": { "scrape_interval": "10s", "scrape_timeout": "10s" },
            "scrape_configs": [{
                "job_name": "door",
                "scheme": "https",
                "metrics_path": path,
                "tls_config": {
                    "ca_file": file("ca.crt"), "cert_file": file("tls.crt"), "key_file": file("tls.key"),
                    "server_name": host,
                },
                "static_configs": [{ "targets": [address] }],
            }],
        });
        std::fs::write(folder.path().join("prometheus.yaml"), configuration.to_string()).unwrap();
        Self::started(folder).await
    }

    /// With what is in its folder.
    async fn started(folder: TempDir) -> Self {
        let path = folder.path();
        let address = format!("{}:9090", loopback());
        let mut prometheus = contained_beside_pods("prometheus");
        prometheus.arg(format!("--config.file={}", path.join("prometheus.yaml").display()));
        prometheus.arg(format!("--storage.tsdb.path={}", path.join("data").display()));
        prometheus.arg(format!("--web.listen-address={address}"));
        let mut started =
            Self { server: Server::start("prometheus", path, &mut prometheus), address, _folder: folder };
        let ready = format!("http://{}/-/ready", started.address);
        let answers = async || {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--fail", "--output", "/dev/null", &ready])
                .status()
                .await
                .unwrap()
                .success()
        };
        started.server.until(answers).await;
        started
    }

    /// What became of the last look at a target that did not answer.
    pub async fn failure(&self) -> String {
        self.told("targets", &[]).await["data"]["activeTargets"].to_string()
    }

    /// What its API tells at a path.
    async fn told(&self, path: &str, more: &[&str]) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60"]).args(more);
        json_of(&curl.arg(format!("http://{}/api/v1/{path}", self.address)).output().await.unwrap())
    }

    /// What a query returns now; fails the test where Prometheus does not understand it.
    pub async fn query(&self, expression: &str) -> Vec<Sample> {
        let answer = self.told("query", &["--data-urlencode", &format!("query={expression}")]).await;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let samples = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let value = |sample: &Value| sample["value"][1].as_str().unwrap().parse().unwrap();
        samples.iter().map(|sample| (sample["metric"].clone(), value(sample))).collect()
    }
}

/// The example, with a file of pods in place of the question for them, and in a hurry.
fn configuration(folder: &Path) -> Value {
    let example = include_str!("../../../manifests/examples/monitoring/prometheus.yaml");
    let mut configuration: Value = serde_norway::from_str(example).unwrap();
    configuration["global"] = json!({ "scrape_interval": "1s", "evaluation_interval": "1s" });
    for job in configuration["scrape_configs"].as_array_mut().unwrap() {
        let job = job.as_object_mut().unwrap();
        assert!(job.remove("kubernetes_sd_configs").is_some());
        job.insert("file_sd_configs".into(), json!([{ "files": [folder.join(TARGETS)] }]));
    }
    configuration
}

/// A namespace's pods, a target for each of their ports, with the labels that Prometheus gives them where it asks by itself.
async fn pods(namespace: &str) -> Vec<Value> {
    let pods = kubectl(namespace, &["get", "pods", "--output=json"], None).await;
    let pods: Value = serde_json::from_str(&pods).unwrap();
    let mut targets = Vec::new();
    for pod in pods["items"].as_array().unwrap() {
        let containers = pod["spec"]["containers"].as_array().unwrap().iter();
        for port in containers.filter_map(|it| it["ports"].as_array()).flatten() {
            let mut labels = json!({
                "__meta_kubernetes_namespace": namespace,
                "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                "__meta_kubernetes_pod_container_port_name": port["name"].as_str().unwrap_or_default(),
            });
            for (label, value) in pod["metadata"]["labels"].as_object().into_iter().flatten() {
                let label = label.replace(['.', '/', '-'], "_");
                labels[format!("__meta_kubernetes_pod_label_{label}")] = value.clone();
            }
            let (host, port) = (pod["status"]["podIP"].as_str().unwrap_or_default(), &port["containerPort"]);
            targets.push(json!({ "targets": [format!("{host}:{port}")], "labels": labels }));
        }
    }
    targets
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("prometheus said:\n{}", self.server.words());
        }
    }
}

/// `promtool`, which comes with it; says what it found.
pub async fn promtool(arguments: &[&str], folder: &Path) -> std::process::Output {
    Command::new("promtool").args(arguments).current_dir(folder).output().await.unwrap()
}

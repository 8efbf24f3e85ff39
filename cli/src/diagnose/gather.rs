//! What is gathered, in the order that it is asked for.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::cluster::{Cluster, Kind};
use super::scrub::Scrubber;
use super::{Bounds, Gathered, broken, logs, secrets};
use crate::failure::{Exit, Failure};

const GATEWAYS: Kind = Kind::new("portcullis.dev", "v1alpha1", "Gateway", "gateways");
const TUNNELS: Kind = Kind::new("portcullis.dev", "v1alpha1", "Tunnel", "tunnels");
const PODS: Kind = Kind::new("", "v1", "Pod", "pods");
const EVENTS: Kind = Kind::new("", "v1", "Event", "events");
const LEASES: Kind = Kind::new("coordination.k8s.io", "v1", "Lease", "leases");
const DEFINITIONS: Kind =
    Kind::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");

/// What the operator makes, and what it is itself made of.
const OWNED: [Kind; 7] = [
    Kind::new("apps", "v1", "Deployment", "deployments"),
    Kind::new("apps", "v1", "ReplicaSet", "replicasets"),
    Kind::new("", "v1", "Service", "services"),
    Kind::new("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    Kind::new("", "v1", "ConfigMap", "configmaps"),
    Kind::new("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind::new("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
];

/// What is found of Gateways and connectors, and of the operator. The names of pods are templates of the operator's and the
/// chart's; what controllers make of those has the same labels.
const MADE: &str = "app.kubernetes.io/name in (portcullis-gateway,portcullis-connector)";
const OPERATOR: &str = "app.kubernetes.io/name=portcullis-operator";

/// Everything that may be read.
///
/// # Errors
/// Where there is no cluster, or it has no Gateways and may not be asked for them.
pub async fn gather(client: Client, bounds: &Bounds) -> Result<Gathered, Failure> {
    let scrubber =
        Scrubber::new().map_err(|error| Failure::new(Exit::Failed, format!("failed to begin: {error}")))?;
    let cluster = Cluster { client, patience: bounds.timeout };
    let mut gathering = Gathering { cluster, bounds, scrubber, gathered: Gathered::default() };
    let server = gathering.cluster.ask("the version", gathering.cluster.client.apiserver_version()).await;
    let server = server.map_err(|reason| {
        Failure::new(Exit::Unreachable, format!("failed to ask the cluster for {reason}")).hint(
            "is the cluster there? `kubectl cluster-info` asks it; --kubeconfig and --context choose another",
        )
    })?;
    let versions = json!({ "portcullis": env!("CARGO_PKG_VERSION"), "kubernetes": server.git_version });
    gathering.write("versions.yaml", versions);
    gathering.definitions().await;

    let scope = bounds.namespace.as_deref();
    let gateways = gathering.resources("gateway", GATEWAYS, scope).await;
    let tunnels = gathering.resources("tunnel", TUNNELS, scope).await;
    gathering.gathered.counts.gateways = gateways.len();
    gathering.gathered.counts.tunnels = tunnels.len();
    let found = gateways.iter().chain(&tunnels).filter_map(|it| it["metadata"]["namespace"].as_str());
    let mut namespaces: BTreeSet<String> = found.map(str::to_owned).collect();
    namespaces.extend(bounds.namespace.clone());
    for namespace in &namespaces {
        gathering.namespace(namespace, MADE).await;
    }
    gathering.namespace(&bounds.operator, OPERATOR).await;
    for namespace in namespaces.iter().chain([&bounds.operator]).collect::<BTreeSet<_>>() {
        gathering.events(namespace).await;
        gathering.secrets(namespace).await;
    }
    gathering.leases().await;
    Ok(gathering.finished())
}

struct Gathering<'a> {
    cluster: Cluster,
    bounds: &'a Bounds,
    scrubber: Scrubber,
    gathered: Gathered,
}

impl Gathering<'_> {
    /// Keeps an object, scrubbed.
    fn write(&mut self, path: &str, mut value: Value) {
        self.scrubber.object(&mut value);
        match serde_norway::to_string(&value) {
            Ok(text) => drop(self.gathered.files.insert(path.to_owned(), text)),
            Err(error) => self.gathered.missing.push(format!("{path}: {error}")),
        }
    }

    /// What was answered; nothing where it was not, and that is noted.
    fn noted<T>(&mut self, answer: Result<Vec<T>, String>) -> Vec<T> {
        answer.unwrap_or_else(|reason| {
            self.gathered.missing.push(reason);
            Vec::new()
        })
    }

    /// Which versions of our kinds the cluster has, without their schemas.
    async fn definitions(&mut self) {
        let listed = self.cluster.list(DEFINITIONS, None, "").await;
        let ours = self.noted(listed).into_iter().filter(|it| it["spec"]["group"] == "portcullis.dev");
        let told = ours.map(|it| {
            let versions =
                it["spec"]["versions"].as_array().into_iter().flatten().map(|it| it["name"].clone());
            json!({
                "name": it["metadata"]["name"], "labels": it["metadata"]["labels"],
                "versions": versions.collect::<Vec<_>>(), "status": it["status"],
            })
        });
        let told: Vec<_> = told.collect();
        self.write("definitions.yaml", Value::Array(told));
    }

    /// Gateways or Tunnels, each in a file, and what is wrong with them.
    async fn resources(&mut self, kind: &str, of: Kind, namespace: Option<&str>) -> Vec<Value> {
        let listed = self.cluster.list(of, namespace, "").await;
        let found = self.noted(listed);
        for object in &found {
            self.gathered.broken.extend(broken::conditions(kind, object));
            self.object(of.plural, object);
        }
        found
    }

    fn object(&mut self, plural: &str, object: &Value) {
        let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        self.write(&format!("namespaces/{}/{plural}/{}.yaml", of("namespace"), of("name")), object.clone());
    }

    /// What is ours in a namespace, with its pods' logs.
    async fn namespace(&mut self, namespace: &str, selector: &str) {
        for kind in OWNED {
            let listed = self.cluster.list(kind, Some(namespace), selector).await;
            for object in self.noted(listed) {
                self.object(kind.plural, &object);
            }
        }
        let listed = self.cluster.list(PODS, Some(namespace), selector).await;
        for pod in self.noted(listed) {
            self.gathered.counts.pods += 1;
            self.gathered.broken.extend(broken::containers(&pod));
            self.object(PODS.plural, &pod);
            for (path, log) in logs::of(&self.cluster, namespace, &pod, self.bounds).await {
                match log {
                    Ok(text) => drop(self.gathered.files.insert(path, self.scrubber.text(&text))),
                    Err(reason) => self.gathered.missing.push(reason),
                }
            }
        }
    }

    /// A line each, the latest last.
    async fn events(&mut self, namespace: &str) {
        let listed = self.cluster.list(EVENTS, Some(namespace), "").await;
        let mut lines: Vec<_> = self.noted(listed).iter().map(event).collect();
        lines.sort();
        let text = self.scrubber.text(&(lines.join("\n") + "\n"));
        self.gathered.files.insert(format!("namespaces/{namespace}/events.txt"), text);
    }

    /// Names, keys and certificates' dates; nothing of what is in them leaves this function.
    async fn secrets(&mut self, namespace: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.cluster.client.clone(), namespace);
        let params = ListParams::default();
        let listed = self.cluster.ask(&format!("secrets of {namespace}"), secrets.list(&params)).await;
        let told = listed.map(|list| list.items.iter().map(secrets::told).collect::<Vec<_>>());
        let told = self.noted(told);
        let path = format!("namespaces/{namespace}/secrets.yaml");
        match serde_norway::to_string(&told) {
            Ok(text) => drop(self.gathered.files.insert(path, text)),
            Err(error) => self.gathered.missing.push(format!("secrets of {namespace}: {error}")),
        }
    }

    /// Who leads.
    async fn leases(&mut self) {
        let listed = self.cluster.list(LEASES, Some(&self.bounds.operator), "").await;
        for lease in self.noted(listed) {
            self.object(LEASES.plural, &lease);
        }
    }

    /// With what somebody reads first.
    fn finished(mut self) -> Gathered {
        self.gathered.missing.iter_mut().for_each(|it| *it = self.scrubber.text(it));
        let mut summary = String::new();
        for it in &mut self.gathered.broken {
            it.message = self.scrubber.text(&it.message);
            summary += &[it.of.as_str(), &it.what, &it.reason, &it.message].join("\t");
            summary.push('\n');
        }
        self.gathered.files.insert("broken.txt".to_owned(), summary);
        let missing = self.gathered.missing.iter().map(|it| it.clone() + "\n").collect();
        self.gathered.files.insert("not-read.txt".to_owned(), missing);
        self.gathered
    }
}

/// When, about what, and what was said.
fn event(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let at = ["lastTimestamp", "eventTime"].into_iter().map(|it| text(&event[it])).find(|it| !it.is_empty());
    let about = &event["involvedObject"];
    format!(
        "{}\t{}\t{} {}\t{}\t{}",
        at.unwrap_or_else(|| text(&event["metadata"]["creationTimestamp"])),
        text(&event["type"]),
        text(&about["kind"]),
        text(&about["name"]),
        text(&event["reason"]),
        text(&event["message"]).replace('\n', " "),
    )
}

//! Golden cases: each `testdata/*.in.yaml` goes through the real claims, plan and status; what came out stands beside it.
//! A new case is a new file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use portcullis_api::condition::Reason;
use portcullis_api::{Gateway, Tunnel};
use portcullis_contract::control::{Connection, Probe};
use portcullis_pki::{AuthorityProfile, NameConstraints, RandomMint, issue_authority};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::claims::Claims;
use super::observe::{Door, Observed};
use super::plan::{Plan, plan};
use super::status::{Outcome, status};
use crate::children::Step;
use crate::children::apply::Failure;
use crate::control::tunnels::Evidence;
use crate::gateway::golden::{NOW, settings, shown, stored};
use crate::moment;
use crate::world::{Child, Key, Namespaces, Pod, Roots};

/// A case: a Tunnel, and what there is around it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    /// The one that is looked at.
    tunnel: Tunnel,
    /// The Gateway of that name, if there is one.
    gateway: Option<Gateway>,
    /// Others that name the same Gateway.
    #[serde(default)]
    rivals: Vec<Tunnel>,
    /// Ready pods of the Gateway: `Current` or `Behind`.
    #[serde(default)]
    replicas: BTreeMap<String, String>,
    /// Labels of namespaces. Without it: not known yet.
    namespaces: Option<HashMap<String, BTreeMap<String, String>>>,
    /// Replicas have been told of it.
    #[serde(default = "yes")]
    published: bool,
    /// Connectors, by the replica that they are connected to.
    #[serde(default)]
    connectors: BTreeMap<String, Vec<String>>,
    /// Replicas that can neither serve it nor hand it on.
    #[serde(default)]
    cut_off: Vec<String>,
    /// The last probe of a replica.
    #[serde(default)]
    probes: BTreeMap<String, ProbeSaid>,
    /// Its connector was planned and carried out so long ago. Without it: never.
    carried_out: Option<String>,
    /// The Gateway has an authority that its status speaks of.
    #[serde(default = "yes")]
    authority: bool,
    /// The connector's pods: `Ready`, or why they fail.
    #[serde(default)]
    pods: BTreeMap<String, String>,
    /// Children that are somebody else's, in the words of the condition.
    #[serde(default)]
    conflicts: Vec<String>,
}

/// What a probe found.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProbeSaid {
    ago: String,
    /// `HOP: message` where it failed.
    failed: Option<String>,
}

fn yes() -> bool {
    true
}

#[test]
fn claims_plans_and_statuses_are_as_recorded() {
    insta::glob!("testdata/*.in.yaml", |path| {
        let case: Case = serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        insta::assert_snapshot!(shown(&run(case)));
    });
}

fn run(case: Case) -> Value {
    let tunnel = Arc::new(case.tunnel);
    let uid = tunnel.metadata.uid.clone().unwrap();
    let mut all: Vec<_> = case.rivals.into_iter().map(Arc::new).collect();
    all.push(tunnel.clone());
    let namespaces = case.namespaces.map(Namespaces::of).unwrap_or_default();
    let claims = Claims::of(&Key::of_gateway(&tunnel), case.gateway.as_ref(), &all, &namespaces);
    let verdict = claims.verdict(&uid).cloned();
    let door = case.gateway.as_ref().map(Door::of);
    let mut observed = Observed {
        published: verdict.clone().and_then(Result::ok).filter(|_| case.published),
        verdict,
        replicas: case.replicas.iter().map(|(pod, said)| (pod.clone(), said == "Current")).collect(),
        evidence: evidence(&case.replicas, &case.cut_off, &case.connectors, &case.probes),
        settling: false,
        door,
        children: BTreeMap::new(),
        settled: BTreeMap::new(),
        pods: case.pods.into_iter().map(|(name, state)| (name, Arc::new(pod(&state)))).collect(),
        authority: (case.authority && case.gateway.is_some()).then(authority),
    };
    if let Some(span) = &case.carried_out {
        let former = plan(&tunnel, &observed, &settings(), NOW - ago(span), &RandomMint).unwrap();
        carry_out(&mut observed, &former);
    }
    let plan = plan(&tunnel, &observed, &settings(), NOW, &RandomMint).unwrap();
    let failure = |message: String| Failure { reason: Reason::NameConflict, message };
    let outcome = Outcome {
        trouble: plan.trouble.clone(),
        failures: case.conflicts.into_iter().map(failure).collect(),
    };
    json!({
        "notes": plan.notes,
        "renewal": plan.renewal.map(moment::text),
        "steps": steps(&plan),
        "served": claims.accepted().collect::<Vec<_>>(),
        "status": status(&tunnel, &observed, &outcome, moment::timestamp(NOW).unwrap()),
    })
}

fn ago(span: &str) -> Duration {
    let span: kube::core::Duration = span.parse().unwrap();
    Duration::try_from(std::time::Duration::from(span)).unwrap()
}

fn authority() -> Arc<Roots> {
    let profile = AuthorityProfile {
        common_name: "portcullis shop/door".to_owned(),
        lifetime: Duration::days(3650),
        name_constraints: NameConstraints::default(),
        key: portcullis_pki::KeyAlgorithm::P256,
    };
    let authority = issue_authority(&profile, 1, NOW - Duration::days(300), &RandomMint).unwrap();
    Arc::new(Roots::first(authority, Vec::new()))
}

fn pod(state: &str) -> Pod {
    let failure = Some(state.to_owned()).filter(|state| state != "Ready");
    Pod { ready: state == "Ready", failure, ..Pod::default() }
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    let at: Timestamp = moment::timestamp(at).unwrap();
    at.as_millisecond()
}

fn evidence(
    replicas: &BTreeMap<String, String>,
    cut_off: &[String],
    connectors: &BTreeMap<String, Vec<String>>,
    probes: &BTreeMap<String, ProbeSaid>,
) -> Vec<(String, Arc<Evidence>)> {
    let mut said: BTreeMap<String, Evidence> = BTreeMap::new();
    for replica in replicas.keys() {
        said.entry(replica.clone()).or_default().carried = !cut_off.contains(replica);
    }
    for (replica, connected) in connectors {
        let connection = |connector: &String| Connection {
            connector: connector.clone(),
            identity: "spiffe://cluster.local/ns/shop/gateway/door/client/connector".to_owned(),
            certificate_fingerprint: "0".repeat(64),
            remote_address: "192.0.2.7".to_owned(),
            transport: "tls".to_owned(),
            since_ms: milliseconds(NOW - Duration::hours(1)),
            round_trip_us: 1840,
            version: "0.1.0".to_owned(),
        };
        said.entry(replica.clone()).or_default().connections = connected.iter().map(connection).collect();
    }
    for (replica, probe) in probes {
        let (hop, message) = match probe.failed.as_deref().map(|failed| failed.split_once(": ")) {
            Some(parts) => parts.unwrap(),
            None => ("", ""),
        };
        said.entry(replica.clone()).or_default().probe = Some(Probe {
            at_ms: milliseconds(NOW - ago(&probe.ago)),
            passed: hop.is_empty(),
            hop: hop.to_owned(),
            message: message.to_owned(),
            latency_us: 4200,
        });
    }
    said.into_iter().map(|(replica, evidence)| (replica, Arc::new(evidence))).collect()
}

/// As the API server and the watches would.
fn carry_out(observed: &mut Observed, plan: &Plan) {
    for step in &plan.steps {
        let (Step::Create(kind, name, object) | Step::Update(kind, name, object)) = step else {
            panic!("{step:?}")
        };
        let (_, child) = Child::from_value(*kind, &stored(object)).unwrap();
        observed.children.insert((*kind, name.clone()), Arc::new(child));
    }
}

fn steps(plan: &Plan) -> Value {
    let steps = plan.steps.iter().map(|step| match step {
        Step::Create(kind, name, object) => json!({ format!("Create {} {name}", kind.as_str()): object }),
        Step::Update(kind, name, object) => json!({ format!("Update {} {name}", kind.as_str()): object }),
        Step::Relabel(kind, name, object) => json!({ format!("Relabel {} {name}", kind.as_str()): object }),
        Step::Amend(kind, name, object) => json!({ format!("Amend {} {name}", kind.as_str()): object }),
        Step::Delete(kind, name) => json!(format!("Delete {} {name}", kind.as_str())),
    });
    steps.collect()
}

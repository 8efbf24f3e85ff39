//! Golden plans: each `testdata/*.in.yaml` goes through the real validate, plan and status; what came out stands beside
//! it. Keys and certificates are shown by what they say. A new case is a new file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_api::{Gateway, Tunnel};
use portcullis_pki::{AuthorityProfile, NameConstraints, RandomMint, issue_authority};
use serde::Deserialize;
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::apply::{Applied, Failure};
use super::observe::Observed;
use super::plan::{Plan, Step, plan};
use super::status::{Outcome, status};
use super::validate::validate;
use crate::control::Session;
use crate::control::surroundings::{Keys, Surroundings};
use crate::moment;
use crate::settings::Settings;
use crate::tunnel::claims::Claims;
use crate::world::{Answer, Child, Content, Key, Kind, Namespaces, Pod, Purpose, Requests, Roots};

pub(crate) mod company;
mod shown;

pub(crate) use shown::shown;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// A case: a Gateway, and what there is around it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    gateway: Gateway,
    /// Ports of the Services in its namespace.
    #[serde(default)]
    services: BTreeMap<String, Vec<i32>>,
    /// Was planned and carried out so long ago. Without it: never.
    carried_out: Option<String>,
    /// As it was then, where it was another.
    formerly: Option<Gateway>,
    /// What happened to the authority's Secret since: `Deleted`, `Truncated`, `Foreign` or `KeyMismatch`.
    authority: Option<String>,
    /// The operator was restarted since and remembers nothing.
    #[serde(default)]
    restarted: bool,
    /// Pods: `Ready`, `Leaving`, or why they fail.
    #[serde(default)]
    pods: BTreeMap<String, String>,
    /// What pods said: `Current`, `Behind`, `OldCertificate`, or why they refuse.
    #[serde(default)]
    replicas: BTreeMap<String, String>,
    /// What pods said of issuers (`oidc`, `edge`): `Keys`, `Fetching`, why there are none, or after `LastGoodKeys: `
    /// why they are not new.
    #[serde(default)]
    issuers: BTreeMap<String, BTreeMap<String, String>>,
    /// What pods said of drivers (`compute`, `credentials`): `Connected`, or why they are not.
    #[serde(default)]
    drivers: BTreeMap<String, BTreeMap<String, String>>,
    /// Children that are somebody else's.
    #[serde(default)]
    conflicts: Vec<String>,
    /// What the Secret of its `pki.ca.secretRef` holds: `Good`, `Next`, `WithoutRoot`; without it, there is none.
    brought: Option<String>,
    /// What it held when that was carried out, where it was something else.
    formerly_brought: Option<String>,
    /// What cert-manager says of the CertificateRequest: `Issued`, `NoAuthority`, `Denied`, `Failed`, `Waits`, `Silent`; or
    /// why there is none: `Uninstalled`, `Forbidden`.
    asked: Option<String>,
    /// It has issued one before.
    #[serde(default)]
    formerly_issued: bool,
    /// Keys under which ConfigMaps of that name have the roots of another company.
    #[serde(default)]
    roots: BTreeMap<String, String>,
    /// The Secret with the certificate for public names, and the name in it.
    #[serde(default)]
    public: BTreeMap<String, String>,
    /// Tunnels that name it.
    #[serde(default)]
    tunnels: Vec<Tunnel>,
}

pub(crate) fn settings() -> Settings {
    Settings {
        gateway_image: "example.com/portcullis-gateway:1".to_owned(),
        connector_image: Some("example.com/portcullis:1".to_owned()),
        control_endpoint: "https://portcullis-operator.portcullis-system.svc:9443".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        traces: None,
    }
}

#[test]
fn plans_and_statuses_are_as_recorded() {
    insta::glob!("testdata/*.in.yaml", |path| {
        let case: Case = serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        insta::assert_snapshot!(shown(&run(case)));
    });
}

fn run(case: Case) -> Value {
    let mut gateway = case.gateway;
    let services = case.services.into_iter().map(|(name, ports)| (name, Some(ports))).collect();
    let mut observed = surroundings(services);
    let tunnels: Vec<_> = case.tunnels.into_iter().map(Arc::new).collect();
    observed.claims =
        Some(Arc::new(Claims::of(&Key::of(&gateway), Some(&gateway), &tunnels, &Namespaces::default())));
    observed.requests = match case.asked.as_deref() {
        Some("Uninstalled") => Requests::Missing,
        Some("Forbidden") => {
            Requests::Forbidden("certificaterequests.cert-manager.io is forbidden".to_owned())
        }
        _ => Requests::There,
    };
    let company = company::Company::new("Example");
    let others = company::Company::new("Other");
    let roots =
        |(name, key): (&String, &String)| ((Purpose::Roots, name.clone()), Arc::new(others.roots(key)));
    observed.referred.extend(case.roots.iter().map(roots));
    let public = |(secret, name): (&String, &String)| {
        ((Purpose::Certificate, secret.clone()), Arc::new(others.public(name)))
    };
    observed.referred.extend(case.public.iter().map(public));
    let holds = |gateway: &Gateway, what: Option<&String>| {
        let named = gateway.spec.pki.ca.secret_ref.as_ref()?;
        let referred = match what?.as_str() {
            "Good" => company.referred(&company.issuing(1)),
            "Next" => company.referred(&company.issuing(2)),
            "WithoutRoot" => company.issuing(2).alone(),
            other => panic!("brought: {other}"),
        };
        Some(((Purpose::Authority, named.name.clone()), Arc::new(referred)))
    };
    if let Some(ago) = &case.carried_out {
        let former = case.formerly.as_ref().unwrap_or(&gateway);
        observed.referred.extend(holds(former, case.formerly_brought.as_ref().or(case.brought.as_ref())));
        let ago: kube::core::Duration = ago.parse().unwrap();
        let then = NOW - Duration::try_from(std::time::Duration::from(ago)).unwrap();
        let former = case.formerly.unwrap_or_else(|| gateway.clone());
        let (mut former, mut applied) = carry_out(&former, &mut observed, then);
        if case.formerly_issued {
            answer(&mut observed, &company, "Issued", then);
            (former, applied) = carry_out(&former, &mut observed, then);
        }
        gateway.status = former.status;
        if let Some(asked) = &case.asked {
            (former, applied) = carry_out(&gateway, &mut observed, then);
            gateway.status = former.status;
            answer(&mut observed, &company, asked, then);
        }
        for (pod, said) in &case.replicas {
            observed.sessions.insert(pod.clone(), session(said, &applied.plan));
        }
        for (pod, session) in &mut observed.sessions {
            session.surroundings = surroundings_said(case.issuers.get(pod), case.drivers.get(pod));
        }
    }
    if case.carried_out.is_none() || case.formerly_brought.is_some() {
        observed.referred.extend(holds(&gateway, case.brought.as_ref()));
    }
    spoil(&mut observed, &gateway, case.authority.as_deref(), case.restarted);
    for (pod, state) in case.pods {
        let failure = Some(state.clone()).filter(|state| state != "Ready" && state != "Leaving");
        let created = moment::timestamp(NOW - Duration::minutes(20));
        observed.pods.insert(
            pod,
            Arc::new(Pod {
                ready: state == "Ready",
                leaving: state == "Leaving",
                failure,
                created,
                ..Pod::default()
            }),
        );
    }
    let outcome = decide(&gateway, &observed, &case.conflicts);
    let status = status(&gateway, &observed, &outcome, moment::timestamp(NOW).unwrap());
    json!({
        "notes": notes(&outcome),
        "steps": steps(&outcome),
        "snapshot": snapshot(&outcome),
        "status": status,
    })
}

pub(super) fn surroundings(services: BTreeMap<String, Option<Vec<i32>>>) -> Observed {
    let profile = AuthorityProfile {
        common_name: "control".to_owned(),
        lifetime: Duration::days(3650),
        name_constraints: NameConstraints::default(),
        key: portcullis_pki::KeyAlgorithm::P256,
    };
    let control = issue_authority(&profile, 1, NOW - Duration::days(300), &RandomMint).unwrap();
    Observed { services, control_authority: Some(Arc::new(control)), ..Observed::default() }
}

/// As cert-manager would.
fn answer(observed: &mut Observed, company: &company::Company, how: &str, then: OffsetDateTime) {
    let Some(Content::Pending(Some(pending))) =
        observed.children.get(&(Kind::Secret, "door-request".to_owned())).map(|child| &child.content)
    else {
        return;
    };
    let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({ "conditions": [{ "type": kind, "status": status, "reason": reason, "message": message }] });
    let issued = |authority| company.answers(&pending.request_pem, Duration::days(365), authority, then);
    let status = match how {
        "Issued" => issued(true),
        "NoAuthority" => issued(false),
        "Denied" => condition("Denied", "True", "policy.cert-manager.io", "No policy approved this request"),
        "Failed" => condition("Ready", "False", "Failed", "Error signing certificate"),
        "Waits" => condition("Ready", "False", "Pending", "Referenced \"Issuer\" not found"),
        "Silent" => Value::Null,
        other => panic!("asked: {other}"),
    };
    let slot = (Kind::CertificateRequest, pending.asked.name.clone());
    let former = observed.children.remove(&slot).unwrap();
    let former = Arc::into_inner(former).unwrap();
    observed.children.insert(
        slot,
        Arc::new(Child { content: Content::Answer(Answer::of(&json!({ "status": status }))), ..former }),
    );
}

/// As the API server and the watches would: what was planned at `then` is there afterwards, and the status says so.
pub(super) fn carry_out(
    gateway: &Gateway,
    observed: &mut Observed,
    then: OffsetDateTime,
) -> (Gateway, Applied) {
    let accepted = validate(gateway, observed, &settings()).unwrap();
    let plan = plan(&accepted, observed, &settings(), gateway.status.as_ref(), then, &RandomMint).unwrap();
    for step in &plan.steps {
        match step {
            Step::Create(kind, name, object) | Step::Update(kind, name, object) => {
                let (_, child) = Child::from_value(*kind, &stored(object)).unwrap();
                if let Content::Authority(Ok(authority)) = &child.content {
                    observed.remembered_authority = Some(authority.clone());
                }
                observed.children.insert((*kind, name.clone()), Arc::new(child));
            }
            // What was applied at one go is never amended.
            Step::Relabel(..) | Step::Amend(..) => {}
            Step::Delete(kind, name) => {
                observed.children.remove(&(*kind, name.clone()));
            }
        }
    }
    let applied = Applied { plan, failures: Vec::new(), unwritten: BTreeSet::new(), again: false };
    let outcome = Outcome::Applied(Box::new(accepted), Box::new(applied));
    let status = status(gateway, observed, &outcome, moment::timestamp(then).unwrap());
    let Outcome::Applied(_, applied) = outcome else { unreachable!() };
    (Gateway { status: Some(status), ..gateway.clone() }, *applied)
}

/// An applied object as the API server keeps it.
pub(crate) fn stored(object: &Value) -> Value {
    let mut stored = object.clone();
    let mut fields = owned_fields(object);
    for name in ["f:apiVersion", "f:kind"] {
        fields.as_object_mut().unwrap().remove(name);
    }
    for name in ["f:name", "f:namespace"] {
        fields["f:metadata"].as_object_mut().unwrap().remove(name);
    }
    stored["metadata"]["uid"] = json!("5eed");
    stored["metadata"]["resourceVersion"] = json!("7");
    stored["metadata"]["managedFields"] =
        json!([{ "manager": "portcullis", "operation": "Apply", "fieldsV1": fields }]);
    stored
}

fn owned_fields(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (format!("f:{key}"), owned_fields(value))).collect()
        }
        _ => json!({}),
    }
}

fn session(said: &str, plan: &Plan) -> Session {
    let published = plan.snapshot.clone().unwrap();
    let (version, fingerprint) = (published.version, published.server_fingerprint);
    match said {
        "Current" => Session { acknowledged: Some((version, fingerprint)), ..Session::default() },
        "Behind" => Session { acknowledged: Some(("0".repeat(16), fingerprint)), ..Session::default() },
        "OldCertificate" => Session { acknowledged: Some((version, "0".repeat(64))), ..Session::default() },
        why => Session { rejected: Some((version, why.to_owned())), ..Session::default() },
    }
}

fn surroundings_said(
    issuers: Option<&BTreeMap<String, String>>,
    drivers: Option<&BTreeMap<String, String>>,
) -> Option<Surroundings> {
    let keys = |said: &String| match said.as_str() {
        "Keys" => Keys { there: true, trouble: String::new() },
        "Fetching" => Keys::default(),
        said => match said.strip_prefix("LastGoodKeys: ") {
            Some(trouble) => Keys { there: true, trouble: trouble.to_owned() },
            None => Keys { there: false, trouble: said.to_owned() },
        },
    };
    let trouble = |said: &String| if said == "Connected" { String::new() } else { said.clone() };
    (issuers.is_some() || drivers.is_some()).then(|| Surroundings {
        issuers: issuers.into_iter().flatten().map(|(kind, said)| (kind.clone(), keys(said))).collect(),
        drivers: drivers.into_iter().flatten().map(|(kind, said)| (kind.clone(), trouble(said))).collect(),
    })
}

fn spoil(observed: &mut Observed, gateway: &Gateway, how: Option<&str>, restarted: bool) {
    if restarted {
        observed.remembered_authority = None;
    }
    let name = format!("{}-ca", gateway.metadata.name.clone().unwrap());
    let slot = (Kind::Secret, name.clone());
    let Some(how) = how else { return };
    let Some(Content::Authority(Ok(authority))) = observed.children.remove(&slot).map(|child| {
        Arc::try_unwrap(child).map_or_else(|child| Content::Authority(clone(&child)), |child| child.content)
    }) else {
        panic!("there is no authority to spoil")
    };
    let authority = authority.signing.clone();
    let other = {
        let profile = AuthorityProfile {
            common_name: "other".to_owned(),
            lifetime: Duration::days(3650),
            name_constraints: NameConstraints::default(),
            key: portcullis_pki::KeyAlgorithm::P256,
        };
        issue_authority(&profile, 1, NOW, &RandomMint).unwrap()
    };
    let (certificate, key) = match how {
        "Deleted" => return,
        "Truncated" => (authority.certificate_pem[..200].to_owned(), authority.key.expose().to_owned()),
        "Foreign" => (other.certificate_pem.clone(), other.key.expose().to_owned()),
        "KeyMismatch" => (authority.certificate_pem.clone(), other.key.expose().to_owned()),
        _ => panic!("authority: {how}"),
    };
    let read = portcullis_pki::read_authority(1, &certificate, &key);
    let content = Content::Authority(read.map(|authority| Arc::new(Roots::first(authority, Vec::new()))));
    let child = Child {
        kind: Kind::Secret,
        name,
        uid: "5eed".to_owned(),
        version: 8,
        owner: gateway.metadata.uid.clone(),
        digest: [0; 16],
        content,
    };
    observed.children.insert(slot, Arc::new(child));
}

fn clone(child: &Child) -> Result<Arc<Roots>, portcullis_pki::Unusable> {
    match &child.content {
        Content::Authority(authority) => authority.clone(),
        _ => panic!("no authority"),
    }
}

fn decide(gateway: &Gateway, observed: &Observed, conflicts: &[String]) -> Outcome {
    if gateway.spec.suspend {
        return Outcome::Suspended;
    }
    let accepted = match validate(gateway, observed, &settings()) {
        Ok(accepted) => accepted,
        Err(rejected) => return Outcome::Rejected(rejected),
    };
    let plan = plan(&accepted, observed, &settings(), gateway.status.as_ref(), NOW, &RandomMint).unwrap();
    let failure = |message: &String| Failure {
        reason: portcullis_api::condition::Reason::NameConflict,
        message: message.clone(),
    };
    let failures = conflicts.iter().map(failure).collect();
    Outcome::Applied(
        Box::new(accepted),
        Box::new(Applied { plan, failures, unwritten: BTreeSet::new(), again: false }),
    )
}

fn notes(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Applied(_, applied) => json!(applied.plan.certificates.notes),
        _ => json!([]),
    }
}

fn steps(outcome: &Outcome) -> Value {
    let Outcome::Applied(_, applied) = outcome else { return json!([]) };
    let steps = applied.plan.steps.iter().map(|step| match step {
        Step::Create(kind, name, object) => json!({ format!("Create {} {name}", kind.as_str()): object }),
        Step::Update(kind, name, object) => json!({ format!("Update {} {name}", kind.as_str()): object }),
        Step::Relabel(kind, name, object) => json!({ format!("Relabel {} {name}", kind.as_str()): object }),
        Step::Amend(kind, name, object) => json!({ format!("Amend {} {name}", kind.as_str()): object }),
        Step::Delete(kind, name) => json!(format!("Delete {} {name}", kind.as_str())),
    });
    steps.collect()
}

fn snapshot(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Applied(_, applied) => applied
            .plan
            .snapshot
            .as_ref()
            .map_or(Value::Null, |published| serde_json::from_str(&published.json).unwrap()),
        _ => Value::Null,
    }
}

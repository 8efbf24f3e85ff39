//! What is proved of a Tunnel: registered, connected, reachable are three facts, each with its evidence; evidence that has
//! aged becomes Unknown. Pure.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use portcullis_api::condition::{ConditionType, Reason};
use portcullis_api::{Connection, ProbeStatus, Tunnel, TunnelStatus};
use portcullis_contract::control::{self, Probe};
use portcullis_contract::snapshot::{self, TunnelProtocol};

use super::observe::Observed;
use super::took;
use crate::children::apply::Failure;
use crate::gateway::status::stalled::stalled;
use crate::gateway::status::{Verdict, condition};
use crate::gateway::validate::Rejected;
use crate::names;

/// How long a probe that passed is proof.
pub const PROOF: i64 = 120;
/// How often the time of the last probe is written anew where nothing else has changed, in seconds.
const REFRESH: i64 = 300;

/// What became of a visit: of the connector in this cluster, where there is to be one.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Why it cannot be run as it is written.
    pub trouble: Option<Rejected>,
    /// What could not be done.
    pub failures: Vec<Failure>,
}

/// The status that a Tunnel should have after a visit.
pub fn status(tunnel: &Tunnel, observed: &Observed, outcome: &Outcome, now: Timestamp) -> TunnelStatus {
    let previous = tunnel.status.clone().unwrap_or_default();
    let generation = tunnel.metadata.generation;
    let probe = newest(observed, now);
    let verdicts = verdicts(tunnel, &previous, observed, outcome, probe.as_ref(), now);
    let accepted = observed.verdict.as_ref().and_then(|verdict| verdict.as_ref().ok());
    let connections = connections(&previous, observed);
    let conditions = ConditionType::TUNNEL.into_iter().map(|kind| {
        let before = previous.conditions.iter().find(|condition| condition.type_ == kind.as_str());
        let verdict = verdicts.iter().find(|verdict| verdict.kind == kind);
        condition(kind, verdict, before, generation, now)
    });
    let mut conditions: Vec<_> = conditions.collect();
    conditions.extend(stalled(&conditions, &previous.conditions, generation, now));
    TunnelStatus {
        observed_generation: generation,
        conditions,
        url: accepted.and_then(|it| url(it, observed)),
        hostnames: accepted.map(|it| it.hostnames.clone()).unwrap_or_default(),
        connected: i32::try_from(connections.len()).unwrap_or(i32::MAX),
        connections,
        time_to_first_byte: previous
            .time_to_first_byte
            .clone()
            .or_else(|| first_byte(tunnel, probe.as_ref())),
        last_probe: last_probe(&previous, probe),
    }
}

/// The newest probe of an attached replica, with its pod. One that claims to come from the future has happened now.
fn newest(observed: &Observed, now: Timestamp) -> Option<(String, Probe)> {
    let probes = observed.evidence.iter().filter_map(|(pod, evidence)| Some((pod, evidence.probe.clone()?)));
    let (pod, probe) = probes.max_by_key(|(_, probe)| probe.at_ms)?;
    Some((pod.clone(), Probe { at_ms: probe.at_ms.min(now.as_millisecond()), ..probe }))
}

fn verdicts(
    tunnel: &Tunnel,
    previous: &TunnelStatus,
    observed: &Observed,
    outcome: &Outcome,
    probe: Option<&(String, Probe)>,
    now: Timestamp,
) -> Vec<Verdict> {
    // What it said while it held, of this generation.
    let held = |kind: ConditionType| {
        let mut conditions = previous.conditions.iter();
        let holds = conditions.find(|it| it.type_ == kind.as_str() && it.status == "True")?;
        (holds.observed_generation == tunnel.metadata.generation).then(|| holds.message.clone())
    };
    let accepted = match &observed.verdict {
        None => return Vec::new(),
        Some(Err(rejected)) => {
            let no = |kind| Verdict::no(kind, rejected.reason, rejected.message.clone());
            return ConditionType::TUNNEL.into_iter().map(no).collect();
        }
        Some(Ok(accepted)) => accepted,
    };
    let mut verdicts = vec![accepted_verdict(accepted, outcome)];
    // A new leader has heard nothing yet: what was said of this generation stays until replicas had time to speak.
    let mut said = previous.conditions.iter().filter(|it| it.type_ == ConditionType::Connected.as_str());
    let was_said = said.any(|it| it.observed_generation == tunnel.metadata.generation);
    if observed.settling && observed.evidence.is_empty() && was_said && verdicts[0].holds == Some(true) {
        return verdicts;
    }
    verdicts.push(programmed(accepted, observed, held(ConditionType::Programmed)));
    verdicts.push(connected(tunnel, accepted, observed, outcome, held(ConditionType::Connected)));
    verdicts.push(reachable(accepted, observed, probe, now, held(ConditionType::Reachable)));
    verdicts.push(ready(accepted, &verdicts));
    verdicts
}

/// The names are the Tunnel's, whatever becomes of its connector.
fn accepted_verdict(accepted: &snapshot::Tunnel, outcome: &Outcome) -> Verdict {
    let kind = ConditionType::Accepted;
    if let Some(trouble) = &outcome.trouble {
        return Verdict::no(kind, trouble.reason, trouble.message.clone());
    }
    let refused = [Reason::NameConflict, Reason::Forbidden];
    let failures: Vec<_> = outcome.failures.iter().filter(|it| refused.contains(&it.reason)).collect();
    let messages: Vec<_> = failures.iter().map(|failure| failure.message.as_str()).collect();
    match failures.first() {
        Some(failure) => Verdict::no(kind, failure.reason, messages.join("; ")),
        None => Verdict::yes(kind, Reason::Accepted, format!("It holds {}", holdings(accepted))),
    }
}

fn holdings(accepted: &snapshot::Tunnel) -> String {
    match accepted.port {
        Some(port) => format!("port {port}"),
        None => accepted.hostnames.join(", "),
    }
}

/// `held`: it held before, of this generation. What other Tunnels make replicas take over is no reason to doubt it.
fn programmed(accepted: &snapshot::Tunnel, observed: &Observed, held: Option<String>) -> Verdict {
    let kind = ConditionType::Programmed;
    let no = |message: &str| Verdict::no(kind, Reason::GatewayNotProgrammed, message);
    if observed.published.as_ref() != Some(accepted) {
        return match held.filter(|_| observed.settling && observed.published.is_none()) {
            Some(message) => Verdict::yes(kind, Reason::Programmed, message),
            None => {
                no("The Gateway's replicas have not been told of it yet: look at the Gateway's conditions")
            }
        };
    }
    if observed.replicas.is_empty() {
        return no("The Gateway has no ready replica: look at its condition Ready");
    }
    let behind: Vec<_> = observed
        .replicas
        .iter()
        .filter(|(_, acknowledged)| !acknowledged)
        .map(|(pod, _)| pod.as_str())
        .collect();
    if behind.is_empty() || held.is_some() {
        return Verdict::yes(kind, Reason::Programmed, "Every ready replica of the Gateway serves it");
    }
    no(&format!("Waiting for {} of the Gateway's replicas: {}", behind.len(), behind.join(", ")))
}

fn connected(
    tunnel: &Tunnel,
    accepted: &snapshot::Tunnel,
    observed: &Observed,
    outcome: &Outcome,
    held: Option<String>,
) -> Verdict {
    let kind = ConditionType::Connected;
    let count: usize = observed.evidence.iter().map(|(_, evidence)| evidence.connections.len()).sum();
    if count > 0 {
        let replicas =
            observed.evidence.iter().filter(|(_, evidence)| !evidence.connections.is_empty()).count();
        let text = format!("{count} connections of connectors, at {replicas} replicas");
        return Verdict::yes(kind, Reason::Connected, text);
    }
    if observed.settling {
        return match held {
            Some(message) => Verdict::yes(kind, Reason::Connected, message),
            None => Verdict::unknown(kind, "The Gateway's replicas have not said yet"),
        };
    }
    if let Some(spec) = &tunnel.spec.connector {
        return ours(spec, accepted, observed, outcome);
    }
    let (namespace, name) = (&accepted.namespace, &accepted.name);
    Verdict::no(
        kind,
        Reason::NoConnector,
        format!(
            "No connector is connected: run `portcullis connector {namespace}/{name} --endpoint {}` next to the service, with a bundle of the Gateway",
            accepted.endpoint
        ),
    )
}

/// Why a connector of ours in this cluster is not connected.
fn ours(
    spec: &portcullis_api::Connector,
    accepted: &snapshot::Tunnel,
    observed: &Observed,
    outcome: &Outcome,
) -> Verdict {
    let no = |reason, message: String| Verdict::no(ConditionType::Connected, reason, message);
    let deployment = format!("{}/{}", accepted.namespace, names::connector(&accepted.name));
    if let Some(failure) = outcome.failures.first() {
        return no(failure.reason, failure.message.clone());
    }
    if observed.authority.is_none() {
        return no(
            Reason::NoConnector,
            "The connector waits for a certificate of the Gateway's authority: look at the Gateway's condition CertificatesReady".to_owned(),
        );
    }
    if let Some(failing) = observed.failing(&accepted.name) {
        return no(Reason::PodFailing, format!("Deployment {deployment}: {}", failing.words));
    }
    if spec.replicas == 0 {
        let message = "spec.connector.replicas is 0: no connector runs in this cluster";
        return no(Reason::NoConnector, message.to_owned());
    }
    no(
        Reason::NoConnector,
        format!("No pod of Deployment {deployment} is connected yet: where that lasts, its log says why"),
    )
}

fn reachable(
    accepted: &snapshot::Tunnel,
    observed: &Observed,
    probe: Option<&(String, Probe)>,
    now: Timestamp,
    held: Option<String>,
) -> Verdict {
    let kind = ConditionType::Reachable;
    if !accepted.enabled {
        return Verdict {
            reason: Reason::Disabled,
            ..Verdict::unknown(kind, "It is switched off, and not probed")
        };
    }
    let Some((pod, probe)) = probe else {
        return match held.filter(|_| observed.settling) {
            Some(message) => Verdict::yes(kind, Reason::Reachable, message),
            None => Verdict::unknown(
                kind,
                "No probe has come to an end yet: probes begin when a connector is connected",
            ),
        };
    };
    if age(probe, now) > PROOF {
        let found = if probe.passed { "passed" } else { "failed" };
        let text = format!("The last probe, by {pod}, {found}, and is more than {PROOF} s old");
        return Verdict { reason: Reason::ProbeExpired, ..Verdict::unknown(kind, text) };
    }
    if !probe.passed {
        return Verdict::no(
            kind,
            Reason::ProbeFailed,
            format!("at the {}: {}", hop(&probe.hop), probe.message),
        );
    }
    // A probe comes to one replica; visitors come to any.
    let carries = |pod: &str| observed.evidence.iter().any(|(of, evidence)| of == pod && evidence.carried);
    let lost: Vec<_> =
        observed.replicas.iter().map(|(pod, _)| pod.as_str()).filter(|pod| !carries(pod)).collect();
    let may_be_silent = held.is_some() && observed.settling;
    if !lost.is_empty() && !may_be_silent {
        return Verdict::no(
            kind,
            Reason::ProbeFailed,
            format!(
                "at the hop between replicas: {} has neither a connector nor a connection to a replica that has one: if it stays, look at port {} between the Gateway's pods",
                lost.join(", "),
                portcullis_contract::files::PEER_PORT,
            ),
        );
    }
    let found = match accepted.protocol {
        TunnelProtocol::Http => "The endpoint answers through the public name",
        TunnelProtocol::Tls => "The endpoint accepts connections for the public name",
        TunnelProtocol::Tcp => "The endpoint accepts connections for the port",
    };
    Verdict::yes(kind, Reason::Reachable, found)
}

fn hop(name: &str) -> &str {
    match name {
        "dns" => "DNS hop",
        "tls" => "TLS hop",
        "gateway" => "gateway",
        "peer" => "hop between replicas",
        "connector" => "connector",
        _ => "endpoint",
    }
}

fn age(probe: &Probe, now: Timestamp) -> i64 {
    (now.as_millisecond() - probe.at_ms) / 1000
}

fn ready(accepted: &snapshot::Tunnel, verdicts: &[Verdict]) -> Verdict {
    let kind = ConditionType::Ready;
    let cause = verdicts.iter().find(|verdict| verdict.holds != Some(true));
    // That it is off is told once the replicas know: until then they answer as before.
    let is_known =
        cause.is_none_or(|cause| !matches!(cause.kind, ConditionType::Accepted | ConditionType::Programmed));
    if !accepted.enabled && is_known {
        return Verdict::no(
            kind,
            Reason::Disabled,
            "spec.enabled is false: visitors are told that it is switched off",
        );
    }
    match cause {
        Some(cause) => Verdict::no(kind, cause.reason, cause.message.clone()),
        None => Verdict::yes(kind, Reason::Ready, "Visitors are answered"),
    }
}

fn url(accepted: &snapshot::Tunnel, observed: &Observed) -> Option<String> {
    let door = observed.door.as_ref()?;
    if let Some(port) = accepted.port {
        return Some(format!("tcp://{}:{port}", door.domain));
    }
    let name = accepted.hostnames.first()?;
    let scheme = if accepted.protocol == TunnelProtocol::Tls { "tls" } else { "https" };
    // In front of a gateway without TLS stands a proxy that has it.
    let is_plain = door.port == 443 || !door.tls;
    Some(if is_plain { format!("{scheme}://{name}") } else { format!("{scheme}://{name}:{}", door.port) })
}

fn connections(previous: &TunnelStatus, observed: &Observed) -> Vec<Connection> {
    let mut connections: Vec<Connection> = Vec::new();
    for (pod, evidence) in &observed.evidence {
        connections.extend(evidence.connections.iter().map(|it| Connection {
            round_trip: took::steady(round_trip(previous, pod, it), it.round_trip_us),
            connector: it.connector.clone(),
            replica: pod.clone(),
            identity: it.identity.clone(),
            certificate_fingerprint: Some(it.certificate_fingerprint.clone()).filter(|text| !text.is_empty()),
            remote_address: it.remote_address.clone(),
            transport: it.transport.clone(),
            since: text(it.since_ms),
            version: it.version.clone(),
        }));
    }
    if connections.is_empty() && observed.settling {
        return previous.connections.clone();
    }
    connections.sort();
    connections.truncate(32);
    connections
}

/// What was shown of a connection before.
fn round_trip<'a>(previous: &'a TunnelStatus, pod: &str, now: &control::Connection) -> Option<&'a str> {
    let since = text(now.since_ms);
    let is_it = |it: &&Connection| it.connector == now.connector && it.replica == pod && it.since == since;
    previous.connections.iter().find(is_it)?.round_trip.as_deref()
}

/// The time of a probe that found the same is written anew every few minutes only.
fn last_probe(previous: &TunnelStatus, probe: Option<(String, Probe)>) -> Option<ProbeStatus> {
    let Some((replica, probe)) = probe else { return previous.last_probe.clone() };
    let nonempty = |text: String| Some(text).filter(|text| !text.is_empty());
    let found = ProbeStatus {
        time: text(probe.at_ms),
        passed: probe.passed,
        latency: took::text(probe.latency_us),
        hop: nonempty(probe.hop),
        message: nonempty(probe.message),
        replica,
    };
    match &previous.last_probe {
        Some(before) if is_like(before, &found) && !is_due(before, probe.at_ms) => Some(before.clone()),
        _ => Some(found),
    }
}

fn is_like(before: &ProbeStatus, found: &ProbeStatus) -> bool {
    (before.passed, &before.hop, &before.message) == (found.passed, &found.hop, &found.message)
}

fn is_due(before: &ProbeStatus, at_ms: i64) -> bool {
    before.time.parse::<Timestamp>().map_or(true, |time| at_ms - time.as_millisecond() >= REFRESH * 1000)
}

fn first_byte(tunnel: &Tunnel, probe: Option<&(String, Probe)>) -> Option<String> {
    let (_, probe) = probe.filter(|(_, probe)| probe.passed)?;
    let created = tunnel.creation_timestamp()?.0.as_millisecond();
    let ended = probe.at_ms + i64::from(probe.latency_us / 1000);
    let took = u64::try_from(ended - created).unwrap_or(0);
    // The API server's own times have whole seconds.
    Some(format!("{}.{}s", took / 1000, took % 1000 / 100))
}

fn text(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string()
}

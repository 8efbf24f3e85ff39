//! What is proved about a Gateway, computed on every outcome. Pure; a condition's time moves only when its status does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use portcullis_api::condition::{ConditionType, Reason};
use portcullis_api::{
    AuthorityStatus, BroughtStatus, CertificateStatus, ClientStatus, Gateway, GatewayStatus,
    GenerationStatus, RevocationStatus, RotationPhase, TunnelCount,
};
use portcullis_pki::LeafFacts;

use super::apply::Applied;
use super::observe::Observed;
use super::plan::renewals::renewed;
use super::plan::revocations::is_still_valid;
use super::plan::rotation;
use super::validate::{Accepted, Rejected, Tunnels};
use crate::control::seen as sights;
use crate::moment;
use crate::names;
use crate::world::Kind;

pub mod replicas;
mod rollout;
pub mod seen;
pub mod stalled;
mod surroundings;
mod warning;

use replicas::Replicas;

/// Clients that are named of those that were not seen yet.
const UNSEEN: usize = 32;

/// What became of a visit.
#[derive(Debug)]
pub enum Outcome {
    /// The spec asks to leave everything as it is.
    Suspended,
    /// The spec makes no sense.
    Rejected(Rejected),
    /// No plan could be made.
    Unplanned(String),
    /// The plan was carried out, as far as it went.
    Applied(Box<Accepted>, Box<Applied>),
}

/// A condition to be.
pub struct Verdict {
    /// Which.
    pub kind: ConditionType,
    /// None: there is no evidence yet.
    pub holds: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// What it means and what to do.
    pub message: String,
}

impl Verdict {
    /// It holds.
    pub fn yes(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, holds: Some(true), reason, message: message.into() }
    }

    /// It does not.
    pub fn no(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, holds: Some(false), reason, message: message.into() }
    }

    /// There is no evidence yet.
    pub fn unknown(kind: ConditionType, message: impl Into<String>) -> Self {
        Self { kind, holds: None, reason: Reason::Pending, message: message.into() }
    }

    /// As a condition has it.
    fn status(&self) -> &'static str {
        match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// The status that a Gateway should have after a visit.
pub fn status(gateway: &Gateway, observed: &Observed, outcome: &Outcome, now: Timestamp) -> GatewayStatus {
    let previous = gateway.status.clone().unwrap_or_default();
    let generation = gateway.metadata.generation;
    let (mut status, verdicts) = match outcome {
        Outcome::Suspended => (previous.clone(), suspended()),
        Outcome::Rejected(rejected) => {
            (previous.clone(), failed(ConditionType::Accepted, rejected.reason, &rejected.message))
        }
        Outcome::Unplanned(why) => {
            (previous.clone(), failed(ConditionType::CertificatesReady, Reason::IssuingFailed, why))
        }
        Outcome::Applied(accepted, applied) => {
            carried_out(&previous, generation, observed, accepted, applied, now)
        }
    };
    status.observed_generation = generation;
    status.conditions = ConditionType::ALL
        .into_iter()
        .filter_map(|kind| {
            let before = previous.conditions.iter().find(|condition| condition.type_ == kind.as_str());
            let verdict = verdicts.iter().find(|verdict| verdict.kind == kind);
            let stays = before.is_some() && !matches!(outcome, Outcome::Applied(..));
            let applies = verdict.is_some() || stays || ConditionType::ALWAYS.contains(&kind);
            applies.then(|| condition(kind, verdict, before, generation, now))
        })
        .collect();
    let stalled = stalled::stalled(&status.conditions, &previous.conditions, generation, now);
    status.conditions.extend(stalled);
    status.endpoint = Some(endpoint(gateway, observed));
    status
}

/// A condition as it is written; without a verdict it stays as it was.
pub fn condition(
    kind: ConditionType,
    verdict: Option<&Verdict>,
    before: Option<&Condition>,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let (status, reason, message) = match (verdict, before) {
        (Some(verdict), _) => (verdict.status(), verdict.reason.as_str(), verdict.message.as_str()),
        (None, Some(before)) => (before.status.as_str(), before.reason.as_str(), before.message.as_str()),
        (None, None) => ("Unknown", Reason::Pending.as_str(), "Waiting for the operator"),
    };
    let unmoved = before.filter(|before| before.status == status && before.observed_generation.is_some());
    Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        // The API server takes 32 KiB; nobody reads more than this.
        message: message.chars().take(2000).collect(),
        // What nobody looked at holds for the generation that it was said of.
        observed_generation: match (verdict, before) {
            (None, Some(before)) => before.observed_generation,
            _ => generation,
        },
        last_transition_time: unmoved.map_or(Time(now), |before| before.last_transition_time.clone()),
    }
}

fn suspended() -> Vec<Verdict> {
    let message =
        "spec.suspend is true: nothing is created, changed, renewed or removed until it is off again";
    vec![Verdict::yes(ConditionType::Accepted, Reason::Suspended, message)]
}

/// One condition is false, and with it Ready; what is said of the others stays.
fn failed(kind: ConditionType, reason: Reason, message: &str) -> Vec<Verdict> {
    vec![Verdict::no(kind, reason, message), Verdict::no(ConditionType::Ready, reason, message)]
}

/// Whether a condition was well before, of this very generation.
fn was(previous: &GatewayStatus, generation: Option<i64>, kind: ConditionType) -> bool {
    let well = if kind.is_bad_when_true() { "False" } else { "True" };
    let held = previous.conditions.iter().any(|it| it.type_ == kind.as_str() && it.status == well);
    held && previous.observed_generation == generation
}

fn carried_out(
    previous: &GatewayStatus,
    generation: Option<i64>,
    observed: &Observed,
    accepted: &Accepted,
    applied: &Applied,
    now: Timestamp,
) -> (GatewayStatus, Vec<Verdict>) {
    let replicas = Replicas::count(observed, applied.plan.snapshot.as_ref());
    let was_well = |kind| observed.settling && was(previous, generation, kind);
    let was_programmed = was_well(ConditionType::Programmed);
    let status = GatewayStatus {
        replicas: accepted.replicas,
        ready_replicas: replicas.ready(),
        programmed_replicas: if was_programmed && replicas.are_silent() {
            previous.programmed_replicas.min(replicas.ready())
        } else {
            replicas.programmed()
        },
        ca: authority(previous, observed, accepted, applied, now),
        server_certificate: server(previous, accepted, applied),
        public_certificate: accepted.tunnels.as_ref().and_then(Tunnels::public).map(certificate),
        clients: clients(previous, observed, accepted, applied, now),
        revocations: revocations(applied, &replicas, now),
        tunnels: tunnels(observed, accepted, &replicas),
        ..GatewayStatus::default()
    };
    let mut verdicts = vec![
        accepted_verdict(accepted, applied),
        resolved(accepted, applied),
        certificates_verdict(applied),
        programmed(accepted, applied, &replicas, was_programmed),
    ];
    let discovered_before = was_well(ConditionType::OidcDiscovered);
    verdicts.extend(surroundings::discovered(accepted, &replicas, discovered_before));
    let drivers = surroundings::degraded(accepted, &replicas, was_well(ConditionType::Degraded));
    verdicts.extend(rollout::stuck(accepted, observed, &replicas, drivers.as_ref()).or(drivers));
    verdicts.extend(warning::warning(accepted, applied, now));
    let held = was(previous, generation, ConditionType::Ready);
    let ready = ready(accepted, observed, &verdicts, &replicas, held);
    verdicts.push(ready);
    (status, verdicts)
}

/// How many Tunnels are accepted, and how many have a connector.
fn tunnels(observed: &Observed, accepted: &Accepted, replicas: &Replicas<'_>) -> Option<TunnelCount> {
    accepted.tunnels.as_ref()?;
    let claims = observed.claims.as_ref()?;
    let connected = claims.accepted().filter(|tunnel| {
        let at = observed.connected.get(&tunnel.uid);
        at.is_some_and(|pods| pods.iter().any(|pod| replicas.is_ready(pod)))
    });
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    Some(TunnelCount { total: count(claims.accepted().count()), connected: count(connected.count()) })
}

/// The authority whose Secret is there; one that was planned and not written has signed nothing that counts.
fn authority(
    previous: &GatewayStatus,
    observed: &Observed,
    accepted: &Accepted,
    applied: &Applied,
    now: Timestamp,
) -> Option<AuthorityStatus> {
    let planned = applied.plan.certificates.roots.as_ref();
    let planned = planned.filter(|_| is_written(applied, names::authority_secret(&accepted.key.name)));
    let Some(roots) = planned else { return previous.ca.clone() };
    let moves = roots.course.phase != RotationPhase::Stable;
    let trust = (Kind::ConfigMap, names::trust_config_map(&accepted.key.name));
    let unwritten = applied.unwritten.iter().find(|slot| slot.0 == Kind::Secret || **slot == trust);
    let waiting_for = unwritten
        .map(|(kind, name)| format!("{} {name} could not be written", kind.as_str()))
        .or_else(|| rotation::stands_in_the_way(accepted, observed, roots, applied.plan.snapshot.as_ref()));
    let waiting_for = waiting_for.filter(|_| moves);
    let before = previous.ca.as_ref().filter(|before| before.waiting_for == waiting_for);
    let since = before.and_then(|before| before.waiting_since.clone());
    let (signing, other) = (&roots.signing.facts, roots.other.as_ref().map(|other| &other.facts));
    Some(AuthorityStatus {
        generation: signing.generation.into(),
        fingerprint: signing.fingerprint.clone(),
        not_after: moment::text(signing.not_after),
        phase: roots.course.phase,
        phase_since: roots.course.since.map(moment::text),
        other: other.map(|other| GenerationStatus {
            generation: other.generation.into(),
            fingerprint: other.fingerprint.clone(),
            not_after: moment::text(other.not_after),
        }),
        waiting_since: waiting_for.is_some().then(|| since.unwrap_or_else(|| moment::second(now))),
        waiting_for,
        phase_until: rotation::ends(roots, &accepted.rotation).map(moment::text),
        unseen: rotation::unused::unseen(roots, &accepted.rotation).take(UNSEEN).map(str::to_owned).collect(),
        done: roots.course.done.clone(),
        brought: roots.signing.above.is_some().then(|| BroughtStatus {
            subject: signing.subject.clone(),
            root_fingerprint: roots.signing.root_fingerprint(),
            issuer_ref: roots.issued_by().map(|by| by.issuer.clone()),
            request: roots.issued_by().map(|by| by.request.clone()),
        }),
    })
}

fn server(previous: &GatewayStatus, accepted: &Accepted, applied: &Applied) -> Option<CertificateStatus> {
    if is_written(applied, names::server_secret(&accepted.key.name)) {
        applied.plan.certificates.server.as_ref().map(certificate)
    } else {
        previous.server_certificate.clone()
    }
}

fn clients(
    previous: &GatewayStatus,
    observed: &Observed,
    accepted: &Accepted,
    applied: &Applied,
    now: Timestamp,
) -> Vec<ClientStatus> {
    let planned = &applied.plan.certificates.clients;
    let clients = accepted.clients.iter().filter_map(|caller| {
        let name = &caller.client.name;
        let before = previous.clients.iter().find(|client| client.name == *name);
        let written = planned.iter().find(|(of, ..)| of == name);
        let written = written.filter(|(_, secret, _)| is_written(applied, secret.clone()));
        let client = match written {
            Some((_, secret, facts)) => {
                let certificate = certificate(facts);
                let superseded = before.map(|before| superseded(before, &certificate, applied, now));
                ClientStatus {
                    name: name.clone(),
                    secret_name: secret.clone(),
                    certificate,
                    superseded: superseded.unwrap_or_default(),
                    ..ClientStatus::default()
                }
            }
            // What was handed out before opens the Gateway all the same.
            None => before?.clone(),
        };
        let mut renewed = renewed(before, name, &applied.plan.renewals, now);
        renewed.retain(|it| is_not_revoked(applied, it));
        let seen = seen::last_seen(before, sights::last(&observed.seen, name), now);
        Some(ClientStatus {
            renewed,
            last_seen: seen.at,
            last_seen_from: seen.from,
            last_seen_serial: seen.serial,
            ..client
        })
    });
    clients.collect()
}

fn is_not_revoked(applied: &Applied, certificate: &CertificateStatus) -> bool {
    applied.plan.revocations.iter().all(|revoked| revoked.serial != certificate.serial)
}

/// Earlier certificates of a client that still open the Gateway.
fn superseded(
    before: &ClientStatus,
    current: &CertificateStatus,
    applied: &Applied,
    now: Timestamp,
) -> Vec<CertificateStatus> {
    let earlier = std::iter::once(&before.certificate).chain(&before.superseded);
    let opens = |it: &&CertificateStatus| {
        it.serial != current.serial && is_still_valid(&it.not_after, now) && is_not_revoked(applied, it)
    };
    earlier.filter(opens).cloned().collect()
}

/// A replica says that it serves a configuration once nothing is open any more that this one revokes.
fn revocations(applied: &Applied, replicas: &Replicas<'_>, now: Timestamp) -> Vec<RevocationStatus> {
    let mut revocations = applied.plan.revocations.clone();
    if replicas.have_all_acknowledged() {
        for revocation in &mut revocations {
            revocation.enforced_at.get_or_insert_with(|| moment::second(now));
        }
    }
    revocations
}

fn is_written(applied: &Applied, secret: String) -> bool {
    !applied.unwritten.contains(&(Kind::Secret, secret))
}

/// A certificate as a status names it.
pub fn certificate(facts: &LeafFacts) -> CertificateStatus {
    CertificateStatus {
        serial: facts.serial.clone(),
        fingerprint: facts.fingerprint.clone(),
        not_after: moment::text(facts.not_after),
    }
}

fn failure(applied: &Applied, reasons: &[Reason]) -> Option<(Reason, String)> {
    let failures: Vec<_> =
        applied.failures.iter().filter(|failure| reasons.contains(&failure.reason)).collect();
    let messages: Vec<_> = failures.iter().map(|failure| failure.message.as_str()).collect();
    Some((failures.first()?.reason, messages.join("; ")))
}

fn accepted_verdict(accepted: &Accepted, applied: &Applied) -> Verdict {
    if let Err(rejected) = &accepted.pods {
        return Verdict::no(ConditionType::Accepted, rejected.reason, rejected.message.clone());
    }
    match failure(applied, &[Reason::NameConflict, Reason::Forbidden]) {
        Some((reason, message)) => Verdict::no(ConditionType::Accepted, reason, message),
        None => Verdict::yes(ConditionType::Accepted, Reason::Accepted, "The spec is accepted"),
    }
}

fn resolved(accepted: &Accepted, applied: &Applied) -> Verdict {
    let (backends, roots) = (&applied.plan.unresolved, &accepted.client_authorities.missing);
    let no = |reason, message: String| Verdict::no(ConditionType::ResolvedRefs, reason, message);
    let served =
        || format!("{}; requests for it get 503, the other backends are served", backends.join("; "));
    match (backends.as_slice(), roots.as_slice()) {
        ([], []) => Verdict::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs, "Every backend exists"),
        ([], roots) => no(Reason::RootsNotFound, roots.join("; ")),
        (_, []) => no(Reason::BackendNotFound, served()),
        (_, roots) => no(Reason::BackendNotFound, format!("{}; {}", served(), roots.join("; "))),
    }
}

fn certificates_verdict(applied: &Applied) -> Verdict {
    let certificates = &applied.plan.certificates;
    if let Some(trouble) = &certificates.trouble {
        return Verdict::no(ConditionType::CertificatesReady, trouble.reason, trouble.message.clone());
    }
    if let Some((reason, message)) =
        failure(applied, &[Reason::NameConflict, Reason::Forbidden, Reason::WriteFailed])
    {
        return Verdict::no(ConditionType::CertificatesReady, reason, message);
    }
    match &certificates.server {
        Some(_) => Verdict::yes(
            ConditionType::CertificatesReady,
            Reason::Issued,
            format!(
                "Authority, server certificate and {} client bundles are issued",
                certificates.clients.len()
            ),
        ),
        None => Verdict::no(
            ConditionType::CertificatesReady,
            Reason::Pending,
            "Waiting for the control channel's authority",
        ),
    }
}

/// `held`: it held when this operator took over, and the replicas have had no time yet to say that it still does.
fn programmed(accepted: &Accepted, applied: &Applied, replicas: &Replicas<'_>, held: bool) -> Verdict {
    let no = |reason, message: String| Verdict::no(ConditionType::Programmed, reason, message);
    if let Some((reason, message)) = failure(applied, &[Reason::Forbidden, Reason::WriteFailed]) {
        return no(reason, message);
    }
    if let Some(refusal) = replicas.refusal() {
        return no(Reason::Rejected, refusal);
    }
    if accepted.replicas == 0 {
        return no(Reason::NoReplicas, "spec.replicas is 0: nothing serves this Gateway".to_owned());
    }
    match replicas.waiting() {
        Some(waiting) if !(held && replicas.are_silent()) => no(Reason::WaitingForReplicas, waiting),
        _ => Verdict::yes(
            ConditionType::Programmed,
            Reason::Programmed,
            "Every ready replica serves the current configuration and certificate",
        ),
    }
}

/// `held`: it held before, of this generation. A renewal or a backend's return, which replicas take over while they
/// serve, is no reason to call the Gateway unready, and neither is a new replica that has not said yet how it gets on; a
/// change of the spec is, until it is proved. Where only tokens say who is asking, nobody comes in without keys.
fn ready(
    accepted: &Accepted,
    observed: &Observed,
    verdicts: &[Verdict],
    replicas: &Replicas<'_>,
    held: bool,
) -> Verdict {
    let no = |reason, message: String| Verdict::no(ConditionType::Ready, reason, message);
    let first_unproved = |kinds: &[ConditionType]| {
        verdicts.iter().find(|verdict| verdict.holds != Some(true) && kinds.contains(&verdict.kind))
    };
    if let Some(cause) = first_unproved(&[ConditionType::Accepted, ConditionType::CertificatesReady]) {
        return no(cause.reason, cause.message.clone());
    }
    if replicas.ready() == 0 && accepted.replicas > 0 {
        return match observed.failing(&accepted.key.name) {
            Some(failing) => no(Reason::PodFailing, failing.words),
            None => no(Reason::ReplicasNotReady, "No replica is ready yet".to_owned()),
        };
    }
    let catching_up = |verdict: &&Verdict| {
        held && (verdict.holds.is_none() || verdict.reason == Reason::WaitingForReplicas)
    };
    let unproved = |kind| first_unproved(&[kind]).filter(|verdict| !catching_up(verdict));
    let keyless =
        || accepted.access.needs_tokens().then(|| unproved(ConditionType::OidcDiscovered)).flatten();
    let cause = unproved(ConditionType::Programmed).or_else(keyless);
    if let Some(cause) = cause.or_else(|| first_unproved(&[ConditionType::ResolvedRefs])) {
        return no(cause.reason, cause.message.clone());
    }
    Verdict::yes(ConditionType::Ready, Reason::Ready, "The Gateway answers")
}

/// Where callers find it.
fn endpoint(gateway: &Gateway, observed: &Observed) -> String {
    let name = gateway.name_any();
    let inside = || format!("{name}.{}.svc", gateway.namespace().unwrap_or_default());
    let host = observed.load_balancer(&name).map_or_else(inside, |address| {
        match address.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => address.to_owned(),
        }
    });
    format!("{}://{host}:{}", gateway.spec.access.mode.scheme(), gateway.spec.service.port)
}

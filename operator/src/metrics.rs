//! What Prometheus is told. Labels come from enums only, never from names or messages.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use portcullis_api::condition::{ConditionType, Reason};
use portcullis_api::{AuthorityStatus, RotationPhase};
use time::OffsetDateTime;
use tonic::Code;

use crate::world::Kind;

/// Every measure of the operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// How long a visit took, in seconds.
    pub reconcile_seconds: Histogram,
    /// Visits that failed, by reason.
    pub errors: Family<ErrorLabels, Counter>,
    /// Writes to the API server that succeeded, by verb and kind.
    pub writes: Family<WriteLabels, Counter>,
    /// Gateways and Tunnels that wait for a visit.
    pub queue_depth: Gauge,
    /// Gateways that exist.
    pub gateways: Gauge,
    /// Tunnels that exist.
    pub tunnels: Gauge,
    /// Gateways by what their status says.
    pub gateway_states: Family<StateLabels, Gauge>,
    /// Gateways that answer while a pod of theirs does not come up.
    pub stuck_rollouts: Gauge,
    /// Tunnels by what their status says.
    pub tunnel_states: Family<StateLabels, Gauge>,
    /// Authorities of Gateways by how far they are on their way to the next generation.
    pub authorities: Family<PhaseLabels, Gauge>,
    /// For how long what stands in a rotation's way has stood there, in seconds; of all, the longest.
    pub rotation_waiting: Gauge,
    /// 1 while this operator leads.
    pub leading: Gauge,
    /// Replicas that are attached to the control channel.
    pub attached: Gauge,
    /// The earliest end of any certificate in use, in seconds since 1970; none where none is known.
    pub earliest_expiry: Family<NoLabels, Gauge>,
    /// When the next certificate is to be issued anew, in seconds since 1970; none where none is known.
    pub next_renewal: Family<NoLabels, Gauge>,
    /// What callers of Gateways' APIs asked for, by what became of it.
    pub calls: Family<CallLabels, Counter>,
    /// How long that took, in seconds; of watches, which last as long as somebody reads, nothing.
    pub call_seconds: Family<MethodLabels, Histogram>,
}

/// Of a measure that is there once, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NoLabels {}

/// Why visits fail.
const FAILURES: [Reason; 7] = [
    Reason::Invalid,
    Reason::InvalidPodTemplate,
    Reason::InvalidSidecar,
    Reason::NameConflict,
    Reason::Forbidden,
    Reason::WriteFailed,
    Reason::IssuingFailed,
];

/// Labels of a Gateway or a Tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabels {
    /// The condition Ready: True, False or Unknown.
    pub ready: Label,
    /// The reason that it carries.
    pub reason: Label,
}

impl StateLabels {
    /// Of an object with these conditions. One that has none yet is as one that nobody has come to.
    pub fn of(conditions: &[Condition]) -> Self {
        let ready = conditions.iter().find(|it| it.type_ == ConditionType::Ready.as_str());
        let status = match ready.map(|it| it.status.as_str()) {
            Some("True") => "True",
            Some("False") => "False",
            _ => "Unknown",
        };
        // What another version of the operator wrote may be a reason that this one does not know.
        let reason = match ready {
            Some(ready) => Reason::named(&ready.reason).map_or("Other", Reason::as_str),
            None => Reason::Pending.as_str(),
        };
        Self { ready: Label(status), reason: Label(reason) }
    }
}

/// Labels of an authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PhaseLabels {
    /// `status.ca.phase`.
    pub phase: Label,
}

/// Labels of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// What was asked for.
    pub method: Label,
    /// How it ended, as gRPC names it.
    pub code: Label,
}

/// Labels of a call, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MethodLabels {
    /// What was asked for.
    pub method: Label,
}

/// What callers of a Gateway's API ask the operator for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `Projects/ListProjects`.
    ListProjects,
    /// `Tunnels/ListTunnels`.
    ListTunnels,
    /// `Tunnels/GetTunnel`.
    GetTunnel,
    /// `Tunnels/CreateTunnel`.
    CreateTunnel,
    /// `Tunnels/UpdateTunnel`.
    UpdateTunnel,
    /// `Tunnels/DeleteTunnel`.
    DeleteTunnel,
    /// `Tunnels/WatchTunnels`.
    WatchTunnels,
    /// `Identities/RenewCertificate`.
    RenewCertificate,
    /// `Identities/GetTrust`.
    GetTrust,
    /// Something that a later gateway knows.
    Unknown,
}

impl Method {
    const ALL: [Self; 10] = [
        Self::ListProjects,
        Self::ListTunnels,
        Self::GetTunnel,
        Self::CreateTunnel,
        Self::UpdateTunnel,
        Self::DeleteTunnel,
        Self::WatchTunnels,
        Self::RenewCertificate,
        Self::GetTrust,
        Self::Unknown,
    ];

    /// The method's name in `proto/`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListProjects => "ListProjects",
            Self::ListTunnels => "ListTunnels",
            Self::GetTunnel => "GetTunnel",
            Self::CreateTunnel => "CreateTunnel",
            Self::UpdateTunnel => "UpdateTunnel",
            Self::DeleteTunnel => "DeleteTunnel",
            Self::WatchTunnels => "WatchTunnels",
            Self::RenewCertificate => "RenewCertificate",
            Self::GetTrust => "GetTrust",
            Self::Unknown => "Unknown",
        }
    }
}

/// Labels of a failed visit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// The reason that the condition carries.
    pub reason: Label,
}

/// Labels of a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WriteLabels {
    /// What was done.
    pub verb: Label,
    /// What to.
    pub kind: Label,
}

/// A label's value that an enum's variant names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(&'static str);

impl From<Kind> for Label {
    fn from(kind: Kind) -> Self {
        Self(kind.as_str())
    }
}

impl From<Reason> for Label {
    fn from(reason: Reason) -> Self {
        Self(reason.as_str())
    }
}

impl From<Method> for Label {
    fn from(method: Method) -> Self {
        Self(method.as_str())
    }
}

impl From<Code> for Label {
    fn from(code: Code) -> Self {
        Self(match code {
            Code::Ok => "OK",
            Code::Cancelled => "Canceled",
            Code::Unknown => "Unknown",
            Code::InvalidArgument => "InvalidArgument",
            Code::DeadlineExceeded => "DeadlineExceeded",
            Code::NotFound => "NotFound",
            Code::AlreadyExists => "AlreadyExists",
            Code::PermissionDenied => "PermissionDenied",
            Code::ResourceExhausted => "ResourceExhausted",
            Code::FailedPrecondition => "FailedPrecondition",
            Code::Aborted => "Aborted",
            Code::OutOfRange => "OutOfRange",
            Code::Unimplemented => "Unimplemented",
            Code::Internal => "Internal",
            Code::Unavailable => "Unavailable",
            Code::DataLoss => "DataLoss",
            Code::Unauthenticated => "Unauthenticated",
        })
    }
}

impl From<Verb> for Label {
    fn from(verb: Verb) -> Self {
        Self(match verb {
            Verb::Apply => "apply",
            Verb::Create => "create",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        })
    }
}

impl From<Target> for Label {
    fn from(target: Target) -> Self {
        Self(match target {
            Target::Child(kind) => kind.as_str(),
            Target::GatewayStatus => "GatewayStatus",
            Target::Tunnel => "Tunnel",
            Target::TunnelStatus => "TunnelStatus",
            Target::Event => "Event",
        })
    }
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Server-side apply.
    Apply,
    /// Create.
    Create,
    /// Merge patch.
    Patch,
    /// Delete.
    Delete,
}

/// What a write goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A child.
    Child(Kind),
    /// A Gateway's status.
    GatewayStatus,
    /// A Tunnel, for a caller of a Gateway's API.
    Tunnel,
    /// A Tunnel's status.
    TunnelStatus,
    /// An Event.
    Event,
}

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("portcullis_operator")),
            reconcile_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            errors: Family::default(),
            writes: Family::default(),
            queue_depth: Gauge::default(),
            gateways: Gauge::default(),
            tunnels: Gauge::default(),
            gateway_states: Family::default(),
            stuck_rollouts: Gauge::default(),
            tunnel_states: Family::default(),
            authorities: Family::default(),
            rotation_waiting: Gauge::default(),
            leading: Gauge::default(),
            attached: Gauge::default(),
            earliest_expiry: Family::default(),
            next_renewal: Family::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 15))
            }),
        };
        metrics.register();
        metrics.begin();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_with_unit(
            "reconcile",
            "How long a visit to a Gateway or a Tunnel took",
            Unit::Seconds,
            self.reconcile_seconds.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Visits that failed, by the reason that the condition carries",
            self.errors.clone(),
        );
        registry.register(
            "writes",
            "Writes to the API server that succeeded, by verb and kind",
            self.writes.clone(),
        );
        registry.register(
            "queue_depth",
            "Gateways and Tunnels that wait for a visit",
            self.queue_depth.clone(),
        );
        registry.register("gateways", "Gateways that exist", self.gateways.clone());
        registry.register("tunnels", "Tunnels that exist", self.tunnels.clone());
        registry.register(
            "gateway_states",
            "Gateways by their condition Ready and its reason",
            self.gateway_states.clone(),
        );
        registry.register(
            "stuck_rollouts",
            "Gateways that answer while a pod of theirs does not come up",
            self.stuck_rollouts.clone(),
        );
        registry.register(
            "tunnel_states",
            "Tunnels by their condition Ready and its reason",
            self.tunnel_states.clone(),
        );
        registry.register(
            "authorities",
            "Authorities of Gateways by the phase of their rotation",
            self.authorities.clone(),
        );
        registry.register_with_unit(
            "rotation_waiting",
            "For how long a replica or a bundle has stood in a rotation's way, in seconds; the longest of all, 0 where none does",
            Unit::Seconds,
            self.rotation_waiting.clone(),
        );
        registry.register("leading", "1 while this operator leads", self.leading.clone());
        registry.register("attached_replicas", "Replicas on the control channel", self.attached.clone());
        registry.register_with_unit(
            "certificate_earliest_expiry_timestamp",
            "The earliest end of a certificate of a Gateway, in seconds since 1970; of the operator that leads",
            Unit::Seconds,
            self.earliest_expiry.clone(),
        );
        registry.register_with_unit(
            "certificate_next_renewal_timestamp",
            "When the next certificate of a Gateway is to be renewed, in seconds since 1970; of the operator that leads",
            Unit::Seconds,
            self.next_renewal.clone(),
        );
        registry.register(
            "calls",
            "Calls of Gateways' APIs that the operator was asked to carry out, by method and gRPC code",
            self.calls.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "How long calls of Gateways' APIs took here, watches left out",
            Unit::Seconds,
            self.call_seconds.clone(),
        );
        registry.register(
            "build",
            "The version of the program; always 1",
            prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
    }

    /// What was never counted begins at 0, so that the first one is seen as an increase.
    fn begin(&self) {
        for reason in FAILURES {
            drop(self.errors.get_or_create(&ErrorLabels { reason: reason.into() }));
        }
        for method in Method::ALL {
            drop(self.calls.get_or_create(&CallLabels { method: method.into(), code: Code::Ok.into() }));
            drop(self.call_seconds.get_or_create(&MethodLabels { method: method.into() }));
        }
        let event = WriteLabels { verb: Verb::Create.into(), kind: Target::Event.into() };
        drop(self.writes.get_or_create(&event));
    }

    /// Counts a call that ended. `took` is None for one that lasts as long as somebody reads.
    pub fn count_call(&self, method: Method, code: Code, took: Option<Duration>) {
        self.calls.get_or_create(&CallLabels { method: method.into(), code: code.into() }).inc();
        if let Some(took) = took {
            self.call_seconds
                .get_or_create(&MethodLabels { method: method.into() })
                .observe(took.as_secs_f64());
        }
    }

    /// Tells when the first certificate ends, and when the next one is to be renewed.
    pub fn tell_certificates(&self, expiry: Option<OffsetDateTime>, renewal: Option<OffsetDateTime>) {
        for (family, at) in [(&self.earliest_expiry, expiry), (&self.next_renewal, renewal)] {
            match at {
                Some(at) => {
                    family.get_or_create(&NoLabels {}).set(at.unix_timestamp());
                }
                None => family.clear(),
            }
        }
    }

    /// Counts a visit that failed.
    pub fn count_error(&self, reason: Reason) {
        self.errors.get_or_create(&ErrorLabels { reason: reason.into() }).inc();
    }

    /// Counts a write.
    pub fn count_write(&self, verb: Verb, target: Target) {
        self.writes.get_or_create(&WriteLabels { verb: verb.into(), kind: target.into() }).inc();
    }

    /// Tells how many Gateways or Tunnels there are of each state.
    pub fn tell_states<'a>(
        family: &Family<StateLabels, Gauge>,
        conditions: impl Iterator<Item = &'a [Condition]>,
    ) {
        let mut counts = std::collections::HashMap::<StateLabels, i64>::new();
        for conditions in conditions {
            *counts.entry(StateLabels::of(conditions)).or_default() += 1;
        }
        family.clear();
        for (labels, count) in counts {
            family.get_or_create(&labels).set(count);
        }
    }

    /// Tells how many Gateways answer while a pod of theirs does not come up.
    pub fn tell_rollouts<'a>(&self, conditions: impl Iterator<Item = &'a [Condition]>) {
        let is_stuck = |it: &Condition| {
            let kind = it.type_ == ConditionType::Degraded.as_str() && it.status == "True";
            kind && it.reason == Reason::PodFailing.as_str()
        };
        let stuck = conditions.filter(|conditions| conditions.iter().any(is_stuck)).count();
        self.stuck_rollouts.set(i64::try_from(stuck).unwrap_or(i64::MAX));
    }

    /// Tells how far authorities are, and for how long something has stood in the way of one.
    pub fn tell_rotations<'a>(&self, authorities: impl Iterator<Item = &'a AuthorityStatus>, now: Timestamp) {
        let (mut counts, mut longest) = ([0_i64; RotationPhase::ALL.len()], 0);
        for authority in authorities {
            for (phase, count) in RotationPhase::ALL.iter().zip(&mut counts) {
                *count += i64::from(authority.phase == *phase);
            }
            let since = authority.waiting_since.as_ref().and_then(|since| since.parse::<Timestamp>().ok());
            longest = longest.max(since.map_or(0, |since| now.as_second() - since.as_second()));
        }
        for (phase, count) in RotationPhase::ALL.iter().zip(counts) {
            self.authorities.get_or_create(&PhaseLabels { phase: Label(phase.as_str()) }).set(count);
        }
        self.rotation_waiting.set(longest);
    }

    /// The text that `/metrics` answers with (OpenMetrics 1.0).
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            // Writing to a String does not fail.
            Err(std::fmt::Error) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(status: &str, reason: &str) -> Condition {
        let mut condition = Condition {
            type_: "Accepted".to_owned(),
            status: "True".to_owned(),
            reason: "Accepted".to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
            ),
        };
        if !status.is_empty() {
            condition.type_ = "Ready".to_owned();
            condition.status = status.to_owned();
            condition.reason = reason.to_owned();
        }
        condition
    }

    #[test]
    fn objects_are_counted_by_what_their_condition_ready_says_and_by_no_name() {
        let metrics = Metrics::default();
        let all = [
            vec![ready("", ""), ready("True", "Ready")],
            vec![ready("True", "Ready")],
            vec![ready("False", "ProbeFailed")],
            vec![ready("False", "OfALaterVersion")],
            vec![],
        ];
        Metrics::tell_states(&metrics.tunnel_states, all.iter().map(Vec::as_slice));
        Metrics::tell_states(&metrics.tunnel_states, all.iter().skip(1).map(Vec::as_slice));
        let text = metrics.text();
        let mut told: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("portcullis_operator_tunnel_states{")).collect();
        told.sort_unstable();
        let wanted = [
            "ready=\"False\",reason=\"Other\"} 1",
            "ready=\"False\",reason=\"ProbeFailed\"} 1",
            "ready=\"True\",reason=\"Ready\"} 1",
            "ready=\"Unknown\",reason=\"Pending\"} 1",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn gateways_are_counted_of_which_a_pod_does_not_come_up_while_others_serve() {
        let metrics = Metrics::default();
        let degraded = |status: &str, reason: &str| {
            let condition = Condition { type_: "Degraded".to_owned(), ..ready(status, reason) };
            vec![ready("True", "Ready"), condition]
        };
        let all = [
            degraded("True", "PodFailing"),
            degraded("True", "DriverUnavailable"),
            degraded("False", "DriversConnected"),
            vec![ready("False", "PodFailing")],
        ];
        metrics.tell_rollouts(all.iter().map(Vec::as_slice));
        assert!(metrics.text().lines().any(|line| line == "portcullis_operator_stuck_rollouts 1"));
        metrics.tell_rollouts(all.iter().skip(1).map(Vec::as_slice));
        assert!(metrics.text().lines().any(|line| line == "portcullis_operator_stuck_rollouts 0"));
    }

    #[test]
    fn a_time_that_is_not_known_is_not_told() {
        let metrics = Metrics::default();
        let told = || {
            let text = metrics.text();
            text.lines().filter(|line| line.starts_with("portcullis_operator_certificate_")).count()
        };
        assert_eq!(told(), 0);
        let at = OffsetDateTime::UNIX_EPOCH + Duration::from_hours(500_000);
        metrics.tell_certificates(Some(at), Some(at));
        assert_eq!(told(), 2);
        metrics.tell_certificates(None, None);
        assert_eq!(told(), 0);
    }

    #[test]
    fn authorities_are_counted_by_phase_and_what_has_waited_longest_counts() {
        let metrics = Metrics::default();
        let authority = |phase, since: Option<&str>| AuthorityStatus {
            phase,
            waiting_since: since.map(str::to_owned),
            ..AuthorityStatus::default()
        };
        let authorities = [
            authority(RotationPhase::Stable, None),
            authority(RotationPhase::Publishing, Some("1970-01-01T00:01:00Z")),
            authority(RotationPhase::Publishing, Some("1970-01-01T00:00:10Z")),
        ];
        metrics.tell_rotations(authorities.iter(), Timestamp::from_second(100).unwrap());
        let text = metrics.text();
        for line in [
            "portcullis_operator_authorities{phase=\"Stable\"} 1",
            "portcullis_operator_authorities{phase=\"Publishing\"} 2",
            "portcullis_operator_authorities{phase=\"Retiring\"} 0",
            "portcullis_operator_rotation_waiting_seconds 90",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is missing: {text}");
        }
    }

    #[test]
    fn a_call_is_counted_by_method_and_code_and_a_watch_has_no_time() {
        let metrics = Metrics::default();
        metrics.count_call(Method::CreateTunnel, Code::PermissionDenied, Some(Duration::from_millis(3)));
        metrics.count_call(Method::WatchTunnels, Code::Cancelled, None);
        let text = metrics.text();
        for line in [
            "portcullis_operator_calls_total{method=\"CreateTunnel\",code=\"PermissionDenied\"} 1",
            "portcullis_operator_calls_total{method=\"CreateTunnel\",code=\"OK\"} 0",
            "portcullis_operator_calls_total{method=\"WatchTunnels\",code=\"Canceled\"} 1",
            "portcullis_operator_call_duration_seconds_count{method=\"CreateTunnel\"} 1",
            "portcullis_operator_call_duration_seconds_count{method=\"WatchTunnels\"} 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is missing: {text}");
        }
    }
}

//! What Prometheus is told. Labels come from enums only, never from names or messages.

use std::sync::Mutex;
use std::sync::PoisonError;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::world::Kind;
use portcullis_api::condition::Reason;

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
    /// 1 while this operator leads.
    pub leading: Gauge,
    /// Replicas that are attached to the control channel.
    pub attached: Gauge,
    /// The earliest end of any certificate in use, in seconds since 1970.
    pub earliest_expiry: Gauge,
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
            leading: Gauge::default(),
            attached: Gauge::default(),
            earliest_expiry: Gauge::default(),
        };
        metrics.register();
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
        registry.register("reconcile_errors", "Visits that failed, by reason", self.errors.clone());
        registry.register("writes", "Writes to the API server, by verb and kind", self.writes.clone());
        registry.register(
            "queue_depth",
            "Gateways and Tunnels that wait for a visit",
            self.queue_depth.clone(),
        );
        registry.register("gateways", "Gateways that exist", self.gateways.clone());
        registry.register("tunnels", "Tunnels that exist", self.tunnels.clone());
        registry.register("leading", "1 while this operator leads", self.leading.clone());
        registry.register("attached_replicas", "Replicas on the control channel", self.attached.clone());
        registry.register(
            "certificate_earliest_expiry_timestamp",
            "The earliest end of a certificate in use, in seconds since 1970",
            self.earliest_expiry.clone(),
        );
    }

    /// Counts a visit that failed.
    pub fn count_error(&self, reason: Reason) {
        self.errors.get_or_create(&ErrorLabels { reason: reason.into() }).inc();
    }

    /// Counts a write.
    pub fn count_write(&self, verb: Verb, target: Target) {
        self.writes.get_or_create(&WriteLabels { verb: verb.into(), kind: target.into() }).inc();
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

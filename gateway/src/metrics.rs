//! What is counted. Labels come from enums only; a name or a message never becomes one.

use std::hash::Hash;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use rustls::NamedGroup;

use portcullis_contract::control::Probe;

use crate::auth::DenialReason;
use crate::census::Census;
use crate::tunnel::TunnelFault;

/// An enum whose variants are a label's values.
macro_rules! label {
    ($(#[$meta:meta])* enum $name:ident { $($(#[$doc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum $name { $($(#[$doc])* $variant,)+ }

        impl $crate::metrics::Labelled for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }

        impl $name {
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> Result<(), std::fmt::Error> {
                prometheus_client::encoding::EncodeLabelValue::encode(&self.as_str(), encoder)
            }
        }
    };
}
pub(crate) use label;

/// Every value of a label, for what must miss none.
pub(crate) trait Labelled: Sized + 'static {
    const ALL: &'static [Self];
}

label! {
    /// How a TLS handshake ended.
    enum HandshakeResult {
        Ok => "ok",
        NoCertificate => "no_certificate",
        Expired => "expired",
        UnknownIssuer => "unknown_issuer",
        BadUsage => "bad_usage",
        Revoked => "revoked",
        NotTls => "not_tls",
        Timeout => "timeout",
        Other => "other",
    }
}

label! {
    /// How the keys of a TLS connection were agreed on.
    enum KeyExchange {
        Hybrid => "hybrid",
        Classic => "classic",
    }
}

impl KeyExchange {
    /// Of a group: a hybrid one holds against quantum computers too.
    pub(crate) fn of(group: NamedGroup) -> Self {
        match group {
            NamedGroup::X25519MLKEM768 | NamedGroup::secp256r1MLKEM768 => Self::Hybrid,
            _ => Self::Classic,
        }
    }
}

label! {
    /// Where a request went.
    enum RouteClass {
        Own => "own",
        Http1 => "http1",
        H2c => "h2c",
        Tunnel => "tunnel",
        None => "none",
    }
}

label! {
    /// What became of a visitor whose bytes are passed on as they come.
    enum Passed {
        Carried => "carried",
        Probe => "probe",
        Off => "off",
        Offline => "offline",
        Full => "full",
        Lost => "lost",
        Peer => "peer",
        Endpoint => "endpoint",
        Address => "address",
        Often => "often",
    }
}

impl Passed {
    pub(crate) fn of(fault: TunnelFault) -> Self {
        match fault {
            TunnelFault::Nothing | TunnelFault::Path | TunnelFault::Off => Self::Off,
            TunnelFault::Offline => Self::Offline,
            TunnelFault::Full => Self::Full,
            TunnelFault::Lost => Self::Lost,
            TunnelFault::Peer => Self::Peer,
            TunnelFault::Endpoint(_) => Self::Endpoint,
            TunnelFault::Address => Self::Address,
            TunnelFault::Often { .. } => Self::Often,
        }
    }
}

label! {
    /// What a probe of a tunnel found: the hop that broke, or none.
    enum ProbeResult {
        Passed => "passed",
        Dns => "dns",
        Tls => "tls",
        Gateway => "gateway",
        Peer => "peer",
        Connector => "connector",
        Endpoint => "endpoint",
    }
}

impl ProbeResult {
    fn of(probe: &Probe) -> Self {
        let broke = || Self::ALL.iter().find(|it| it.as_str() == probe.hop);
        if probe.passed { Self::Passed } else { broke().copied().unwrap_or(Self::Gateway) }
    }
}

label! {
    /// Who is shown a certificate.
    enum Shown {
        /// Callers of the gateway's own names.
        Own => "own",
        /// Visitors of tunnels, where they are shown one of their own.
        Public => "public",
    }
}

label! {
    /// Where bytes go that are passed on as they come.
    enum Way {
        In => "in",
        Out => "out",
    }
}

label! {
    /// First digit of a response's status.
    enum StatusClass {
        Informational => "1xx",
        Success => "2xx",
        Redirection => "3xx",
        ClientError => "4xx",
        ServerError => "5xx",
    }
}

const ROUTES: [RouteClass; 5] =
    [RouteClass::Own, RouteClass::Http1, RouteClass::H2c, RouteClass::Tunnel, RouteClass::None];
const STATUSES: [StatusClass; 5] = [
    StatusClass::Informational,
    StatusClass::Success,
    StatusClass::Redirection,
    StatusClass::ClientError,
    StatusClass::ServerError,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExchangeLabels {
    kind: KeyExchange,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    result: HandshakeResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassedLabels {
    result: Passed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabels {
    direction: Way,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: RouteClass,
    status: StatusClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: RouteClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DenialLabels {
    reason: DenialReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    result: ProbeResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    door: Shown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabels {
    version: String,
}

/// What was never counted begins at 0, so that the first one is seen as an increase.
fn begin<L: Clone + Eq + Hash>(family: &Family<L, Counter>, all: impl Iterator<Item = L>) {
    for labels in all {
        drop(family.get_or_create(&labels));
    }
}

/// All counters of a replica. The ones that every request touches are looked up once, here.
pub(crate) struct Metrics {
    registry: Registry,
    handshakes: Family<HandshakeLabels, Counter>,
    exchanges: Family<ExchangeLabels, Counter>,
    denials: Family<DenialLabels, Counter>,
    passed: Family<PassedLabels, Counter>,
    passed_bytes: Family<WayLabels, Counter>,
    probes: Family<ProbeLabels, Counter>,
    probe_seconds: Histogram,
    certificates: Family<CertificateLabels, Gauge>,
    requests: [[Counter; STATUSES.len()]; ROUTES.len()],
    durations: [Histogram; ROUTES.len()],
    snapshot: Family<VersionLabels, Gauge>,
    pub(crate) connections_open: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) backend_connections: Counter,
    pub(crate) backend_retries: Counter,
    pub(crate) snapshots_applied: Counter,
    pub(crate) snapshots_rejected: Counter,
    pub(crate) control_connected: Gauge,
    pub(crate) connectors: Gauge,
    pub(crate) connectors_refused: Counter,
    /// Looked at when somebody asks.
    pub(crate) census: Census,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis_gateway");
        let handshakes = Family::<HandshakeLabels, Counter>::default();
        let denials = Family::<DenialLabels, Counter>::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let durations = Family::<RouteLabels, Histogram>::new_with_constructor(|| {
            Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            ])
        });
        let snapshot = Family::<VersionLabels, Gauge>::default();
        let passed = Family::<PassedLabels, Counter>::default();
        let passed_bytes = Family::<WayLabels, Counter>::default();
        let (probes, certificates) = (Family::<ProbeLabels, Counter>::default(), Family::default());
        let probe_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        begin(&handshakes, HandshakeResult::ALL.iter().map(|&result| HandshakeLabels { result }));
        let exchanges = Family::<ExchangeLabels, Counter>::default();
        begin(&exchanges, KeyExchange::ALL.iter().map(|&kind| ExchangeLabels { kind }));
        registry.register(
            "key_exchanges",
            "TLS handshakes by how keys were agreed on: hybrid ones hold against quantum computers too",
            exchanges.clone(),
        );
        begin(&denials, DenialReason::all().map(|reason| DenialLabels { reason }));
        begin(&passed, Passed::ALL.iter().map(|&result| PassedLabels { result }));
        begin(&passed_bytes, Way::ALL.iter().map(|&direction| WayLabels { direction }));
        begin(&probes, ProbeResult::ALL.iter().map(|&result| ProbeLabels { result }));
        registry.register(
            "probes",
            "Probes of tunnels through their public names, by the hop that broke",
            probes.clone(),
        );
        registry.register_with_unit(
            "probe_duration",
            "How long probes took that passed",
            Unit::Seconds,
            probe_seconds.clone(),
        );
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the served certificate expires, in seconds since 1970",
            Unit::Seconds,
            certificates.clone(),
        );
        registry.register(
            "passed",
            "Visitors of TLS and TCP tunnels, by what became of them",
            passed.clone(),
        );
        registry.register_with_unit(
            "passed",
            "What they sent (in) and were sent (out)",
            Unit::Bytes,
            passed_bytes.clone(),
        );
        registry.register("handshakes", "TLS handshakes by result", handshakes.clone());
        registry.register("denials", "Requests denied, by reason", denials.clone());
        registry.register("requests", "Requests by route and class of status", requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time from a request's header to its response's header",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("snapshot_info", "Version of the snapshot that is served", snapshot.clone());
        let metrics = Self {
            requests: ROUTES.map(|route| {
                STATUSES.map(|status| requests.get_or_create(&RequestLabels { route, status }).clone())
            }),
            durations: ROUTES.map(|route| durations.get_or_create(&RouteLabels { route }).clone()),
            handshakes,
            exchanges,
            denials,
            snapshot,
            passed,
            passed_bytes,
            probes,
            probe_seconds,
            certificates,
            connections_open: Gauge::default(),
            connections_refused: Counter::default(),
            backend_connections: Counter::default(),
            backend_retries: Counter::default(),
            snapshots_applied: Counter::default(),
            snapshots_rejected: Counter::default(),
            control_connected: Gauge::default(),
            connectors: Gauge::default(),
            connectors_refused: Counter::default(),
            census: Census::default(),
            registry: Registry::default(),
        };
        registry.register("connections_open", "Connections of callers", metrics.connections_open.clone());
        registry.register(
            "connections_refused",
            "Connections closed because too many were open",
            metrics.connections_refused.clone(),
        );
        registry.register(
            "backend_connections",
            "Connections opened to backends",
            metrics.backend_connections.clone(),
        );
        registry.register(
            "backend_retries",
            "Requests sent again because a backend had closed the connection before anything was sent",
            metrics.backend_retries.clone(),
        );
        registry.register("snapshots_applied", "Snapshots applied", metrics.snapshots_applied.clone());
        registry.register("snapshots_rejected", "Snapshots rejected", metrics.snapshots_rejected.clone());
        registry.register(
            "control_connected",
            "Whether the operator's control channel is attached",
            metrics.control_connected.clone(),
        );
        registry.register("connectors", "Connectors that are connected", metrics.connectors.clone());
        registry.register(
            "connectors_refused",
            "Connectors that were told why they are not let in",
            metrics.connectors_refused.clone(),
        );
        registry.register(
            "build",
            "The version of the program; always 1",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        metrics.census.register(&mut registry);
        Self { registry, ..metrics }
    }

    pub(crate) fn handshake(&self, result: HandshakeResult) {
        self.handshakes.get_or_create(&HandshakeLabels { result }).inc();
    }

    pub(crate) fn passed(&self, result: Passed) {
        self.passed.get_or_create(&PassedLabels { result }).inc();
    }

    /// Counts bytes that are passed on as they come.
    pub(crate) fn passed_bytes(&self, direction: Way) -> Counter {
        self.passed_bytes.get_or_create(&WayLabels { direction }).clone()
    }

    /// Counts how keys were agreed on.
    pub(crate) fn key_exchange(&self, kind: KeyExchange) {
        self.exchanges.get_or_create(&ExchangeLabels { kind }).inc();
    }

    pub(crate) fn denial(&self, reason: DenialReason) {
        self.denials.get_or_create(&DenialLabels { reason }).inc();
    }

    /// Counts a probe of a tunnel.
    pub(crate) fn probe(&self, probe: &Probe) {
        let result = ProbeResult::of(probe);
        self.probes.get_or_create(&ProbeLabels { result }).inc();
        if result == ProbeResult::Passed {
            self.probe_seconds.observe(Duration::from_micros(probe.latency_us.into()).as_secs_f64());
        }
    }

    /// Callers of the gateway's own names are shown a certificate that ends then (seconds since 1970).
    pub(crate) fn shows(&self, until: i64) {
        self.certificates.get_or_create(&CertificateLabels { door: Shown::Own }).set(until);
    }

    /// Visitors of tunnels are shown a certificate of their own that ends then, or none.
    pub(crate) fn shows_public(&self, until: Option<i64>) {
        let labels = CertificateLabels { door: Shown::Public };
        match until {
            Some(until) => {
                self.certificates.get_or_create(&labels).set(until);
            }
            None => {
                self.certificates.remove(&labels);
            }
        }
    }

    pub(crate) fn request(&self, route: RouteClass, status: StatusCode, took: Duration) {
        let class = match status.as_u16() {
            100..=199 => StatusClass::Informational,
            200..=299 => StatusClass::Success,
            300..=399 => StatusClass::Redirection,
            400..=499 => StatusClass::ClientError,
            _ => StatusClass::ServerError,
        };
        self.requests[route as usize][class as usize].inc();
        self.durations[route as usize].observe(took.as_secs_f64());
    }

    /// A snapshot is served from now on.
    pub(crate) fn serving(&self, version: &str) {
        self.snapshots_applied.inc();
        self.snapshot.clear();
        self.snapshot.get_or_create(&VersionLabels { version: version.to_owned() }).set(1);
    }

    /// The text that `/metrics` answers.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "failed to write metrics");
        }
        text
    }
}

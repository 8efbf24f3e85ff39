//! What there is at the moment when `/metrics` is asked for: tunnels, issuers, drivers and replicas, by their state.
//!
//! What must not live here: what is counted as it happens ([`crate::metrics`]).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::config::Config;
use crate::driver::Driver;
use crate::issuer::Issuer;
use crate::metrics::{Labelled, label};
use crate::shared::Shared;
use crate::tunnel::{Tunnel, Tunnels};

label! {
    /// How a replica stands to a tunnel.
    enum TunnelState {
        /// A connector is connected here, and the last probe passed.
        Answering => "answering",
        /// A connector is connected here, and the last probe failed.
        Failing => "failing",
        /// A connector is connected here, and no probe has ended yet.
        Unproved => "unproved",
        /// Another replica has a connector.
        Elsewhere => "elsewhere",
        /// No replica has one.
        Offline => "offline",
        /// Its owner has switched it off.
        Off => "off",
    }
}

label! {
    /// The keys of an issuer of tokens.
    enum IssuerState {
        /// They are there, and the last attempt to fetch them went well.
        Fresh => "fresh",
        /// They are there, and the last attempt failed.
        Stale => "stale",
        /// There are none.
        Missing => "missing",
    }
}

label! {
    /// The socket of a driver.
    enum DriverState {
        Connected => "connected",
        Unavailable => "unavailable",
        Untried => "untried",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TunnelLabels {
    state: TunnelState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabels {
    state: IssuerState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriverLabels {
    state: DriverState,
}

/// The gauges.
#[derive(Debug, Default)]
pub(crate) struct Census {
    tunnels: Family<TunnelLabels, Gauge>,
    issuers: Family<IssuerLabels, Gauge>,
    drivers: Family<DriverLabels, Gauge>,
    peers: Gauge,
    ready: Gauge,
}

impl Census {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "tunnels",
            "Tunnels that are served, by what this replica knows of them",
            self.tunnels.clone(),
        );
        registry.register(
            "issuers",
            "Issuers of tokens (OIDC, edge), by the keys that this replica has of them",
            self.issuers.clone(),
        );
        registry.register("drivers", "Drivers, by whether this replica reaches them", self.drivers.clone());
        registry.register("peers", "Other replicas that this one is connected to", self.peers.clone());
        registry.register("ready", "1 while callers should be sent to this replica", self.ready.clone());
        self.fill(|_| 0, |_| 0, |_| 0);
    }

    /// Counts anew.
    pub(crate) fn take(&self, shared: &Shared) {
        let config = shared.config();
        let config = config.as_deref();
        let tunnels = config.and_then(|config| config.tunnels.as_deref());
        let tunnels: Vec<_> =
            tunnels.into_iter().flat_map(Tunnels::all).map(|tunnel| state_of(tunnel, shared)).collect();
        let issuers: Vec<_> =
            config.into_iter().flat_map(Config::issuers).map(|(_, issuer)| keys_of(issuer)).collect();
        let drivers: Vec<_> =
            config.into_iter().flat_map(|it| &it.drivers).map(|driver| reach_of(driver)).collect();
        self.fill(
            |state| count(&tunnels, state),
            |state| count(&issuers, state),
            |state| count(&drivers, state),
        );
        self.peers.set(i64::try_from(shared.peers.count()).unwrap_or(i64::MAX));
        self.ready.set(i64::from(shared.readiness().is_ok()));
    }

    fn fill(
        &self,
        tunnels: impl Fn(TunnelState) -> i64,
        issuers: impl Fn(IssuerState) -> i64,
        drivers: impl Fn(DriverState) -> i64,
    ) {
        for state in TunnelState::ALL.iter().copied() {
            self.tunnels.get_or_create(&TunnelLabels { state }).set(tunnels(state));
        }
        for state in IssuerState::ALL.iter().copied() {
            self.issuers.get_or_create(&IssuerLabels { state }).set(issuers(state));
        }
        for state in DriverState::ALL.iter().copied() {
            self.drivers.get_or_create(&DriverLabels { state }).set(drivers(state));
        }
    }
}

fn count<S: Copy + PartialEq>(all: &[S], state: S) -> i64 {
    i64::try_from(all.iter().filter(|it| **it == state).count()).unwrap_or(i64::MAX)
}

fn state_of(tunnel: &Tunnel, shared: &Shared) -> TunnelState {
    if !tunnel.enabled {
        return TunnelState::Off;
    }
    if shared.sessions.pick(&tunnel.uid).is_none() {
        let elsewhere = shared.peers.pick(&tunnel.uid).is_some();
        return if elsewhere { TunnelState::Elsewhere } else { TunnelState::Offline };
    }
    match shared.probes.of(&tunnel.uid).map(|probe| probe.passed) {
        Some(true) => TunnelState::Answering,
        Some(false) => TunnelState::Failing,
        None => TunnelState::Unproved,
    }
}

fn keys_of(issuer: &Issuer) -> IssuerState {
    match (issuer.has_keys(), issuer.trouble().is_empty()) {
        (true, true) => IssuerState::Fresh,
        (true, false) => IssuerState::Stale,
        (false, _) => IssuerState::Missing,
    }
}

fn reach_of(driver: &Driver) -> DriverState {
    match driver.trouble() {
        Some(trouble) if trouble.is_empty() => DriverState::Connected,
        Some(_) => DriverState::Unavailable,
        None => DriverState::Untried,
    }
}

//! What every visit to a Gateway needs at hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use portcullis_pki::Mint;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::control::Control;
use crate::control::renewals::Renewals;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::settings::Settings;
use crate::tunnel::claims::Decided;
use crate::world::news::News;
use crate::world::{Key, World};
use crate::writer::Writer;

/// What every visit to a Gateway needs at hand.
pub struct Context {
    /// For reads that the world does not answer.
    pub client: Client,
    /// The one place that writes.
    pub writer: Writer,
    /// Who leads.
    pub leadership: Leadership,
    /// What is known of the cluster.
    pub world: Arc<World>,
    /// What waits for a visit.
    pub queue: Arc<Queue<Key>>,
    /// Tunnels that wait for a visit.
    pub tunnels: Arc<Queue<Key>>,
    /// Who is accepted at each Gateway.
    pub claims: Decided,
    /// What replicas are told, and what they say.
    pub control: Arc<Control>,
    /// Who waits for a certificate.
    pub renewals: Renewals,
    /// What the operator was told at its start.
    pub settings: Settings,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Keys and serials.
    pub mint: Arc<dyn Mint>,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
    /// How often each Gateway's visit has failed in a row.
    pub backoff: Backoff,
    /// And each Tunnel's.
    pub tunnel_backoff: Backoff,
    /// One visit plans at a time. A plan is nothing but computing: when every Gateway is due, all workers would do that
    /// at once, and the one that just came would wait for a thread at each of its steps.
    pub planning: Semaphore,
}

impl Context {
    /// Whoever something is news to.
    pub fn news(&self) -> News<'_> {
        News { world: &self.world, gateways: &self.queue, tunnels: &self.tunnels }
    }
}

/// Waits longer after each failure in a row, each Gateway for itself.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<Key, u32>>);

impl Backoff {
    /// The first wait, on average.
    const FIRST: Duration = Duration::from_millis(250);
    /// No wait is longer than this, on average.
    const LONGEST: Duration = Duration::from_mins(2);

    /// Counts a failure and says how long to wait: between half and one and a half times the average.
    pub fn failed(&self, key: &Key) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_insert(0);
        let average = Self::FIRST.saturating_mul(1 << (*count).min(16)).min(Self::LONGEST);
        *count += 1;
        average.mul_f64(rand::random_range(0.5..1.5))
    }

    /// Begins anew.
    pub fn succeeded(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gateway_waits_for_its_own_failures_and_begins_anew_after_a_success() {
        let backoff = Backoff::default();
        let (bad, good) = (Key::new("shop", "bad"), Key::new("shop", "good"));
        let waits: Vec<_> = (0..12).map(|_| backoff.failed(&bad)).collect();
        assert!(waits[4] > waits[0] && waits[11] >= Duration::from_mins(1), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Duration::from_mins(3)), "{waits:?}");
        assert!(backoff.failed(&good) < Duration::from_millis(400));
        backoff.succeeded(&bad);
        assert!(backoff.failed(&bad) < Duration::from_millis(400));
    }
}

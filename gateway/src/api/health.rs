//! `grpc.health.v1`, which follows the replica's readiness.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthApi, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

/// Names that may be asked for: the replica as a whole, and the service of ours that others look for.
const NAMES: [&str; 2] = ["", "portcullis.gateway.v1.Gateway"];

/// Tells the health service what to answer.
pub(crate) struct Health(HealthReporter);

impl Health {
    pub(super) fn new() -> (Self, HealthServer<impl HealthApi>) {
        let (reporter, service) = health_reporter();
        (Self(reporter), service)
    }

    /// Answers `SERVING` or `NOT_SERVING` from now on; whoever watches hears of it.
    pub(crate) async fn set(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            self.0.set_service_status(name, status).await;
        }
    }
}

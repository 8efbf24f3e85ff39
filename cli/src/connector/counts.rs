//! What a connector counts, for Prometheus. Labels come from enums only; a name or a message never becomes one.

use std::sync::Arc;

use http::StatusCode;
use portcullis_protocol::carried::Fault;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// A label's name, and a value of an enum.
type Label = [(&'static str, &'static str); 1];

/// The last one: the endpoint gave no answer.
const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// All counters of a connector.
#[derive(Debug)]
pub(super) struct Counts {
    registry: Registry,
    connections: Gauge,
    reconnects: Counter,
    streams: Gauge,
    requests: [Counter; STATUSES.len()],
    received: Counter,
    sent: Counter,
    errors: Family<Label, Counter>,
    reloads: Family<Label, Counter>,
    certificates: Family<Label, Gauge>,
}

impl Counts {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis_connector");
        let (requests, bytes) = (Family::<Label, Counter>::default(), Family::<Label, Counter>::default());
        let counter =
            |family: &Family<Label, Counter>, label, value| family.get_or_create(&[(label, value)]).clone();
        let counts = Self {
            connections: Gauge::default(),
            reconnects: Counter::default(),
            streams: Gauge::default(),
            requests: STATUSES.map(|status| counter(&requests, "status", status)),
            received: counter(&bytes, "direction", "in"),
            sent: counter(&bytes, "direction", "out"),
            errors: Family::default(),
            reloads: Family::default(),
            certificates: Family::default(),
            registry: Registry::default(),
        };
        // What was never counted begins at 0, so that the first one is seen as an increase.
        for fault in Fault::ALL {
            counter(&counts.errors, "reason", fault.as_str());
        }
        for result in ["ok", "failed"] {
            counter(&counts.reloads, "result", result);
        }
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the program; always 1", info);
        registry.register("connections", "Connections to replicas", counts.connections.clone());
        registry.register(
            "reconnects",
            "Connections that were opened in the place of one that broke",
            counts.reconnects.clone(),
        );
        registry.register("streams", "Requests and streams in flight", counts.streams.clone());
        registry.register(
            "requests",
            "Requests that have ended, by class of the endpoint's status",
            requests,
        );
        registry.register_with_unit(
            "carried",
            "Content that visitors sent (in) and were sent (out)",
            Unit::Bytes,
            bytes,
        );
        registry.register("endpoint_errors", "Requests that no endpoint answered", counts.errors.clone());
        registry.register("reloads", "How often files were read again", counts.reloads.clone());
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the client certificate that is shown expires, in seconds since 1970",
            Unit::Seconds,
            counts.certificates.clone(),
        );
        Self { registry, ..counts }
    }

    /// As `/metrics` has it.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(super) fn connected(&self, again: bool) {
        self.connections.inc();
        if again {
            self.reconnects.inc();
        }
    }

    pub(super) fn lost(&self) {
        self.connections.dec();
    }

    pub(super) fn failed(&self, fault: Fault) {
        self.errors.get_or_create(&[("reason", fault.as_str())]).inc();
    }

    pub(super) fn reloaded(&self, well: bool) {
        self.reloads.get_or_create(&[("result", if well { "ok" } else { "failed" })]).inc();
    }

    /// A client certificate is shown that ends then, in seconds since 1970, or none.
    pub(super) fn shows(&self, ends: Option<i64>) {
        let label = [("of", "client")];
        match ends {
            Some(ends) => {
                self.certificates.get_or_create(&label).set(ends);
            }
            None => {
                self.certificates.remove(&label);
            }
        }
    }
}

/// A request in flight that is counted, until dropped.
#[derive(Debug)]
pub(super) struct Counted {
    counts: Arc<Counts>,
    status: Option<StatusCode>,
}

impl Counted {
    pub(super) fn begin(counts: &Arc<Counts>) -> Self {
        counts.streams.inc();
        Self { counts: Arc::clone(counts), status: None }
    }

    /// The endpoint has answered.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Counts what the visitor sends.
    pub(super) fn received(&self) -> Counter {
        self.counts.received.clone()
    }

    /// Counts what the visitor is sent.
    pub(super) fn sent(&self) -> &Counter {
        &self.counts.sent
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.streams.dec();
        let class = self.status.map_or(STATUSES.len() - 1, |status| usize::from(status.as_u16() / 100) - 1);
        if let Some(requests) = self.counts.requests.get(class) {
            requests.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_at_its_end_by_what_the_endpoint_answered() {
        let counts = Arc::new(Counts::new());
        let mut one = Counted::begin(&counts);
        one.answered(StatusCode::NOT_FOUND);
        one.received().inc_by(3);
        let other = Counted::begin(&counts);
        assert!(counts.render().contains("portcullis_connector_streams 2\n"), "{}", counts.render());
        drop((one, other));
        counts.failed(Fault::Untrusted);
        let text = counts.render();
        for line in [
            "portcullis_connector_streams 0",
            "portcullis_connector_requests_total{status=\"4xx\"} 1",
            "portcullis_connector_requests_total{status=\"none\"} 1",
            "portcullis_connector_requests_total{status=\"2xx\"} 0",
            "portcullis_connector_carried_bytes_total{direction=\"in\"} 3",
            "portcullis_connector_endpoint_errors_total{reason=\"untrusted\"} 1",
            "portcullis_connector_endpoint_errors_total{reason=\"broken\"} 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn where_no_certificate_is_shown_none_expires() {
        let counts = Counts::new();
        counts.shows(Some(1_700_000_000));
        assert!(counts.render().contains("expiry_timestamp_seconds{of=\"client\"} 1700000000\n"));
        counts.shows(None);
        assert!(!counts.render().contains("expiry_timestamp_seconds{"));
    }
}

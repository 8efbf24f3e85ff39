//! Traces by OTLP: of requests, hop by hop, and of the operator's visits. Off unless the environment says where to.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` turns them on; the other variables of OpenTelemetry are heeded too (sampler, service name,
//! resource attributes, header fields). A trace that a caller began is continued, by W3C's `traceparent`. Nothing of a
//! query, of a header field or of a body is ever in a span.
//!
//! What must not live here: what the hops are called and where they begin; their rooms say that.

mod carried;
mod span;

use std::env;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use carried::trace_id;
pub use span::{Span, serve, work};

/// Where spans go to by gRPC.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long what is still to be delivered may take at the end.
const LAST: Duration = Duration::from_secs(3);

static TRACING: OnceLock<Tracing> = OnceLock::new();

/// What traces, once it was installed.
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Why there will be no traces.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to prepare traces for {ENDPOINT}: write http://HOST:4317, where a collector takes OTLP by gRPC"
)]
pub struct Error(#[from] ExporterBuildError);

/// Begins to trace where the environment says so; whether it does. To be called within a Tokio runtime, once.
///
/// # Errors
/// Where the address cannot be used. That nobody answers there is no error: spans are dropped then.
pub fn install(service: &'static str) -> Result<bool, Error> {
    let is_set = |name: &str| env::var(name).is_ok_and(|value| !value.is_empty());
    let is_wanted = is_set(ENDPOINT) || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let is_off = env::var("OTEL_SDK_DISABLED").is_ok_and(|it| it.eq_ignore_ascii_case("true"));
    if !is_wanted || is_off {
        return Ok(false);
    }
    begin(service, SpanExporter::builder().with_tonic().build()?);
    Ok(true)
}

/// Traces to an address, whatever the environment says: for tests. To be called within a Tokio runtime, once.
///
/// # Errors
/// Where the address cannot be used.
pub fn install_to(endpoint: &str, service: &'static str) -> Result<(), Error> {
    begin(service, SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?);
    Ok(())
}

fn begin(service: &'static str, exporter: SpanExporter) {
    let mut resource = Resource::builder();
    if env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(service);
    }
    let provider =
        SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build();
    let tracer = provider.tracer("portcullis");
    // Whoever came first traces.
    drop(TRACING.set(Tracing { provider, tracer }));
}

/// Delivers what is still to be delivered, for as long as that may take.
pub async fn finish() {
    let Some(tracing) = TRACING.get() else { return };
    let provider = tracing.provider.clone();
    // It waits for a thread of its own, which waits for this runtime.
    let done = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST)).await;
    if !matches!(done, Ok(Ok(()))) {
        tracing::debug!("the last spans of the traces were not delivered");
    }
}

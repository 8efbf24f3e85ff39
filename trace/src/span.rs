//! A span: something that took time, and what came of it. Where nothing is traced, it is nothing.

use http::{Request, StatusCode, header};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::TRACING;
use crate::carried::{Read, Write};

/// It ends when it is dropped.
#[derive(Debug, Default)]
#[must_use]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

/// A request arrives at a hop of this name. What is sent on tells the next hop whose child it is.
pub fn serve<B>(request: &mut Request<B>, name: &'static str) -> Span {
    let Some(tracing) = TRACING.get() else { return Span::default() };
    let propagator = TraceContextPropagator::new();
    let caller = propagator.extract_with_context(&Context::new(), &Read(request.headers()));
    let uri = request.uri();
    let named = request.headers().get(header::HOST).and_then(|it| it.to_str().ok());
    let attributes = [
        KeyValue::new("http.request.method", request.method().as_str().to_owned()),
        KeyValue::new("url.path", uri.path().to_owned()),
        KeyValue::new("server.address", uri.host().or(named).unwrap_or_default().to_owned()),
    ];
    let span = tracing.tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
    let span = tracing.tracer.build_with_context(span, &caller);
    let ours = caller.with_remote_span_context(span.span_context().clone());
    propagator.inject_context(&ours, &mut Write(request.headers_mut()));
    Span(Some(Box::new(span)))
}

/// Work of ours that nobody asked for by a request, and what it is about.
pub fn work(name: &'static str, about: &[(&'static str, String)]) -> Span {
    let Some(tracing) = TRACING.get() else { return Span::default() };
    let attributes = about.iter().map(|(key, value)| KeyValue::new(*key, value.clone()));
    let span = tracing.tracer.span_builder(name).with_kind(SpanKind::Internal).with_attributes(attributes);
    Span(Some(Box::new(tracing.tracer.build_with_context(span, &Context::new()))))
}

impl Span {
    /// Something more that is known of it.
    pub fn set(&mut self, key: &'static str, value: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// What the request was answered with; None: nobody answered.
    pub fn answered(&mut self, status: Option<StatusCode>) {
        let Some(span) = &mut self.0 else { return };
        match status {
            Some(status) => {
                span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                if status.is_server_error() {
                    span.set_status(Status::error(""));
                }
            }
            None => span.set_status(Status::error("no answer")),
        }
    }

    /// It came to nothing.
    pub fn failed(&mut self, reason: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", reason));
            span.set_status(Status::error(reason));
        }
    }
}

//! A span: something that took time, and what came of it. Where nothing is traced, it is nothing.

use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::TRACING;
use crate::carried::{Read, Write};

/// It ends when it is dropped.
#[derive(Debug, Default)]
#[must_use]
pub struct Span(Option<Box<Open>>);

/// One that is traced.
#[derive(Debug)]
struct Open {
    span: opentelemetry_sdk::trace::Span,
    /// Of the answer's body, once there is one.
    body: Option<Carried>,
}

/// What went out of an answer's body so far.
#[derive(Debug, Default)]
struct Carried {
    bytes: u64,
    /// How many there are to be, where that was said.
    exact: Option<u64>,
    end: Option<End>,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All of it went out.
    Whole,
    /// Where it came from, it broke off.
    Broken,
    /// Nobody wanted more of it.
    Abandoned,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Broken => "broken",
            Self::Abandoned => "abandoned",
        }
    }
}

impl From<opentelemetry_sdk::trace::Span> for Span {
    fn from(span: opentelemetry_sdk::trace::Span) -> Self {
        Self(Some(Box::new(Open { span, body: None })))
    }
}

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
    span.into()
}

/// Work of ours that nobody asked for by a request, and what it is about.
pub fn work(name: &'static str, about: &[(&'static str, String)]) -> Span {
    let Some(tracing) = TRACING.get() else { return Span::default() };
    let attributes = about.iter().map(|(key, value)| KeyValue::new(*key, value.clone()));
    let span = tracing.tracer.span_builder(name).with_kind(SpanKind::Internal).with_attributes(attributes);
    tracing.tracer.build_with_context(span, &Context::new()).into()
}

impl Span {
    /// Something more that is known of it.
    pub fn set(&mut self, key: &'static str, value: &'static str) {
        if let Some(Open { span, .. }) = self.0.as_deref_mut() {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// What the request was answered with; None: nobody answered. From now on it lasts as long as the answer's body, which
    /// says of itself what becomes of it ([`Span::carried`]).
    pub fn answered<B: Body>(&mut self, response: Option<&Response<B>>) {
        let Some(Open { span, body }) = self.0.as_deref_mut() else { return };
        let Some(response) = response else { return span.set_status(Status::error("no answer")) };
        let status = response.status();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        // A change of protocol has no body: what follows is another thing.
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let end = response.body().is_end_stream().then_some(End::Whole);
            *body = Some(Carried { bytes: 0, exact: response.body().size_hint().exact(), end });
        }
    }

    /// What the body said when it was asked for more, and whether that was the last of it.
    pub fn carried<E>(
        &mut self,
        polled: &Poll<Option<Result<Frame<Bytes>, E>>>,
        is_end: impl FnOnce() -> bool,
    ) {
        let Some(body) = self.0.as_deref_mut().and_then(|open| open.body.as_mut()) else { return };
        match polled {
            Poll::Pending => {}
            Poll::Ready(None) => body.end = Some(End::Whole),
            Poll::Ready(Some(Err(_))) => body.end = Some(End::Broken),
            Poll::Ready(Some(Ok(frame))) => {
                body.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                // Whoever sends it need not ask again once it has all.
                if frame.is_trailers() || body.exact == Some(body.bytes) || is_end() {
                    body.end = Some(End::Whole);
                }
            }
        }
    }

    /// It came to nothing.
    pub fn failed(&mut self, reason: &'static str) {
        if let Some(Open { span, .. }) = self.0.as_deref_mut() {
            span.set_attribute(KeyValue::new("error.type", reason));
            span.set_status(Status::error(reason));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(body) = &self.body else { return };
        let end = body.end.unwrap_or(End::Abandoned);
        let bytes = i64::try_from(body.bytes).unwrap_or(i64::MAX);
        self.span.set_attribute(KeyValue::new("http.response.body.size", bytes));
        self.span.set_attribute(KeyValue::new("portcullis.body", end.as_str()));
        if end == End::Broken {
            self.span.set_attribute(KeyValue::new("error.type", "body"));
            self.span.set_status(Status::error("the body broke off"));
        }
    }
}

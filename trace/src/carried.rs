//! W3C trace context in header fields.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector};

const TRACEPARENT: &str = "traceparent";

/// Header fields, read.
pub(crate) struct Read<'a>(pub(crate) &'a HeaderMap);

impl Extractor for Read<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Header fields, written.
pub(crate) struct Write<'a>(pub(crate) &'a mut HeaderMap);

impl Injector for Write<'_> {
    fn set(&mut self, key: &str, value: String) {
        let (Ok(name), Ok(field)) = (HeaderName::try_from(key), HeaderValue::try_from(&value)) else {
            return;
        };
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name, field);
        }
    }
}

/// The trace that a request belongs to: 32 lower-case hexadecimal digits, whoever began it.
pub fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut parts = headers.get(TRACEPARENT)?.to_str().ok()?.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    let is_one = version.len() == 2 && trace.len() == 32 && hex(trace) && trace.bytes().any(|it| it != b'0');
    is_one.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_one_only_where_it_is_written_as_the_standard_has_it() {
        let of = |value: &'static str| {
            let headers = [(HeaderName::from_static(TRACEPARENT), HeaderValue::from_static(value))];
            trace_id(&headers.into_iter().collect()).map(str::to_owned)
        };
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").as_deref(), Some(trace));
        for bad in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf9-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\"-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(trace_id(&HeaderMap::new()), None);
    }
}

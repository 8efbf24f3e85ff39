//! A line of the log for every request, where `logLevel` is `Debug` or `Trace`: by its id, what was asked, what came of it.
//! Without a query and without header fields, since either may hold what is nobody's business.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use tokio::time::Instant;

use crate::metrics::RouteClass;

/// Where a request's id stands; backends are told it too.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// An id that a caller brings along may be this long.
const LONGEST: usize = 64;
/// The log's name for these lines.
const TARGET: &str = "portcullis_gateway::access";

/// A request that will be logged.
pub(crate) struct Access {
    id: String,
    method: Method,
    host: String,
    path: String,
    version: Version,
    /// The trace that it belongs to, where it does.
    trace_id: Option<String>,
    began: Instant,
}

impl Access {
    /// Of this request, if requests are logged. One without an id of its own is given one.
    pub(crate) fn of<B>(request: &mut Request<B>, began: Instant) -> Option<Self> {
        if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            return None;
        }
        let id = brought(request).unwrap_or_else(fresh);
        if let Ok(value) = HeaderValue::from_str(&id) {
            request.headers_mut().insert(REQUEST_ID, value);
        }
        Some(Self {
            id,
            method: request.method().clone(),
            host: host(request.uri(), request.headers().get(header::HOST)),
            path: request.uri().path().to_owned(),
            version: request.version(),
            trace_id: portcullis_trace::trace_id(request.headers()).map(str::to_owned),
            began,
        })
    }

    /// Logs it, once there is an answer's header.
    pub(crate) fn answered(self, peer: &dyn std::fmt::Display, route: RouteClass, status: StatusCode) {
        let Self { id, method, host, path, version, trace_id, began } = self;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(
            target: TARGET,
            id, %peer, %method, host, path, ?version, route = route.as_str(), status = status.as_u16(), took_ms,
            trace_id,
            "request"
        );
    }
}

/// The id that the caller, or a proxy before us, gave it; if it is one that a log may be searched for.
fn brought<B>(request: &Request<B>) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    (!id.is_empty() && id.len() <= LONGEST && id.bytes().all(plain)).then(|| id.to_owned())
}

fn fresh() -> String {
    rand::random::<[u8; 16]>().iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn host(uri: &Uri, field: Option<&HeaderValue>) -> String {
    let field = || field.and_then(|it| it.to_str().ok());
    uri.host().or_else(field).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_only_where_it_is_plain() {
        let of = |id: &str| brought(&Request::builder().header(REQUEST_ID, id).body(()).unwrap());
        assert_eq!(of("a1-B_2.c"), Some("a1-B_2.c".to_owned()));
        for bad in ["", "a b", "a\"b", "\u{e9}", &"x".repeat(LONGEST + 1)] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_ne!(fresh(), fresh());
        assert_eq!(fresh().len(), 32);
    }

    #[test]
    fn nothing_is_done_where_nobody_reads_it() {
        let mut request = Request::builder().uri("/a?secret").body(()).unwrap();
        let nobody = tracing::subscriber::NoSubscriber::new();
        let access = tracing::subscriber::with_default(nobody, || Access::of(&mut request, Instant::now()));
        assert!(access.is_none() && request.headers().is_empty());
    }
}

//! What went wrong, said to whoever asked in the way that they read: a gRPC status, a page, or RFC 9457 JSON.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use tonic::Code;

use crate::auth::Missing;
use crate::body::Body;
use crate::tunnel::TunnelFault;

/// Why a request was not answered by what it was meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The caller is not let in. Why is counted and logged, not told.
    Denied,
    /// Nobody is known: nothing was shown, or a token that is not believed. Why is counted and logged, not told.
    Unauthenticated { shown: bool },
    /// A token cannot be looked into, since the keys of its issuer are not there.
    Unverifiable,
    /// It is known who asks, and that is not enough.
    Forbidden { missing: Missing },
    /// The connection comes from elsewhere than the trusted proxy.
    UntrustedPeer,
    /// A login needs the edge's token, and there is none.
    NoToken,
    /// There is no such method in our own services.
    NoMethod,
    /// The page knows other HTTP methods.
    MethodNotAllowed,
    /// There is no configuration yet.
    NotReady,
    /// No backend matches.
    NoRoute,
    /// More or larger header fields than are read.
    HeaderTooLarge,
    /// Not a request that can be served.
    Malformed(&'static str),
    /// The backend's target does not exist.
    Unresolved { backend: Arc<str>, reason: String },
    /// No connection to the backend.
    Unreachable { backend: Arc<str>, reason: String },
    /// The connection took longer than it may.
    ConnectTimeout { backend: Arc<str> },
    /// The response's header took longer than it may.
    HeaderTimeout { backend: Arc<str> },
    /// The backend closed, reset or spoke nonsense before its response's header was complete.
    Broken { backend: Arc<str>, reason: String },
    /// The backend's protocol knows no upgrades.
    NoUpgrade { backend: Arc<str> },
    /// The connection was opened for names of another kind.
    Misdirected,
    /// A visitor of a tunnel.
    Tunnel(TunnelFault),
}

impl From<TunnelFault> for Fault {
    fn from(fault: TunnelFault) -> Self {
        Self::Tunnel(fault)
    }
}

/// What a caller reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Grpc,
    Page,
    Problem,
}

impl Dialect {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        if is_grpc(headers) && request.version() == Version::HTTP_2 {
            Self::Grpc
        } else if headers.get_all(header::ACCEPT).iter().any(wants_html) {
            Self::Page
        } else {
            Self::Problem
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn wants_html(accept: &HeaderValue) -> bool {
    accept.to_str().is_ok_and(|accept| accept.contains("text/html"))
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Self::Denied | Self::Forbidden { .. } | Self::UntrustedPeer | Self::NoToken => {
                StatusCode::FORBIDDEN
            }
            Self::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
            Self::NotReady | Self::Unverifiable | Self::Unresolved { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoRoute | Self::NoMethod => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unreachable { .. } | Self::Broken { .. } => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout { .. } | Self::HeaderTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::NoUpgrade { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Tunnel(fault) => fault.status(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Denied | Self::Forbidden { .. } | Self::UntrustedPeer | Self::NoToken => {
                Code::PermissionDenied
            }
            Self::Unauthenticated { .. } => Code::Unauthenticated,
            Self::NoRoute | Self::NoMethod | Self::MethodNotAllowed | Self::NoUpgrade { .. } => {
                Code::Unimplemented
            }
            Self::HeaderTooLarge => Code::ResourceExhausted,
            Self::Malformed(_) | Self::Misdirected => Code::InvalidArgument,
            Self::Tunnel(fault) => fault.code(),
            Self::HeaderTimeout { .. } => Code::DeadlineExceeded,
            Self::NotReady
            | Self::Unverifiable
            | Self::Unresolved { .. }
            | Self::Unreachable { .. }
            | Self::ConnectTimeout { .. }
            | Self::Broken { .. } => Code::Unavailable,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Denied => "This certificate does not open this gateway",
            Self::Unauthenticated { shown: false } => "Say who you are",
            Self::Unauthenticated { shown: true } => "This token does not open this gateway",
            Self::Unverifiable => "Tokens cannot be verified at the moment",
            Self::Forbidden { .. } => "You may not do this",
            Self::UntrustedPeer => "This gateway answers its trusted proxy",
            Self::NoToken => "There is nothing to hand over",
            Self::NoMethod => "There is no such method",
            Self::MethodNotAllowed => "This page is not asked like that",
            Self::NotReady => "The gateway is not ready",
            Self::NoRoute => "No backend serves this path",
            Self::HeaderTooLarge => "The request's header is too large",
            Self::Malformed(_) => "The request cannot be served",
            Self::Unresolved { .. } => "The backend does not exist",
            Self::Unreachable { .. } => "The backend cannot be reached",
            Self::ConnectTimeout { .. } => "The backend does not accept connections",
            Self::HeaderTimeout { .. } => "The backend does not answer",
            Self::Broken { .. } => "The backend broke off",
            Self::NoUpgrade { .. } => "The backend cannot be upgraded to",
            Self::Misdirected => "This connection is for another host",
            Self::Tunnel(fault) => fault.title(),
        }
    }

    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Denied => {
                "The client certificate is not, or no longer, that of a client of this gateway.".into()
            }
            Self::Unauthenticated { shown: false } => {
                "Show a client certificate of this gateway, or a bearer token; a browser signs in at the edge in front.".into()
            }
            Self::Unauthenticated { shown: true } => {
                "It has expired, or is not meant for this gateway. Sign in again.".into()
            }
            Self::Unverifiable => {
                "The keys of the token's issuer could not be fetched yet. Try again in a moment; an admin finds the cause in the Gateway's condition OIDCDiscovered.".into()
            }
            Self::Forbidden { missing } => format!("What you have shown lacks {missing}."),
            Self::UntrustedPeer => "Connect to the proxy in front of it.".into(),
            Self::NoToken => "This page hands an edge's token to a program; you came here without one.".into(),
            Self::NoMethod => "None of the gateway's own services has this method.".into(),
            Self::MethodNotAllowed => "Open the address that the program shows, in a browser.".into(),
            Self::NotReady => "No configuration has been loaded yet.".into(),
            Self::NoRoute => "None of the gateway's backends matches the path.".into(),
            Self::HeaderTooLarge => "Send fewer or smaller header fields.".into(),
            Self::Malformed(why) => (*why).into(),
            Self::Unresolved { backend, reason }
            | Self::Unreachable { backend, reason }
            | Self::Broken { backend, reason } => format!("backend {backend}: {reason}"),
            Self::ConnectTimeout { backend } => {
                format!("backend {backend}: no connection within its connect timeout")
            }
            Self::HeaderTimeout { backend } => {
                format!("backend {backend}: no response header within its request timeout")
            }
            Self::Misdirected => "Open a new connection for this host: which door a connection comes in by is decided by the name that it was opened for.".into(),
            Self::Tunnel(fault) => fault.detail(),
            Self::NoUpgrade { backend } => {
                format!("backend {backend}: WebSocket and other upgrades need a backend of protocol HTTP1")
            }
        }
    }

    fn backend(&self) -> Option<&str> {
        match self {
            Self::Denied
            | Self::Unauthenticated { .. }
            | Self::Unverifiable
            | Self::Forbidden { .. }
            | Self::UntrustedPeer
            | Self::NoToken
            | Self::NoMethod
            | Self::MethodNotAllowed
            | Self::NotReady
            | Self::NoRoute
            | Self::HeaderTooLarge
            | Self::Misdirected
            | Self::Tunnel(_)
            | Self::Malformed(_) => None,
            Self::Unresolved { backend, .. }
            | Self::Unreachable { backend, .. }
            | Self::ConnectTimeout { backend }
            | Self::HeaderTimeout { backend }
            | Self::Broken { backend, .. }
            | Self::NoUpgrade { backend } => Some(backend),
        }
    }

    /// The answer in the caller's dialect.
    pub(crate) fn into_response(self, dialect: Dialect) -> Response<Body> {
        tracing::debug!(fault = ?self, "request failed");
        match dialect {
            Dialect::Grpc => self.grpc(),
            Dialect::Page => self.answer("text/html; charset=utf-8", self.page()),
            Dialect::Problem => self.answer("application/problem+json", self.problem()),
        }
    }

    /// A response of trailers only.
    fn grpc(&self) -> Response<Body> {
        let message = format!("{}: {}", self.title(), self.detail());
        tonic::Status::new(self.code(), message).into_http::<tonic::body::Body>().map(|_| Body::empty())
    }

    fn answer(&self, content_type: &'static str, text: String) -> Response<Body> {
        let mut response = Response::new(Body::from(Bytes::from(text)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        // RFC 6750, 3: what there is to show, and whether it was.
        match self {
            Self::Unauthenticated { shown: false } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Unauthenticated { shown: true } => {
                let invalid = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, invalid);
            }
            Self::Forbidden { missing: Missing::Scope(scope) } => {
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
                headers
                    .extend(HeaderValue::try_from(challenge).ok().map(|it| (header::WWW_AUTHENTICATE, it)));
            }
            Self::Tunnel(fault) => {
                headers.extend(fault.retry_after().map(|seconds| (header::RETRY_AFTER, seconds.into())));
            }
            Self::Unverifiable | Self::NotReady => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if content_type.starts_with("text/html") {
            headers.insert(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
            );
        }
        response
    }

    /// Where it broke.
    pub(crate) fn hop(&self) -> &'static str {
        match self {
            Self::Tunnel(fault) => fault.hop(),
            _ if self.backend().is_some() => "backend",
            _ => "gateway",
        }
    }

    fn problem(&self) -> String {
        let hop = self.hop();
        let mut problem = serde_json::json!({
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.detail(),
            "hop": hop,
        });
        if let Some(backend) = self.backend() {
            problem["backend"] = backend.into();
        }
        problem.to_string()
    }

    fn page(&self) -> String {
        let (status, title, detail) = (self.status(), self.title(), escape(&self.detail()));
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
             <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}}\
             small{{color:#666}}</style>\n<h1>{title}</h1>\n<p>{detail}</p>\n<p><small>{status}</small></p>\n"
        )
    }
}

/// For HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn broken() -> Fault {
        Fault::Broken { backend: "api".into(), reason: "<reset>".to_owned() }
    }

    fn dialect(version: Version, fields: &[(&'static str, &'static str)]) -> Dialect {
        let mut request = Request::builder().version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Dialect::of(&request.body(()).unwrap())
    }

    #[test]
    fn callers_are_answered_in_their_dialect() {
        assert_eq!(dialect(Version::HTTP_2, &[("content-type", "application/grpc")]), Dialect::Grpc);
        assert_eq!(dialect(Version::HTTP_2, &[("content-type", "application/grpc+proto")]), Dialect::Grpc);
        assert_eq!(dialect(Version::HTTP_2, &[("content-type", "application/grpc-web")]), Dialect::Problem);
        assert_eq!(dialect(Version::HTTP_11, &[("accept", "text/html,*/*")]), Dialect::Page);
        assert_eq!(dialect(Version::HTTP_11, &[("accept", "*/*")]), Dialect::Problem);
    }

    #[tokio::test]
    async fn json_names_the_hop_and_the_backend() {
        let response = broken().into_response(Dialect::Problem);
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            problem,
            serde_json::json!({
                "title": "The backend broke off",
                "status": 502,
                "detail": "backend api: <reset>",
                "hop": "backend",
                "backend": "api",
            })
        );
    }

    #[tokio::test]
    async fn the_page_is_html_and_escapes_what_it_quotes() {
        let response = broken().into_response(Dialect::Page);
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let page = std::str::from_utf8(&body).unwrap();
        assert!(page.contains("<h1>The backend broke off</h1>") && page.contains("&lt;reset&gt;"), "{page}");
    }

    #[test]
    fn grpc_callers_get_a_status_in_a_response_of_trailers_only() {
        let response = broken().into_response(Dialect::Grpc);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], "14");
        assert!(http_body::Body::is_end_stream(response.body()));
    }

    #[tokio::test]
    async fn a_denied_caller_is_not_told_why() {
        let body =
            Fault::Denied.into_response(Dialect::Problem).into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(!text.contains("unknown_client") && !text.contains("expired"), "{text}");
    }
}

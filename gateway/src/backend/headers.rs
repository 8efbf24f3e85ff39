//! Header hygiene: what callers may not claim is taken away on every way in, trailers and gRPC metadata included, and
//! what the gateway knows is set anew. What belongs to one hop stays on it.

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Uri, Version, request};
use portcullis_contract::snapshot::Protocol;

use crate::auth::Principal;
use crate::listener::Origin;

const USER: HeaderName = HeaderName::from_static("x-portcullis-user");
const ROLES: HeaderName = HeaderName::from_static("x-portcullis-roles");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Beginnings of names that speak of identity or forwarding.
const RESERVED_PREFIXES: [&str; 9] = [
    // What gateway and connector tell each other (`portcullis_protocol::carried`).
    "portcullis-",
    "x-portcullis-",
    "x-forwarded",
    "x-client-cert",
    "x-ssl-client",
    "x-auth-request-",
    "x-remote-",
    "client-cert",
    "x-original-forwarded-",
];

/// Whole names that do.
const RESERVED_NAMES: [&str; 7] = [
    "forwarded",
    "x-real-ip",
    "remote-user",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
];

/// What belongs to one hop (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the gateway tells a backend of a request.
pub(super) struct Outgoing<'a> {
    pub(super) protocol: Protocol,
    /// None: nobody is known, and the backend is told of nobody.
    pub(super) principal: Option<&'a Principal>,
    pub(super) origin: &'a Origin,
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) certificate: Option<HeaderValue>,
}

/// Whether a caller may not send this name. An underscore reads as a hyphen to many servers, and so it does here.
fn is_reserved(name: &str) -> bool {
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'c' | b'r' | b't' | b'p')) {
        return false;
    }
    RESERVED_PREFIXES.iter().any(|prefix| aliases(name, prefix, false))
        || RESERVED_NAMES.iter().any(|reserved| aliases(name, reserved, true))
}

fn aliases(name: &str, reserved: &str, whole: bool) -> bool {
    (if whole { name.len() == reserved.len() } else { name.len() >= reserved.len() })
        && name.bytes().zip(reserved.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
}

/// Takes away what callers may not claim.
pub(super) fn strip(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_reserved(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// Makes a caller's header one that a backend may trust.
pub(super) fn clean_request(headers: &mut HeaderMap, outgoing: Outgoing<'_>) {
    let trailers = headers.get_all(header::TE).iter().any(|te| lists(te, "trailers"));
    remove_hop_by_hop(headers);
    strip(headers);
    match outgoing.protocol {
        Protocol::Http1 => {
            join_cookies(headers);
            if trailers {
                headers.insert(header::TE, TRAILERS);
                headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
            }
        }
        Protocol::H2c if trailers => {
            headers.insert(header::TE, TRAILERS);
        }
        Protocol::H2c => {}
    }
    if let Some(principal) = outgoing.principal {
        headers.insert(USER, principal.user_header.clone());
        headers.insert(ROLES, principal.roles_header.clone());
    }
    headers.insert(FORWARDED_FOR, outgoing.origin.address.clone());
    headers.insert(FORWARDED_PROTO, outgoing.origin.scheme.clone());
    if let Some(host) = outgoing.host {
        headers.insert(FORWARDED_HOST, host.clone());
    }
    if let Some(certificate) = outgoing.certificate {
        headers.insert(CLIENT_CERT, certificate);
    }
}

/// Takes away what the backend said to us alone.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let listed: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|token| HeaderName::from_bytes(token.trim().as_bytes()).ok())
            .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::CONTENT_TYPE))
            .collect();
        for name in listed {
            headers.remove(name);
        }
    }
    // A look along the few names there are is cheaper than seven look-ups.
    if headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

/// HTTP/2 splits cookies into fields; HTTP/1.1 knows one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if let Entry::Occupied(mut cookies) = headers.entry(header::COOKIE)
        && cookies.iter().nth(1).is_some()
    {
        let parts: Vec<&[u8]> = cookies.iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
            cookies.insert(joined);
        }
    }
}

/// Whether a list of tokens has this one.
pub(super) fn lists(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The host that the caller asked for, as it was sent: `:authority`, or the URI's, or `Host`. `None` where it cannot
/// be one; `Some(None)` where there is none, which HTTP/1.0 allows.
#[expect(clippy::option_option, reason = "absent and wrong are not the same")]
pub(super) fn host(parts: &mut request::Parts) -> Option<Option<HeaderValue>> {
    let sent = parts.headers.remove(header::HOST);
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok().map(Some),
        None if sent.is_none() && parts.version == Version::HTTP_2 => None,
        None => match sent {
            Some(host) if Authority::try_from(host.as_bytes()).is_err() => None,
            sent => Some(sent),
        },
    }
}

/// Path and query alone.
pub(super) fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

/// The URI of a request to an h2c backend, whose `:authority` is the host that the caller asked for.
pub(super) fn absolute_form(host: &HeaderValue, uri: &Uri) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    parts.path_and_query =
        Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        fields.iter().map(field).collect()
    }

    #[test]
    fn names_that_only_look_alike_are_kept() {
        for name in [
            "x-portcullis",
            "x-forward",
            "forwarded-by",
            "remote-user-id",
            "client-certificate-x",
            "x-real-ip-x",
        ] {
            let kept = !name.starts_with("client-cert");
            assert_eq!(!is_reserved(name), kept, "{name}");
        }
    }

    #[test]
    fn what_connection_lists_goes_but_not_what_frames_the_message() {
        let mut fields = headers(&[
            ("connection", "close, x-hop, content-length, host"),
            ("x-hop", "1"),
            ("content-length", "5"),
            ("upgrade", "websocket"),
            ("x-kept", "1"),
        ]);
        remove_hop_by_hop(&mut fields);
        assert_eq!(fields, headers(&[("content-length", "5"), ("x-kept", "1")]));
    }

    proptest! {
        #[test]
        fn after_stripping_no_spelling_of_a_reserved_name_is_left(
            names in proptest::collection::vec("(x[-_]portcullis[-_]|x[-_]forwarded|client[-_]cert|x[-_]remote[-_]|remote[-_]user|forwarded|[a-z]{1,3}[-_])[-_a-z]{0,6}", 0..12),
        ) {
            let mut fields = HeaderMap::new();
            for name in &names {
                fields.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("1"));
            }
            let before = fields.clone();
            strip(&mut fields);
            for name in before.keys() {
                let plain = name.as_str().replace('_', "-");
                let reserved = RESERVED_PREFIXES.iter().any(|prefix| plain.starts_with(prefix))
                    || RESERVED_NAMES.contains(&plain.as_str());
                prop_assert_eq!(fields.contains_key(name), !reserved, "{}", name);
            }
        }
    }
}

//! The tokens that a request carries, before anybody looks into them. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use portcullis_contract::snapshot::Mode;

use crate::config::Config;

/// The tokens of a request. What does not count under the configuration is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) bearer: Option<Text>,
    pub(crate) edge: Option<Text>,
}

/// A token, or what stands in its place: more than one, or no text.
pub(crate) type Text = Result<HeaderValue, Unreadable>;

/// It cannot be told which token is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Carried {
    /// What these headers carry.
    pub(crate) fn read(headers: &HeaderMap, config: &Config) -> Self {
        let edge = edge_s(headers, config);
        let bearer = config.oidc.as_ref().and_then(|_| bearer(headers));
        // Some edges take their token from programs as a bearer token, and pass it on: the very same, shown twice.
        let bearer = bearer.filter(|bearer| bearer.is_err() || edge.as_ref() != Some(bearer));
        Self { bearer, edge }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bearer.is_none() && self.edge.is_none()
    }

    /// Takes away what has been looked at: a backend gets to know who is asking, and no token to ask others with.
    pub(crate) fn strip(headers: &mut HeaderMap, config: &Config) {
        let edge = edge_s(headers, config);
        if bearer(headers).is_some_and(|bearer| config.oidc.is_some() || edge.as_ref() == Some(&bearer)) {
            headers.remove(header::AUTHORIZATION);
        }
        if let Some(edge) = &config.edge {
            let alike = |name: &&HeaderName| reads_as(name.as_str(), edge.header.as_str());
            while let Some(name) = headers.keys().find(alike).cloned() {
                headers.remove(name);
            }
            remove_cookie(headers, &edge.cookie);
        }
    }
}

/// The token of the edge in front, in its header or else in its cookie.
fn edge_s(headers: &HeaderMap, config: &Config) -> Option<Text> {
    let edge = config.edge.as_ref().filter(|_| config.mode == Mode::Edge)?;
    alone(headers.get_all(&edge.header).iter().cloned()).or_else(|| cookie(headers, &edge.cookie))
}

/// Whether a name is this one to a server that takes an underscore for a hyphen.
fn reads_as(name: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.len() == other.len() && name.bytes().map(plain).eq(other.bytes().map(plain))
}

fn alone(mut values: impl Iterator<Item = HeaderValue>) -> Option<Text> {
    let first = values.next()?;
    Some(if values.next().is_some() { Err(Unreadable) } else { Ok(first) })
}

/// `Authorization: Bearer …`; another scheme is the backend's affair.
fn bearer(headers: &HeaderMap) -> Option<Text> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter().peekable();
    let first = fields.next()?;
    let others = fields.peek().is_some();
    let token = after_scheme(first);
    if others {
        let any = token.is_some() || fields.any(|field| after_scheme(field).is_some());
        return any.then_some(Err(Unreadable));
    }
    Some(HeaderValue::from_bytes(token?).map_err(|_| Unreadable))
}

fn after_scheme(field: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = field.as_bytes().split_at_checked(b"bearer".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && rest.first().is_none_or(|byte| *byte == b' ');
    is_bearer.then(|| rest.trim_ascii())
}

fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let pairs =
        headers.get_all(header::COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<Text> {
    let mut values = cookies(headers, name);
    let first = values.next()?;
    if values.next().is_some() {
        return Some(Err(Unreadable));
    }
    Some(HeaderValue::from_bytes(first).map_err(|_| Unreadable))
}

fn remove_cookie(headers: &mut HeaderMap, name: &str) {
    if cookies(headers, name).next().is_none() {
        return;
    }
    let is_other = |pair: &&[u8]| {
        pair.trim_ascii().strip_prefix(name.as_bytes()).is_none_or(|rest| !rest.starts_with(b"="))
    };
    let kept: Vec<Vec<u8>> = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .filter(is_other)
        .map(|pair| pair.trim_ascii().to_vec())
        .filter(|pair| !pair.is_empty())
        .collect();
    headers.remove(header::COOKIE);
    if let Some(joined) =
        HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|joined| !joined.is_empty())
    {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, config_with, edge, oidc};

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    fn both() -> Config {
        config_with(|it| (it.mode, it.oidc, it.edge) = (Mode::Edge, Some(oidc()), Some(edge())))
    }

    fn text(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn a_bearer_token_is_read_whatever_the_spelling_of_its_scheme() {
        for field in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c "] {
            assert_eq!(
                Carried::read(&headers(&[("authorization", field)]), &both()).bearer,
                Some(Ok(text("a.b.c"))),
                "{field}"
            );
        }
        for field in ["Basic a.b.c", "Bearerx a.b.c", "a.b.c", ""] {
            assert_eq!(Carried::read(&headers(&[("authorization", field)]), &both()).bearer, None, "{field}");
        }
        assert_eq!(
            Carried::read(&headers(&[("authorization", "Bearer")]), &both()).bearer,
            Some(Ok(text(""))),
            "shown, and empty"
        );
    }

    #[test]
    fn two_tokens_of_a_kind_are_none_that_can_be_told() {
        let two = headers(&[("authorization", "Basic x"), ("authorization", "Bearer a")]);
        assert_eq!(Carried::read(&two, &both()).bearer, Some(Err(Unreadable)));
        let two = headers(&[("cf-access-jwt-assertion", "a"), ("cf-access-jwt-assertion", "a")]);
        assert_eq!(Carried::read(&two, &both()).edge, Some(Err(Unreadable)));
        let two = headers(&[("cookie", "CF_Authorization=a; CF_Authorization=b")]);
        assert_eq!(Carried::read(&two, &both()).edge, Some(Err(Unreadable)));
    }

    #[test]
    fn the_edge_s_token_comes_in_its_header_or_else_in_its_cookie() {
        let fields = headers(&[("cookie", "x=1; CF_Authorization=c; y=2"), ("cf-access-jwt-assertion", "h")]);
        assert_eq!(Carried::read(&fields, &both()).edge, Some(Ok(text("h"))));
        let fields = headers(&[("cookie", "x=1;CF_Authorization=c"), ("cookie", "CF_AuthorizationX=d")]);
        assert_eq!(Carried::read(&fields, &both()).edge, Some(Ok(text("c"))));
    }

    #[test]
    fn the_edge_s_token_that_comes_as_a_bearer_token_too_is_the_edge_s_alone() {
        let fields = headers(&[("authorization", "Bearer c"), ("cookie", "CF_Authorization=c")]);
        assert_eq!(Carried::read(&fields, &both()), Carried { bearer: None, edge: Some(Ok(text("c"))) });
        let fields = headers(&[("authorization", "Bearer c"), ("cf-access-jwt-assertion", "h")]);
        assert_eq!(Carried::read(&fields, &both()).bearer, Some(Ok(text("c"))), "another token is looked at");
        let fields = headers(&[
            ("authorization", "Bearer c"),
            ("cookie", "CF_Authorization=c"),
            ("cf-access-jwt-assertion", "h"),
        ]);
        assert_eq!(
            Carried::read(&fields, &both()).bearer,
            Some(Ok(text("c"))),
            "the cookie does not count here"
        );
        let fields = headers(&[
            ("authorization", "Bearer a"),
            ("authorization", "Bearer a"),
            ("cookie", "CF_Authorization=a; CF_Authorization=a"),
        ]);
        assert_eq!(
            Carried::read(&fields, &both()),
            Carried { bearer: Some(Err(Unreadable)), edge: Some(Err(Unreadable)) }
        );
    }

    #[test]
    fn what_the_configuration_does_not_ask_for_does_not_count() {
        let fields = headers(&[("authorization", "Bearer a"), ("cf-access-jwt-assertion", "h")]);
        assert!(Carried::read(&fields, &config()).is_empty());
        let mut other_mode = both();
        other_mode.mode = Mode::MutualTls;
        assert_eq!(Carried::read(&fields, &other_mode).edge, None);
    }

    #[test]
    fn tokens_that_were_looked_at_are_taken_away_and_nothing_else() {
        let mut fields = headers(&[
            ("authorization", "Bearer a"),
            ("cf-access-jwt-assertion", "h"),
            ("cf_access_jwt-assertion", "forged"),
            ("cookie", "x=1; CF_Authorization=c"),
            ("cookie", "y=2"),
        ]);
        Carried::strip(&mut fields, &both());
        assert_eq!(fields, headers(&[("cookie", "x=1; y=2")]));
        let mut fields = headers(&[("authorization", "Basic a"), ("cookie", "CF_Authorization=c")]);
        Carried::strip(&mut fields, &both());
        assert_eq!(fields, headers(&[("authorization", "Basic a")]));
        let mut fields = headers(&[("authorization", "Bearer a")]);
        Carried::strip(&mut fields, &config());
        assert_eq!(fields, headers(&[("authorization", "Bearer a")]), "without oidc it is the backend's");
        let edge_alone = config_with(|it| (it.mode, it.edge) = (Mode::Edge, Some(edge())));
        let mut fields = headers(&[("authorization", "Bearer c"), ("cookie", "CF_Authorization=c")]);
        Carried::strip(&mut fields, &edge_alone);
        assert_eq!(fields, HeaderMap::new(), "the edge's, shown twice");
    }
}

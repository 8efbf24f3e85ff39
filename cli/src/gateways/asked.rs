//! What somebody writes for a gateway: a name or a URL.

use std::str::FromStr;

use http::Uri;

use crate::store::Name;

/// A name that is stored, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// As it is stored.
    Name(Name),
    /// Scheme, host and port.
    Url(Uri),
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return endpoint(text).map(Self::Url);
        }
        text.parse().map(Self::Name).map_err(|error: crate::store::BadName| error.to_string())
    }
}

/// Where a gateway is.
pub(crate) fn endpoint(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "write a URL, such as https://door.example.com".to_owned())?;
    if !matches!(uri.scheme_str(), Some("https" | "http")) || uri.host().is_none_or(str::is_empty) {
        return Err(
            "write https://HOST or https://HOST:PORT (http:// behind a trusted proxy only)".to_owned()
        );
    }
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err("leave the user out: who is asking is never part of the URL".to_owned());
    }
    if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
        return Err("leave the path out: a gateway is a host and a port".to_owned());
    }
    Ok(uri)
}

/// Whether two URLs are of the same host and port.
pub(super) fn is_same(one: &Uri, other: &Uri) -> bool {
    let parts = |uri: &Uri| {
        let (host, port) = crate::line::address(uri);
        (uri.scheme_str().map(str::to_owned), host.trim_end_matches('.').to_ascii_lowercase(), port)
    };
    parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_a_host_and_a_port() {
        for good in
            ["https://door.shop.svc", "https://door.shop.svc:8443/", "http://10.0.0.1:80", "https://[::1]:1"]
        {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "door.shop.svc",
            "ftp://door",
            "https://",
            "https://door/path",
            "https://door/?a",
            "https://a:b@door",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_told_from_a_url() {
        assert!(matches!("shop".parse(), Ok(Asked::Name(_))));
        assert!(matches!("https://shop".parse(), Ok(Asked::Url(_))));
        assert!("Shop".parse::<Asked>().is_err() && "ssh://shop".parse::<Asked>().is_err());
    }

    #[test]
    fn the_same_host_and_port_are_the_same_however_they_are_written() {
        let same = |a: &str, b: &str| is_same(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://door.example.com", "https://DOOR.example.com.:443/"));
        assert!(same("http://door", "http://door:80"));
        assert!(!same("https://door", "http://door:443"));
        assert!(!same("https://door", "https://door:8443"));
    }
}

//! What a connector forwards to, in canonical form: a scheme, a host and a port, such as `http://localhost:8080`. The
//! names of the loopback address are one name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// HTTP/1.1 without TLS.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 without TLS, with prior knowledge: what gRPC servers speak.
    H2c,
    /// Bytes both ways: what they mean is between the visitor and the endpoint.
    Tcp,
}

impl Scheme {
    /// As a URL begins with it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Tcp => "tcp",
        }
    }
}

/// What a connector forwards to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// What it speaks.
    pub scheme: Scheme,
    /// A name in lower case or an address, without brackets. `localhost` for every name of the loopback address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A text that is no endpoint; says what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnEndpoint(String);

impl fmt::Display for NotAnEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no endpoint: write http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or tcp://HOST:PORT, such as http://localhost:8080",
            self.0
        )
    }
}

impl std::error::Error for NotAnEndpoint {}

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        Self::read(text, Scheme::Http)
    }
}

fn read(text: &str, otherwise: Scheme) -> Option<Endpoint> {
    let (scheme, rest) = match text.split_once("://") {
        None => (otherwise, text),
        Some((scheme, rest)) => {
            let schemes = [Scheme::Http, Scheme::Https, Scheme::H2c, Scheme::Tcp];
            (schemes.into_iter().find(|it| scheme.eq_ignore_ascii_case(it.as_str()))?, rest)
        }
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").filter(|(host, _)| host.contains(':'))?,
        None => authority.rsplit_once(':').filter(|(host, _)| !host.contains(':'))?,
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| *port > 0 && is_number)?;
    Some(Endpoint { scheme, host: canonical_host(host)?, port })
}

fn canonical_host(host: &str) -> Option<String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = address.to_canonical();
        return Some(if address.is_loopback() { "localhost".to_owned() } else { address.to_string() });
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let labels_hold = !host.is_empty() && host.split('.').all(|label| !label.is_empty());
    let is_number =
        host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (labels_hold && !is_number && host.len() <= 253 && host.bytes().all(is_plain)).then_some(host)
}

impl Endpoint {
    /// Reads one that has this scheme where none is written.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(text: &str, otherwise: Scheme) -> Result<Self, NotAnEndpoint> {
        read(text, otherwise).ok_or_else(|| NotAnEndpoint(text.to_owned()))
    }

    /// Host and port, as a `Host` header has them.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_endpoint_are_one_value() {
        for (text, endpoint) in [
            ("localhost:8080", "http://localhost:8080"),
            ("http://127.0.0.1:8080/", "http://localhost:8080"),
            ("HTTP://[::1]:8080", "http://localhost:8080"),
            ("http://LocalHost.:8080", "http://localhost:8080"),
            ("http://[::ffff:127.0.0.1]:8080", "http://localhost:8080"),
            ("https://[2001:DB8::1]:443", "https://[2001:db8::1]:443"),
            ("h2c://api.shop.svc:50051", "h2c://api.shop.svc:50051"),
            ("TCP://127.0.0.1:5432", "tcp://localhost:5432"),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|it| it.to_string()).as_deref(), Ok(endpoint), "{text}");
        }
        let raw = |text| Endpoint::read(text, Scheme::Tcp).map(|it| it.to_string());
        assert_eq!(raw("[::1]:5432").as_deref(), Ok("tcp://localhost:5432"));
        assert_eq!(raw("http://db:5432").as_deref(), Ok("http://db:5432"));
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_what_to_write() {
        for text in [
            "",
            "localhost",
            "http://localhost",
            "ftp://localhost:21",
            "http://localhost:0",
            "http://localhost:65536",
            "http://local host:80",
            "http://:80",
            "http://a:b:80",
            "http://[a]:80",
            "http://a:80/path",
            "http://u@a:80",
            "http://1.2.3:80",
            "http://a..b:80",
            "http://a:+80",
            "http://[::1]80",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("http://localhost:8080"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_endpoint_stays_as_it_is(text in "((http|https|h2c|tcp)://)?([a-zA-Z0-9.-]{1,12}|\\[[0-9a-f:]{2,9}\\]):[0-9]{1,5}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint.clone()));
            }
        }
    }
}

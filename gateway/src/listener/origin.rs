//! Where a request comes from: the other end of its connection, or whoever a trusted proxy says it speaks for. The
//! forwarding headers of anybody else are not looked at.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;

use crate::config::Config;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What backends are told of where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// An address.
    pub(crate) address: HeaderValue,
    /// `https` or `http`: what the caller's URL began with.
    pub(crate) scheme: HeaderValue,
    /// The host that the caller asked a proxy for; None: what stands in the request.
    pub(crate) host: Option<HeaderValue>,
}

impl Origin {
    /// Of a connection that speaks for itself.
    pub(crate) fn of(peer: SocketAddr, is_tls: bool) -> Self {
        let scheme = HeaderValue::from_static(if is_tls { "https" } else { "http" });
        Self { address: value(peer.ip()), scheme, host: None }
    }

    /// Of a request on such a connection from a trusted proxy: the last address in its list that is no trusted proxy's.
    pub(crate) fn through(&self, headers: &HeaderMap, config: &Config) -> Self {
        let mut address = None;
        let fields: Vec<&HeaderValue> = headers.get_all(FORWARDED_FOR).iter().collect();
        for entry in fields.iter().rev().flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b',')) {
            // What stands left of an entry that is no address may be anybody's word.
            let Some(hop) = read(entry) else { break };
            address = Some(hop);
            if !config.trusts(hop) {
                break;
            }
        }
        let scheme = headers.get(FORWARDED_PROTO).filter(|it| *it == "https" || *it == "http");
        let host = headers.get(FORWARDED_HOST).filter(|it| Authority::try_from(it.as_bytes()).is_ok());
        Self {
            address: address.map_or_else(|| self.address.clone(), value),
            scheme: scheme.unwrap_or(&self.scheme).clone(),
            host: host.cloned(),
        }
    }
}

fn value(address: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_canonical().to_string())
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// An address, with or without brackets and a port.
fn read(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()));
    address.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config_with;

    fn through(fields: &[(&'static str, &'static str)]) -> Origin {
        let config = config_with(|it| it.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]);
        let headers = fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value)))
            .collect();
        Origin::of("10.0.0.1:1".parse().unwrap(), false).through(&headers, &config)
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_s_counts() {
        for (list, address) in [
            ("192.0.2.7", "192.0.2.7"),
            ("6.6.6.6, 192.0.2.7", "192.0.2.7"),
            ("6.6.6.6, 192.0.2.7, 10.1.1.1", "192.0.2.7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.7:80", "192.0.2.7"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("6.6.6.6, nonsense, 10.1.1.1", "10.1.1.1"),
            ("nonsense", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(through(&[("x-forwarded-for", list)]).address, address, "{list}");
        }
        let two = through(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")]);
        assert_eq!(two.address, "192.0.2.7");
    }

    #[test]
    fn scheme_and_host_are_taken_where_they_are_some() {
        let told = through(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.example.com")]);
        assert_eq!(
            (told.scheme.to_str().unwrap(), told.host.unwrap().to_str().unwrap()),
            ("https", "shop.example.com")
        );
        let told = through(&[("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a b")]);
        assert_eq!((told.scheme.to_str().unwrap(), told.host), ("http", None));
    }
}

//! The names of a leaf in canonical form: what is written into a certificate and compared with a
//! stored one. Who may bear a name is decided elsewhere.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::{Error, LeafFacts, LeafProfile};

/// One subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Dns(String),
    Ip(IpAddr),
    Uri(String),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// The names that a profile asks for, each once, sorted.
pub(crate) fn wanted(profile: &LeafProfile) -> BTreeSet<Name> {
    let dns = profile.dns_names.iter().map(|name| Name::Dns(canonical_dns(name)));
    let ip = profile.ip_addresses.iter().map(|address| Name::Ip(address.to_canonical()));
    let uri = profile.uris.iter().cloned().map(Name::Uri);
    dns.chain(ip).chain(uri).collect()
}

/// The names that a stored leaf bears.
pub(crate) fn borne(facts: &LeafFacts) -> BTreeSet<Name> {
    let dns = facts.dns_names.iter().cloned().map(Name::Dns);
    let ip = facts.ip_addresses.iter().copied().map(Name::Ip);
    let uri = facts.uris.iter().cloned().map(Name::Uri);
    dns.chain(ip).chain(uri).collect()
}

/// Refuses what strict verifiers would refuse in a certificate.
pub(crate) fn check(name: &Name) -> Result<(), Error> {
    match name {
        Name::Dns(name) if !is_dns(name.strip_prefix("*.").unwrap_or(name)) => {
            Err(Error::InvalidName { kind: "DNS name", name: name.clone() })
        }
        Name::Uri(name) if !is_uri(name) => Err(Error::InvalidName { kind: "URI", name: name.clone() }),
        Name::Dns(_) | Name::Ip(_) | Name::Uri(_) => Ok(()),
    }
}

/// Lower case, no trailing dot.
pub(crate) fn canonical_dns(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Letters, digits and inner hyphens; labels of at most 63 bytes, 253 in all (RFC 1123). A name
/// whose last label is all digits is an address in disguise.
pub(crate) fn is_dns(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Scheme, authority, and no byte that RFC 3986 would want escaped.
fn is_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
        && rest.starts_with(|first: char| first.is_ascii_alphanumeric())
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_and_wildcards_are_dns_names_and_nothing_else_is() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        for name in
            ["localhost", "door.demo.svc", "*.example.com", "xn--bcher-kva.example", "0.1.2a", &longest]
        {
            assert!(check(&Name::Dns(name.to_owned())).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "*",
            "*.",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b.c",
            "a.*.c",
            "*a.b",
            "bücher.example",
            "a b",
            "10.0.0.1",
            "A.b",
            &format!("{longest}c"),
            &"a".repeat(64),
        ] {
            let refused = check(&Name::Dns(name.to_owned())).unwrap_err().to_string();
            assert_eq!(refused, format!("failed to issue: {name:?} is not a valid DNS name"));
        }
    }

    #[test]
    fn a_uri_has_a_scheme_an_authority_and_nothing_to_escape() {
        assert!(check(&Name::Uri("spiffe://cluster.local/ns/demo/gateway/door".to_owned())).is_ok());
        for uri in [
            "",
            "spiffe:",
            "spiffe://",
            "spiffe:///ns/a",
            "://a",
            "SPIFFE://a",
            "a://b c",
            "a://ü",
            "a://b\0",
        ] {
            let refused = check(&Name::Uri(uri.to_owned())).unwrap_err().to_string();
            assert_eq!(refused, format!("failed to issue: {uri:?} is not a valid URI"));
        }
    }
}

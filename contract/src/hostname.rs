//! Public host names in canonical form: lower case, ASCII (IDNA), no trailing dot, no port. Two spellings of one name
//! are one value.

use std::fmt;
use std::str::FromStr;

/// The longest name (RFC 1035).
const LONGEST: usize = 253;

/// A host name, or with `*.` before it every name one label below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(String);

/// A text that is no host name; says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAHostname(String);

impl fmt::Display for NotAHostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAHostname {}

impl Hostname {
    /// In canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows `*.`, where it is a wildcard.
    pub fn wildcard_parent(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Whether it is this domain or lies below it.
    pub fn is_within(&self, domain: &Self) -> bool {
        let name = self.wildcard_parent().unwrap_or(&self.0);
        name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Hostname {
    type Err = NotAHostname;

    fn from_str(text: &str) -> Result<Self, NotAHostname> {
        let no = |why: &str| NotAHostname(format!("{text:?} is no host name: {why}"));
        let (wildcard, rest) = match text.strip_prefix("*.") {
            Some(rest) => ("*.", rest),
            None => ("", text),
        };
        let rest = rest.strip_suffix('.').unwrap_or(rest);
        if rest.contains('*') {
            return Err(no("a * stands at its beginning, alone in its label, such as *.example.com"));
        }
        let name = idna::domain_to_ascii_strict(rest).map_err(|_| {
            no("write labels of letters, digits and '-' with dots between them, such as web.example.com")
        })?;
        if name.is_empty() || wildcard.len() + name.len() > LONGEST {
            return Err(no("it has between 1 and 253 characters"));
        }
        if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(no("an address is none; its last label is not a number"));
        }
        Ok(Self(format!("{wildcard}{name}")))
    }
}

/// The name in a `Host` header or `:authority`, in canonical form. None where it is an address or nonsense.
pub fn of_authority(authority: &str) -> Option<Hostname> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    // A visitor asks for a name, not for a pattern.
    host.parse().ok().filter(|name: &Hostname| name.wildcard_parent().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> Result<String, NotAHostname> {
        text.parse::<Hostname>().map(|name| name.to_string())
    }

    #[test]
    fn spellings_of_one_name_are_one_value() {
        for (text, name) in [
            ("web.example.com", "web.example.com"),
            ("WEB.Example.COM.", "web.example.com"),
            ("*.Example.com", "*.example.com"),
            ("bücher.example.com", "xn--bcher-kva.example.com"),
            ("BÜCHER.example.com", "xn--bcher-kva.example.com"),
            ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_what_to_write() {
        for text in [
            "",
            ".",
            "a..b",
            "-a.example.com",
            "a_b.example.com",
            "a b",
            "*",
            "a.*.b",
            "**.b",
            "10.0.0.1",
            "[::1]",
            "a:80",
            "http://a.b",
            "a/b",
            "a\u{0}b",
        ] {
            let error = canonical(text).unwrap_err().to_string();
            assert!(error.contains("is no host name"), "{text}: {error}");
        }
        assert!(canonical(&format!("{}.example.com", "a".repeat(64))).is_err());
    }

    #[test]
    fn an_authority_names_a_host_with_or_without_a_port() {
        let of = |text| of_authority(text).map(|name| name.to_string());
        assert_eq!(of("Web.Example.com:8443").as_deref(), Some("web.example.com"));
        assert_eq!(of("web.example.com.").as_deref(), Some("web.example.com"));
        for text in
            ["", "*.example.com", "10.0.0.1:80", "[::1]:80", "web.example.com:x", "user@web.example.com"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_domain_holds_itself_and_what_is_below_it() {
        let name = |text: &str| text.parse::<Hostname>().unwrap();
        let domain = name("example.com");
        for inside in ["example.com", "a.example.com", "*.example.com", "a.b.example.com"] {
            assert!(name(inside).is_within(&domain), "{inside}");
        }
        for outside in ["badexample.com", "com", "example.com.evil.org", "*.com"] {
            assert!(!name(outside).is_within(&domain), "{outside}");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_name_stays_as_it_is(text in "(\\*\\.)?[a-zA-Z0-9äß-]{1,12}(\\.[a-zA-Z0-9-]{1,8}){0,3}\\.?") {
            if let Ok(name) = text.parse::<Hostname>() {
                prop_assert_eq!(name.as_str().parse::<Hostname>(), Ok(name.clone()));
            }
        }
    }
}

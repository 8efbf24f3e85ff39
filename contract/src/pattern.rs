//! Which URIs of certificates that somebody else has signed are meant: a URI in which `*` stands for one whole segment of
//! the path. Compared byte by byte from its first to its last, in one pass: whatever another reader could take for
//! something else (escapes, dots, empty segments) is meant by none.

use std::fmt;
use std::str::FromStr;

/// Segments of a path at most.
const SEGMENTS: usize = 32;

/// A pattern of URIs, such as `spiffe://corp.example/team/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPattern {
    /// `spiffe://corp.example`: never a pattern.
    origin: String,
    /// None: any.
    segments: Vec<Option<String>>,
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPattern;

impl fmt::Display for NotAPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected scheme://host/path, in which a segment may be *, such as spiffe://corp.example/team/*",
        )
    }
}

impl std::error::Error for NotAPattern {}

impl UriPattern {
    /// Whether it means this URI.
    pub fn means(&self, uri: &str) -> bool {
        let Some((origin, segments)) = split(uri) else { return false };
        origin == self.origin
            && segments.len() == self.segments.len()
            && self.segments.iter().zip(segments).all(|(wanted, segment)| {
                is_plain(segment) && wanted.as_ref().is_none_or(|wanted| wanted == segment)
            })
    }
}

impl FromStr for UriPattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (origin, segments) = split(text).ok_or(NotAPattern)?;
        let segment = |segment: &str| match segment {
            "*" => Ok(None),
            plain if is_plain(plain) => Ok(Some(plain.to_owned())),
            _ => Err(NotAPattern),
        };
        let segments: Vec<_> = segments.into_iter().map(segment).collect::<Result<_, _>>()?;
        if segments.len() > SEGMENTS {
            return Err(NotAPattern);
        }
        Ok(Self { origin: origin.to_owned(), segments })
    }
}

impl fmt::Display for UriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        self.segments.iter().try_for_each(|it| write!(f, "/{}", it.as_deref().unwrap_or("*")))
    }
}

/// `scheme://host`, and the segments of a path that there must be.
fn split(uri: &str) -> Option<(&str, Vec<&str>)> {
    let (scheme, rest) = uri.split_once("://")?;
    let (host, path) = rest.split_once('/')?;
    let is_scheme = scheme.starts_with(|it: char| it.is_ascii_lowercase())
        && scheme.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
    let is_host =
        !host.is_empty() && host.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
    let origin = &uri[..uri.len() - path.len() - 1];
    (is_scheme && is_host).then(|| (origin, path.split('/').take(SEGMENTS + 1).collect()))
}

/// Not empty, no way up, nothing that means something in URIs or is written in two ways.
fn is_plain(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~!$&()+,;=:@-".contains(&byte);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn means(pattern: &str, uri: &str) -> bool {
        pattern.parse::<UriPattern>().unwrap().means(uri)
    }

    #[test]
    fn a_star_stands_for_one_whole_segment_and_all_else_for_itself() {
        let team = "spiffe://corp.example/team/*";
        assert!(means(team, "spiffe://corp.example/team/shop"));
        assert!(means("spiffe://corp.example/*/shop", "spiffe://corp.example/team/shop"));
        for uri in [
            "spiffe://corp.example/team",
            "spiffe://corp.example/team/",
            "spiffe://corp.example/team/shop/admin",
            "spiffe://corp.example/team/shop/",
            "spiffe://corp.example/team/..",
            "spiffe://corp.example/team/a%2Fb",
            "spiffe://corp.example/team/*",
            "spiffe://corp.example/Team/shop",
            "spiffe://corp.example.evil/team/shop",
            "spiffe://CORP.example/team/shop",
            "spiffe://evil/corp.example/team/shop",
            "xspiffe://corp.example/team/shop",
            "spiffe://corp.example/team/shop?x",
            "spiffe://corp.example//team/shop",
            "spiffe://x@corp.example/team/shop",
            "",
        ] {
            assert!(!means(team, uri), "{uri}");
        }
    }

    #[test]
    fn what_could_mean_more_than_it_says_is_no_pattern() {
        for text in [
            "",
            "*",
            "spiffe://corp.example",
            "spiffe://corp.example/",
            "spiffe://*/team/shop",
            "spiffe://*.example/team",
            "spiffe://corp.example/te*m",
            "spiffe://corp.example/**",
            "spiffe://corp.example/../x",
            "spiffe://corp.example/a b",
            "spiffe:/corp.example/a",
        ] {
            assert_eq!(text.parse::<UriPattern>(), Err(NotAPattern), "{text}");
        }
        let long = format!("spiffe://corp.example{}", "/a".repeat(SEGMENTS + 1));
        assert_eq!(long.parse::<UriPattern>(), Err(NotAPattern));
    }

    proptest! {
        #[test]
        fn a_pattern_without_stars_means_itself_alone(
            path in proptest::collection::vec("[A-Za-z0-9._~-]{1,8}", 1..6),
            other in ".{0,60}",
        ) {
            let uri = format!("spiffe://corp.example/{}", path.join("/"));
            let Ok(pattern) = uri.parse::<UriPattern>() else { return Ok(()) };
            prop_assert!(pattern.means(&uri));
            prop_assert_eq!(pattern.to_string(), uri.clone());
            prop_assert_eq!(pattern.means(&other), other == uri);
        }
    }
}

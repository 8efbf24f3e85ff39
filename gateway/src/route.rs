//! Which backend a path goes to: a pure match over an immutable table.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use portcullis_contract::snapshot::Match;

/// Where each path goes. The most specific match wins: a gRPC service, then the longest path prefix.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    services: HashMap<String, usize>,
    /// Without a trailing slash, longest first; `/` is the empty one.
    prefixes: Vec<(String, usize)>,
}

impl Routes {
    /// A table of these matches, each leading to its place in the list.
    pub(crate) fn new<'a>(matches: impl IntoIterator<Item = &'a Match>) -> Result<Self, String> {
        let mut routes = Self::default();
        for (index, matched) in matches.into_iter().enumerate() {
            match matched {
                Match::GrpcService(service) => routes.add_service(service, index)?,
                Match::PathPrefix(prefix) => routes.add_prefix(prefix, index)?,
            }
        }
        routes.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(routes)
    }

    fn add_service(&mut self, service: &str, index: usize) -> Result<(), String> {
        if service.is_empty() || service.contains('/') {
            return Err(format!("`{service}` is no gRPC service"));
        }
        match self.services.entry(service.to_owned()) {
            Entry::Vacant(entry) => entry.insert(index),
            Entry::Occupied(_) => return Err(format!("two backends match the gRPC service {service}")),
        };
        Ok(())
    }

    fn add_prefix(&mut self, prefix: &str, index: usize) -> Result<(), String> {
        if !prefix.starts_with('/') {
            return Err(format!("the path prefix `{prefix}` does not begin with /"));
        }
        let prefix = prefix.trim_end_matches('/');
        if self.prefixes.iter().any(|(other, _)| other == prefix) {
            return Err(format!("two backends match the path prefix `{prefix}/`"));
        }
        self.prefixes.push((prefix.to_owned(), index));
        Ok(())
    }

    /// The backend that gets this path (without query).
    pub(crate) fn find(&self, path: &str) -> Option<usize> {
        let below_root = path.strip_prefix('/')?;
        if let Some((service, _method)) = below_root.split_once('/')
            && let Some(index) = self.services.get(service)
        {
            return Some(*index);
        }
        let hit = self.prefixes.iter().find(|(prefix, _)| covers(prefix, path))?;
        Some(hit.1)
    }
}

/// Whether the path is the prefix or lies below it, by whole segments.
pub(crate) fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a segment of the path is `.` or `..`, written plainly or escaped. A backend that resolves such a segment
/// would serve another path than the one that was matched. Escaped slashes end a segment too: some backends unescape
/// them before they resolve.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    let mut rest = path.as_bytes();
    // How many dots the segment has so far, and nothing else.
    let mut dots = Some(0);
    while let Some((first, after)) = first_unescaped(rest) {
        rest = after;
        match first {
            b'.' => dots = dots.map(|dots: usize| dots.saturating_add(1)),
            // A parameter after the dots (`..;x`) is dropped by some servers.
            b'/' | b'\\' | b';' if matches!(dots, Some(1 | 2)) => return true,
            b'/' | b'\\' => dots = Some(0),
            _ => dots = None,
        }
    }
    matches!(dots, Some(1 | 2))
}

/// The first byte, unescaped once, and what follows it.
fn first_unescaped(text: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, rest @ ..] = text
        && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
        && let Ok(byte) = u8::try_from(high * 16 + low)
    {
        return Some((byte, rest));
    }
    text.split_first().map(|(first, rest)| (*first, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(prefixes: &[&str], services: &[&str]) -> Routes {
        let matches: Vec<Match> = prefixes
            .iter()
            .map(|prefix| Match::PathPrefix((*prefix).to_owned()))
            .chain(services.iter().map(|service| Match::GrpcService((*service).to_owned())))
            .collect();
        Routes::new(&matches).unwrap()
    }

    #[test]
    fn prefixes_match_by_whole_segments_and_the_longest_wins() {
        let routes = table(&["/api", "/api/v2/", "/"], &[]);
        for (path, expected) in [
            ("/api", 0),
            ("/api/", 0),
            ("/api/x", 0),
            ("/apix", 2),
            ("/api/v2", 1),
            ("/api/v2/x", 1),
            ("/api/v20", 0),
            ("/", 2),
            ("//api", 2),
        ] {
            assert_eq!(routes.find(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_grpc_service_wins_over_every_prefix() {
        let routes = table(&["/", "/helloworld.Greeter"], &["helloworld.Greeter"]);
        assert_eq!(routes.find("/helloworld.Greeter/SayHello"), Some(2));
        assert_eq!(routes.find("/helloworld.Greeter"), Some(1));
        assert_eq!(routes.find("/helloworld.GreeterX/SayHello"), Some(0));
    }

    #[test]
    fn without_a_root_what_matches_nothing_goes_nowhere() {
        let routes = table(&["/api"], &[]);
        assert_eq!(routes.find("/apix"), None);
        assert_eq!(routes.find("*"), None);
        assert_eq!(routes.find(""), None);
    }

    #[test]
    fn matches_that_no_request_could_tell_apart_are_refused() {
        let prefix = |text: &str| Match::PathPrefix(text.to_owned());
        let service = |text: &str| Match::GrpcService(text.to_owned());
        assert!(Routes::new(&[prefix("/a"), prefix("/a/")]).is_err());
        assert!(Routes::new(&[service("a.B"), service("a.B")]).is_err());
        assert!(Routes::new(&[prefix("a")]).is_err());
        assert!(Routes::new(&[service("a/B")]).is_err());
    }

    #[test]
    fn dot_segments_are_seen_in_every_spelling() {
        for path in [
            "/a/../b",
            "/..",
            "/a/.",
            "/%2e%2E/a",
            "/a/.%2e",
            "/a/..;x/b",
            "/a\\..\\b",
            "/a%2F..%2Fb",
            "/a%2f%2e%2e",
            "/a%5C..%5cb",
            "/a/..%2Fb",
            "/a/..%3Bx/b",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in [
            "/",
            "/a/...",
            "/a/.well-known",
            "/a..b",
            "/a/..b",
            "/%2e%2eb",
            "/a%2Fb",
            "/a%2F...",
            "/a/%",
            "/a%2",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }

    /// What the table must do, written the slow and obvious way.
    fn longest(prefixes: &[String], path: &str) -> Option<usize> {
        let segments: Vec<&str> = path.split('/').collect();
        prefixes
            .iter()
            .enumerate()
            .filter(|(_, prefix)| {
                let wanted: Vec<&str> = prefix.trim_end_matches('/').split('/').collect();
                segments.len() >= wanted.len() && segments[..wanted.len()] == wanted
            })
            .max_by_key(|(_, prefix)| prefix.trim_end_matches('/').len())
            .map(|(index, _)| index)
    }

    proptest! {
        #[test]
        fn the_longest_prefix_of_whole_segments_wins(
            prefixes in proptest::collection::hash_set("(/[ab]{1,2}){0,3}", 0..8),
            path in "(/[ab]{0,2}){1,4}",
        ) {
            let prefixes: Vec<String> =
                prefixes.into_iter().map(|prefix| if prefix.is_empty() { "/".to_owned() } else { prefix }).collect();
            let matches: Vec<Match> = prefixes.iter().cloned().map(Match::PathPrefix).collect();
            let routes = Routes::new(&matches).unwrap();
            prop_assert_eq!(routes.find(&path), longest(&prefixes, &path));
        }
    }
}

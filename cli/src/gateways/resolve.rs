//! Which gateway a command means, and which rule says so. Pure.

use std::fmt;

use http::Uri;
use serde::Serialize;

use super::Asked;
use super::asked::{endpoint, is_same};
use crate::failure::{Exit, Failure};
use crate::store::{Entry, Metadata, Mode, Name, Place, Store};

/// What the command line and the environment say.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--gateway-endpoint`.
    pub endpoint: Option<Uri>,
    /// `--gateway`.
    pub gateway: Option<Asked>,
    /// `PORTCULLIS_GATEWAY`.
    pub environment: Option<String>,
}

/// What is stored.
#[derive(Debug, Default)]
pub struct Known {
    /// Every gateway, the user's own first.
    pub entries: Vec<Entry>,
    /// The user's active one.
    pub active: Option<Name>,
    /// The system's.
    pub system_active: Option<Name>,
}

impl Known {
    /// Reads it.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn read(store: &Store) -> Result<Self, crate::store::Error> {
        Ok(Self {
            entries: store.entries()?,
            active: store.active(Place::Own)?,
            system_active: store.active(Place::System)?,
        })
    }

    /// The gateway that commands mean where nothing else is said.
    pub fn active(&self) -> Option<&Name> {
        self.active.as_ref().or(self.system_active.as_ref())
    }

    /// The gateway of this name.
    pub fn find(&self, name: &Name) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == *name)
    }

    fn at(&self, url: &Uri) -> Option<&Entry> {
        let matching = |entry: &&Entry| {
            let stored = entry.metadata.as_ref().ok().and_then(|it| endpoint(&it.endpoint).ok());
            stored.is_some_and(|stored| is_same(&stored, url))
        };
        let active = self.active().and_then(|name| self.find(name)).filter(matching);
        active.or_else(|| self.entries.iter().find(matching))
    }
}

/// Which rule says which gateway is meant, first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// `--gateway-endpoint`, or `--gateway` with a URL.
    Endpoint,
    /// `--gateway`.
    Flag,
    /// `PORTCULLIS_GATEWAY`.
    Environment,
    /// `gateway select`.
    Active,
    /// The active one of `/etc/portcullis`.
    System,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Endpoint => "--gateway-endpoint",
            Self::Flag => "--gateway",
            Self::Environment => "PORTCULLIS_GATEWAY",
            Self::Active => "the active gateway",
            Self::System => "/etc/portcullis/active_gateway",
        })
    }
}

/// The gateway that is meant.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What it is called here, and whose directory it is in; none for a URL that is not stored.
    pub stored: Option<(Place, Name)>,
    /// Where it is.
    pub endpoint: Uri,
    /// What is known of it.
    pub metadata: Metadata,
    /// What says so.
    pub rule: Rule,
}

impl Resolved {
    /// What it is called here.
    pub fn name(&self) -> Option<&Name> {
        self.stored.as_ref().map(|(_, name)| name)
    }

    /// What it is called in sentences: its name, or else its URL.
    pub fn title(&self) -> String {
        self.name().map_or_else(|| self.url(), ToString::to_string)
    }

    /// The same, with where it is.
    pub fn place(&self) -> String {
        self.name().map_or_else(|| self.url(), |name| format!("{name} at {}", self.url()))
    }

    /// Where it is, without a slash at the end.
    pub fn url(&self) -> String {
        self.endpoint.to_string().trim_end_matches('/').to_owned()
    }

    /// What requests are for: the gateway's own name, also where it is reached at another address.
    pub fn origin(&self) -> Uri {
        let Some(name) = &self.metadata.server_name else { return self.endpoint.clone() };
        let scheme = self.endpoint.scheme_str().unwrap_or("https");
        let port = self.endpoint.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{name}{port}").parse().unwrap_or_else(|_| self.endpoint.clone())
    }

    /// The name that must stand in its certificate.
    pub fn server_name(&self) -> &str {
        let host = self.endpoint.host().unwrap_or_default();
        self.metadata.server_name.as_deref().unwrap_or(host)
    }
}

/// Why no gateway is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// Nothing says which.
    #[error("no gateway is chosen: neither --gateway nor PORTCULLIS_GATEWAY is given, and none is active")]
    Nothing {
        /// Whether there would be some.
        any: bool,
    },
    /// A name that is not stored.
    #[error("there is no gateway `{name}` (from {rule})")]
    Unknown {
        /// The name.
        name: Name,
        /// What said so.
        rule: Rule,
        /// Those that there are.
        known: Vec<String>,
    },
    /// What is stored cannot be used.
    #[error("failed to use the gateway `{name}` (from {rule}): {reason}")]
    Broken {
        /// The name.
        name: Name,
        /// What said so.
        rule: Rule,
        /// What is wrong.
        reason: String,
    },
    /// A value that is neither a name nor a URL.
    #[error("failed to read {rule}: {reason}")]
    Malformed {
        /// Where it stands.
        rule: Rule,
        /// What is wrong.
        reason: String,
    },
}

/// Which gateway is meant: by a URL, by a name, by the environment, the active one, the system's.
///
/// # Errors
/// Where that is none.
pub fn resolve(given: &Given, known: &Known) -> Result<Resolved, Unresolved> {
    let flag = given.gateway.clone().map(|asked| (asked, Rule::Flag));
    let environment = given.environment.as_deref().filter(|it| !it.is_empty());
    match (&given.endpoint, flag) {
        // What is stored for a name, shown at another address: a port that is forwarded.
        (Some(url), Some((Asked::Name(name), rule))) => {
            let named = stored(&name, rule, known)?;
            at_another(url, named)
        }
        (Some(url), _) => Ok(at(url, Rule::Endpoint, known)),
        (None, Some((Asked::Url(url), _))) => Ok(at(&url, Rule::Endpoint, known)),
        (None, Some((Asked::Name(name), rule))) => stored(&name, rule, known),
        (None, None) => match environment {
            Some(text) => {
                let rule = Rule::Environment;
                match text.parse().map_err(|reason| Unresolved::Malformed { rule, reason })? {
                    Asked::Name(name) => stored(&name, rule, known),
                    Asked::Url(url) => Ok(at(&url, rule, known)),
                }
            }
            None => match (&known.active, &known.system_active) {
                (Some(name), _) => stored(name, Rule::Active, known),
                (None, Some(name)) => stored(name, Rule::System, known),
                (None, None) => Err(Unresolved::Nothing { any: !known.entries.is_empty() }),
            },
        },
    }
}

fn stored(name: &Name, rule: Rule, known: &Known) -> Result<Resolved, Unresolved> {
    let Some(entry) = known.find(name) else {
        let known = known.entries.iter().map(|entry| entry.name.to_string()).collect();
        return Err(Unresolved::Unknown { name: name.clone(), rule, known });
    };
    let broken = |reason: String| Unresolved::Broken { name: name.clone(), rule, reason };
    let metadata = entry.metadata.as_ref().map_err(|error| broken(error.to_string()))?.clone();
    let endpoint = endpoint(&metadata.endpoint)
        .map_err(|reason| broken(format!("its endpoint `{}` is none: {reason}", metadata.endpoint)))?;
    Ok(Resolved { stored: Some((entry.place, entry.name.clone())), endpoint, metadata, rule })
}

/// What is stored for that address, or nothing but the address.
fn at(url: &Uri, rule: Rule, known: &Known) -> Resolved {
    if let Some(entry) = known.at(url)
        && let Ok(metadata) = &entry.metadata
    {
        return Resolved {
            stored: Some((entry.place, entry.name.clone())),
            endpoint: url.clone(),
            metadata: metadata.clone(),
            rule,
        };
    }
    let mode = if url.scheme_str() == Some("http") { Mode::Plaintext } else { Mode::MutualTLS };
    let metadata = Metadata { endpoint: url.to_string(), mode, ..Metadata::default() };
    Resolved { stored: None, endpoint: url.clone(), metadata, rule }
}

fn at_another(url: &Uri, named: Resolved) -> Result<Resolved, Unresolved> {
    if url.scheme_str() != named.endpoint.scheme_str() {
        let reason = format!(
            "the gateway `{}` is at {}: what is stored for it is not shown at {url}, with another scheme",
            named.title(),
            named.url()
        );
        return Err(Unresolved::Malformed { rule: Rule::Endpoint, reason });
    }
    let mut metadata = named.metadata;
    if metadata.server_name.is_none() {
        metadata.server_name = named.endpoint.host().map(str::to_owned);
    }
    Ok(Resolved { endpoint: url.clone(), metadata, rule: Rule::Endpoint, ..named })
}

impl From<Unresolved> for Failure {
    fn from(error: Unresolved) -> Self {
        let (exit, hint) = match &error {
            Unresolved::Nothing { any: false } => (
                Exit::NotFound,
                "run `portcullis gateway add URL`, or `portcullis gateway add --from-kube NAMESPACE/NAME`"
                    .to_owned(),
            ),
            Unresolved::Nothing { any: true } => {
                (Exit::NotFound, "run `portcullis gateway select NAME`, or give --gateway NAME".to_owned())
            }
            Unresolved::Unknown { known, .. } if known.is_empty() => {
                (Exit::NotFound, "none is stored yet: run `portcullis gateway add URL`".to_owned())
            }
            Unresolved::Unknown { known, .. } => (Exit::NotFound, format!("there are: {}", known.join(", "))),
            Unresolved::Broken { name, .. } => {
                (Exit::Failed, format!("run `portcullis gateway remove {name}`, and add the gateway again"))
            }
            Unresolved::Malformed { .. } => {
                (Exit::Usage, "write the name of a gateway (`portcullis gateway list`) or its URL".to_owned())
            }
        };
        Self::new(exit, error.to_string()).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn entry(called: &str, place: Place, endpoint: &str) -> Entry {
        let metadata = Ok(Metadata { endpoint: endpoint.to_owned(), ..Metadata::default() });
        Entry { name: name(called), place, metadata }
    }

    fn known() -> Known {
        let mut entries = vec![
            entry("lab", Place::Own, "https://lab.example.com"),
            entry("shop", Place::Own, "https://shop.example.com:443"),
            entry("shop-again", Place::Own, "https://shop.example.com"),
            entry("company", Place::System, "https://company.example.com"),
        ];
        let error = crate::store::Error::TooLong("x".into());
        entries.push(Entry { name: name("broken"), place: Place::Own, metadata: Err(error) });
        Known { entries, active: Some(name("lab")), system_active: Some(name("company")) }
    }

    fn given(endpoint: Option<&str>, gateway: Option<&str>, environment: Option<&str>) -> Given {
        Given {
            endpoint: endpoint.map(|it| it.parse().unwrap()),
            gateway: gateway.map(|it| it.parse().unwrap()),
            environment: environment.map(str::to_owned),
        }
    }

    /// Name, endpoint and rule.
    type Wanted<'a> = (Option<&'a str>, &'a str, Rule);

    #[test]
    fn the_first_rule_that_says_something_holds() {
        let shop = "https://SHOP.example.com/";
        #[rustfmt::skip]
        let table: &[(Given, Wanted<'_>)] = &[
            (given(Some(shop), None, Some("lab")), (Some("shop"), shop, Rule::Endpoint)),
            (given(Some(shop), Some("https://else"), None), (Some("shop"), shop, Rule::Endpoint)),
            (given(Some("https://else"), None, None), (None, "https://else/", Rule::Endpoint)),
            (given(None, Some("https://else"), Some("lab")), (None, "https://else/", Rule::Endpoint)),
            (given(None, Some("shop"), Some("lab")), (Some("shop"), "https://shop.example.com:443/", Rule::Flag)),
            (given(None, Some("company"), None), (Some("company"), "https://company.example.com/", Rule::Flag)),
            (given(None, None, Some("shop")), (Some("shop"), "https://shop.example.com:443/", Rule::Environment)),
            (given(None, None, Some(shop)), (Some("shop"), shop, Rule::Environment)),
            (given(None, None, Some("")), (Some("lab"), "https://lab.example.com/", Rule::Active)),
            (given(None, None, None), (Some("lab"), "https://lab.example.com/", Rule::Active)),
        ];
        for (given, (wanted, endpoint, rule)) in table {
            let resolved = resolve(given, &known()).unwrap();
            let endpoint: Uri = endpoint.parse().unwrap();
            assert_eq!(resolved.name().map(Name::as_str), *wanted, "{given:?}");
            assert!(is_same(&resolved.endpoint, &endpoint), "{given:?}");
            assert_eq!(resolved.rule, *rule, "{given:?}");
        }
    }

    #[test]
    fn the_system_s_active_gateway_is_the_last_resort() {
        let mut known = known();
        known.active = None;
        let resolved = resolve(&Given::default(), &known).unwrap();
        assert_eq!((resolved.name().map(Name::as_str), resolved.rule), (Some("company"), Rule::System));
        known.system_active = None;
        assert_eq!(resolve(&Given::default(), &known).unwrap_err(), Unresolved::Nothing { any: true });
    }

    #[test]
    fn of_two_at_one_address_the_active_one_is_meant() {
        let mut known = known();
        known.active = Some(name("shop-again"));
        let resolved = resolve(&given(Some("https://shop.example.com"), None, None), &known).unwrap();
        assert_eq!(resolved.name().map(Name::as_str), Some("shop-again"));
    }

    #[test]
    fn a_name_with_a_url_is_that_gateway_at_another_address_under_its_own_name() {
        let resolved = resolve(&given(Some("https://127.0.0.1:8443"), Some("shop"), None), &known()).unwrap();
        assert_eq!(resolved.name().map(Name::as_str), Some("shop"));
        assert_eq!(resolved.endpoint.port_u16(), Some(8443));
        assert_eq!(resolved.server_name(), "shop.example.com");
        assert_eq!(resolved.origin(), "https://shop.example.com:8443");
        let plain = resolve(&given(Some("http://127.0.0.1:8443"), Some("shop"), None), &known()).unwrap_err();
        assert!(plain.to_string().contains("another scheme"), "no token goes out without TLS: {plain}");
    }

    #[test]
    fn what_is_not_there_or_cannot_be_read_is_said_and_nothing_else_is_taken_instead() {
        let unknown = resolve(&given(None, Some("nowhere"), None), &known()).unwrap_err();
        assert!(matches!(unknown, Unresolved::Unknown { rule: Rule::Flag, .. }), "{unknown:?}");
        let broken = resolve(&given(None, None, Some("broken")), &known()).unwrap_err();
        assert!(matches!(broken, Unresolved::Broken { rule: Rule::Environment, .. }), "{broken:?}");
        let malformed = resolve(&given(None, None, Some("No Name")), &known()).unwrap_err();
        assert!(matches!(malformed, Unresolved::Malformed { .. }), "{malformed:?}");
        let mut gone = known();
        gone.active = Some(name("gone"));
        let gone = resolve(&Given::default(), &gone).unwrap_err();
        assert!(matches!(gone, Unresolved::Unknown { rule: Rule::Active, .. }), "{gone:?}");
    }

    #[test]
    fn a_url_that_is_not_stored_has_a_mode_by_its_scheme() {
        let mode = |url| resolve(&given(Some(url), None, None), &known()).unwrap().metadata.mode;
        assert_eq!((mode("http://else"), mode("https://else")), (Mode::Plaintext, Mode::MutualTLS));
    }
}

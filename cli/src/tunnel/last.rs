//! Which tunnel is meant: one that is named, or the one that was listened for last. Remembered for each gateway, with what
//! tells this machine from others.

use serde::{Deserialize, Serialize};

use crate::connector;
use crate::failure::{Exit, Failure};
use crate::gateways::Resolved;
use crate::store::{Item, Place, Store};

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    /// Empty: none yet.
    #[serde(default)]
    pub(crate) project: String,
    /// Empty: none yet.
    #[serde(default)]
    pub(crate) name: String,
    /// What tells this machine's connector from others of the same user.
    #[serde(default)]
    pub(crate) connector: String,
}

impl Last {
    /// Reads it. What cannot be read is as good as nothing.
    pub(crate) fn read(store: &Store, gateway: &Resolved) -> Result<Self, Failure> {
        let Some((place, name)) = &gateway.stored else { return Ok(Self::default()) };
        let kept = store.item(*place, name, Item::LastTunnel)?;
        Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Remembers it, where the gateway is stored.
    pub(crate) fn write(&self, store: &Store, gateway: &Resolved) -> Result<(), Failure> {
        let Some((Place::Own, name)) = &gateway.stored else { return Ok(()) };
        // Texts under texts cannot fail.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        Ok(store.set_item(name, Item::LastTunnel, Some(&bytes))?)
    }

    /// What tells this machine's connector from others: drawn once, or the machine's name where nothing is stored.
    pub(crate) fn identify(&mut self, gateway: &Resolved) {
        if !self.connector.is_empty() {
            return;
        }
        self.connector = match &gateway.stored {
            Some((Place::Own, _)) => connector::id(),
            _ => std::fs::read_to_string("/proc/sys/kernel/hostname")
                .map_or_else(|_| "cli".to_owned(), |name| name.trim().to_owned()),
        };
    }
}

/// A tunnel that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Which {
    /// Empty: the gateway's own.
    pub(crate) project: String,
    pub(crate) name: String,
}

impl Which {
    /// From what the command line says, the project that was switched to, and what is remembered.
    ///
    /// # Errors
    /// Where that is none.
    pub(crate) fn of(
        name: Option<&str>,
        project: Option<&str>,
        switched: Option<&str>,
        last: &Last,
    ) -> Result<Self, Failure> {
        let usage = |message: &str| Err(Failure::new(Exit::Usage, message));
        match (name, project) {
            (Some(text), project) => match text.split_once('/') {
                None => Ok(Self {
                    project: project.or(switched).unwrap_or_default().to_owned(),
                    name: text.to_owned(),
                }),
                Some((within, name)) if project.is_none_or(|project| project == within) => {
                    Ok(Self { project: within.to_owned(), name: name.to_owned() })
                }
                Some(_) => usage("the name and --project say different projects: write one of them"),
            },
            (None, None) if !last.name.is_empty() => {
                Ok(Self { project: last.project.clone(), name: last.name.clone() })
            }
            (None, _) => Err(Failure::new(Exit::Usage, "no tunnel was listened for yet, and none is named")
                .hint("write its name; `portcullis tunnel list` shows those that there are")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_meant_by_its_name_or_because_it_was_the_last() {
        let last = Last { project: "shop".into(), name: "old".into(), connector: "c".into() };
        let of = |name, project, switched, last: &Last| {
            Which::of(name, project, switched, last).map(|it| format!("{}/{}", it.project, it.name)).ok()
        };
        assert_eq!(of(Some("web"), None, None, &last).as_deref(), Some("/web"));
        assert_eq!(of(Some("web"), None, Some("demo"), &last).as_deref(), Some("demo/web"));
        assert_eq!(of(Some("web"), Some("a"), Some("demo"), &last).as_deref(), Some("a/web"));
        assert_eq!(of(Some("b/web"), None, Some("demo"), &last).as_deref(), Some("b/web"));
        assert_eq!(of(Some("b/web"), Some("a"), None, &last), None);
        assert_eq!(of(None, None, Some("demo"), &last).as_deref(), Some("shop/old"));
        assert_eq!(of(None, None, None, &Last::default()), None);
        assert_eq!(of(None, Some("a"), None, &last), None, "the last one is perhaps not in that project");
    }
}

//! Labels of namespaces, where some Gateway selects by them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Labels.
pub type Labels = BTreeMap<String, String>;

/// Labels of every namespace. Nothing is known of any before they were listed.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    known: Arc<HashMap<String, Labels>>,
    listed: bool,
}

impl Namespaces {
    /// These, and no others.
    pub fn of(known: HashMap<String, Labels>) -> Self {
        Self { known: Arc::new(known), listed: true }
    }

    /// Labels of one; none of one that is not there. None: not known yet.
    pub fn labels(&self, namespace: &str) -> Option<Labels> {
        self.listed.then(|| self.known.get(namespace).cloned().unwrap_or_default())
    }

    /// Takes the labels of one in (none: it is gone). False where that is no news.
    pub(super) fn put(&mut self, namespace: &str, labels: Option<Labels>) -> bool {
        if self.known.get(namespace) == labels.as_ref() {
            return false;
        }
        let known = Arc::make_mut(&mut self.known);
        match labels {
            Some(labels) => known.insert(namespace.to_owned(), labels),
            None => known.remove(namespace),
        };
        self.listed
    }

    /// A fresh list holds only these. False where that is no news.
    pub(super) fn keep(&mut self, seen: &HashSet<String>) -> bool {
        let before = self.known.len();
        if self.known.keys().any(|name| !seen.contains(name)) {
            Arc::make_mut(&mut self.known).retain(|name, _| seen.contains(name));
        }
        !std::mem::replace(&mut self.listed, true) || self.known.len() != before
    }
}

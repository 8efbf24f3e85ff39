//! What Gateways name and others write: which objects, and what each was last seen to be. Read for what it is named for, so
//! that no more of it is held than that needs. Whether it will do is decided by `validate` and the plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use portcullis_api::Gateway;
use portcullis_contract::files;
use portcullis_pki::{Authority, LeafFacts, Unusable, read_brought, read_leaf};

use super::Key;
use super::child::text;

/// An object that a Gateway names, and what for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The Gateway's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// What it is named for.
    pub purpose: Purpose,
}

/// What an object is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// `spec.pki.ca.secretRef`: a Secret with an authority.
    Authority,
    /// `spec.tunnels.certificateRef`: a Secret with a certificate for public names.
    Certificate,
    /// `spec.access.clientAuthorities`: a ConfigMap with roots.
    Roots,
}

/// What was last seen of an object.
#[derive(Clone, Debug)]
pub enum Referred {
    /// There is none.
    Missing,
    /// The operator may not look; why.
    Forbidden(String),
    /// An authority that was brought along.
    Authority(Result<Arc<Authority>, Unusable>),
    /// A certificate that somebody else has issued, whose key is nothing to us.
    Certificate(Result<LeafFacts, Unusable>),
    /// What a ConfigMap holds.
    Data(BTreeMap<String, String>),
}

/// What Gateways name.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: HashMap<Reference, Entry>,
    /// Counts references that come and go.
    revision: u64,
}

#[derive(Debug, Default)]
struct Entry {
    by: BTreeSet<Key>,
    seen: Option<Arc<Referred>>,
}

impl Reference {
    /// In words, for the log.
    pub fn what(&self) -> String {
        let kind = match self.purpose {
            Purpose::Authority | Purpose::Certificate => "Secret",
            Purpose::Roots => "ConfigMap",
        };
        format!("{kind} {}/{}", self.namespace, self.name)
    }
}

impl Referred {
    /// Reads an authority that was brought along.
    pub fn authority(secret: &Secret) -> Self {
        let [certificates, roots, key] =
            [files::SERVER_CERTIFICATE, files::SERVER_CA, files::SERVER_KEY].map(|key| text(secret, key));
        Self::Authority(read_brought(0, &certificates, &roots, &key).map(Arc::new))
    }

    /// Reads a certificate with its key.
    pub fn certificate(secret: &Secret) -> Self {
        let [certificate, key] = [files::SERVER_CERTIFICATE, files::SERVER_KEY].map(|key| text(secret, key));
        Self::Certificate(read_leaf(&certificate, &key))
    }

    /// Reads a ConfigMap.
    pub fn data(object: &ConfigMap) -> Self {
        Self::Data(object.data.clone().unwrap_or_default())
    }
}

/// What a Gateway names.
pub fn references(gateway: &Gateway) -> Vec<Reference> {
    let namespace = Key::of(gateway).namespace;
    let named =
        |name: &str, purpose| Reference { namespace: namespace.clone(), name: name.to_owned(), purpose };
    let authority = gateway.spec.pki.ca.secret_ref.iter().map(|it| named(&it.name, Purpose::Authority));
    let others = gateway.spec.access.client_authorities.iter();
    let others = others.map(|it| named(&it.ca_bundle_ref.name, Purpose::Roots));
    let public = gateway.spec.tunnels.iter().filter_map(|tunnels| tunnels.certificate_ref.as_ref());
    let public = public.map(|it| named(&it.name, Purpose::Certificate));
    authority.chain(others).chain(public).collect()
}

impl Book {
    /// Notes what a Gateway names from now on.
    pub(super) fn note(&mut self, key: &Key, named: &[Reference]) {
        for (reference, entry) in &mut self.entries {
            if !named.contains(reference) && entry.by.remove(key) && entry.by.is_empty() {
                self.revision += 1;
            }
        }
        for reference in named {
            let entry = self.entries.entry(reference.clone()).or_default();
            if entry.by.is_empty() {
                self.revision += 1;
            }
            entry.by.insert(key.clone());
        }
    }

    /// Whether a Gateway names something that nobody has looked at yet.
    pub(super) fn is_unread(&self, named: &[Reference]) -> bool {
        named.iter().any(|reference| self.entries.get(reference).is_none_or(|entry| entry.seen.is_none()))
    }

    /// What was seen of these.
    pub(super) fn seen(&self, named: Vec<Reference>) -> BTreeMap<(Purpose, String), Arc<Referred>> {
        let seen =
            |it: Reference| Some(((it.purpose, it.name.clone()), self.entries.get(&it)?.seen.clone()?));
        named.into_iter().filter_map(seen).collect()
    }

    /// Takes in what was seen, and says which Gateways it means something to.
    pub(super) fn put(&mut self, reference: &Reference, referred: Referred) -> Vec<Key> {
        let Some(entry) = self.entries.get_mut(reference) else { return Vec::new() };
        entry.seen = Some(Arc::new(referred));
        entry.by.iter().cloned().collect()
    }

    /// Forgets what nobody looks at any more.
    pub(super) fn forget(&mut self, reference: &Reference) {
        if let Some(entry) = self.entries.get_mut(reference) {
            entry.seen = None;
            if entry.by.is_empty() {
                self.entries.remove(reference);
            }
        }
    }

    /// How often references came and went.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// All that is to be looked at.
    pub(super) fn wanted(&self) -> BTreeSet<Reference> {
        let wanted = self.entries.iter().filter(|(_, entry)| !entry.by.is_empty());
        wanted.map(|(reference, _)| reference.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str) -> Reference {
        Reference { namespace: "shop".to_owned(), name: name.to_owned(), purpose: Purpose::Authority }
    }

    #[test]
    fn what_is_named_is_wanted_until_the_last_gateway_names_it_no_more() {
        let (mut book, [one, two]) = (Book::default(), ["one", "two"].map(|name| Key::new("shop", name)));
        book.note(&one, &[reference("corp")]);
        book.note(&two, &[reference("corp")]);
        let before = book.revision();
        book.note(&one, &[]);
        assert_eq!((book.wanted(), book.revision()), ([reference("corp")].into(), before));
        book.note(&two, &[]);
        assert_eq!((book.wanted().len(), book.revision()), (0, before + 1));
    }

    #[test]
    fn a_gateway_waits_for_what_nobody_has_looked_at_and_hears_of_it() {
        let (mut book, key, named) = (Book::default(), Key::new("shop", "door"), [reference("corp")]);
        assert!(!book.is_unread(&[]));
        book.note(&key, &named);
        assert!(book.is_unread(&named));
        assert_eq!(book.put(&named[0], Referred::Missing), std::slice::from_ref(&key));
        assert!(!book.is_unread(&named));
        assert_eq!(book.put(&reference("other"), Referred::Missing), []);
        book.forget(&named[0]);
        assert!(book.is_unread(&named), "what is still named is looked at again");
    }
}

//! What is in a Gateway's authority Secret: the generation that signs, another one beside it while one follows the other,
//! and how far that is. The Secret is the only place where this is kept, so that each step of a rotation is one write of
//! one object. When a step is due is `plan/rotation.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use portcullis_api::{IssuerRef, RotationPhase};
use portcullis_pki::{Authority, Unusable, read_authority, read_brought};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::child::{above_keys, authority_keys, newest_generation, text};

/// How far it is, beside the generations themselves. A Secret from before there were rotations has none.
const COURSE: &str = "course.json";
/// What annotations asked for and was done, and generations that are gone: so many of each are remembered.
const REMEMBERED: usize = 8;

/// The authority of a Gateway: one generation or two.
#[derive(Clone, Debug)]
pub struct Roots {
    /// It signs.
    pub signing: Arc<Authority>,
    /// It is trusted too: the next one while it is published, the one before until it goes.
    pub other: Option<Arc<Authority>>,
    /// How far the one is on its way to the other.
    pub course: Course,
}

/// How far a rotation is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Course {
    /// Where it is.
    pub phase: RotationPhase,
    /// The generation that signs.
    pub signing: u32,
    /// The newest generation that there ever was.
    pub newest: u32,
    /// When the phase began.
    #[serde(with = "time::serde::timestamp::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<OffsetDateTime>,
    /// While one is published: since when it is in every bundle, and every replica has said that it knows it.
    #[serde(with = "time::serde::timestamp::option", skip_serializing_if = "Option::is_none")]
    pub published: Option<OffsetDateTime>,
    /// When the last certificate ends that the other one has signed, once it signs no more.
    #[serde(with = "time::serde::timestamp::option", skip_serializing_if = "Option::is_none")]
    pub until: Option<OffsetDateTime>,
    /// Once the other one signs no more: who goes by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holders: Option<Holders>,
    /// After a rollback: until when nothing but an annotation begins another rotation.
    #[serde(with = "time::serde::timestamp::option", skip_serializing_if = "Option::is_none")]
    pub rests: Option<OffsetDateTime>,
    /// What annotations asked for and was done, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// Generations that went before the last certificate that they had signed ended: they vouch for what is open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<Retired>,
    /// Fingerprints of generations that are gone, the newest last: a status that speaks of one is behind, not of others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<String>,
    /// Who has issued a generation that is here, where cert-manager was asked for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub issued: BTreeMap<u32, IssuedBy>,
}

/// Who has issued an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedBy {
    /// Who was asked.
    pub issuer: IssuerRef,
    /// The CertificateRequest.
    pub request: String,
}

/// Who goes by a generation that signs no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holders {
    /// When the other one began to sign: what was seen before says nothing.
    #[serde(with = "time::serde::timestamp")]
    pub since: OffsetDateTime,
    /// Who held a certificate of it then, and was not seen with one of the other since.
    pub awaited: Vec<Holder>,
    /// Somebody came with one of it, at this time or before.
    #[serde(with = "time::serde::timestamp::option", default, skip_serializing_if = "Option::is_none")]
    pub used: Option<OffsetDateTime>,
}

/// Somebody who held certificates of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The client's name; of a connector, `tunnel/NAMESPACE/NAME`.
    pub name: String,
    /// When the last of them ends.
    #[serde(with = "time::serde::timestamp")]
    pub until: OffsetDateTime,
}

impl From<(String, OffsetDateTime)> for Holder {
    fn from((name, until): (String, OffsetDateTime)) -> Self {
        Self { name, until }
    }
}

/// A generation that signs nothing any more, and lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// PEM; its key is gone.
    pub certificate: String,
    /// When the last certificate ends that it has signed.
    #[serde(with = "time::serde::timestamp")]
    pub until: OffsetDateTime,
}

impl Course {
    /// The generations that vouch for what is open, PEM.
    pub fn retired(&self, now: OffsetDateTime) -> Vec<String> {
        let open = self.retired.iter().filter(|retired| retired.until > now);
        open.map(|retired| retired.certificate.clone()).collect()
    }

    /// Remembers that this was done.
    pub fn did(&mut self, what: String) {
        remember(&mut self.done, what);
    }
}

fn remember(list: &mut Vec<String>, what: String) {
    list.retain(|known| *known != what);
    list.push(what);
    let surplus = list.len().saturating_sub(REMEMBERED);
    list.drain(..surplus);
}

impl Roots {
    /// A first generation.
    pub fn first(authority: Authority, done: Vec<String>) -> Self {
        let generation = authority.generation;
        let course = Course { signing: generation, newest: generation, done, ..Course::default() };
        Self { signing: Arc::new(authority), other: None, course }
    }

    /// Reads a Secret.
    ///
    /// # Errors
    /// Where the generation that signs cannot be used, or the one beside it; says why.
    pub fn read(secret: &Secret) -> Result<Self, Unusable> {
        let stored = text(secret, COURSE);
        let course = if stored.is_empty() {
            let newest = newest_generation(secret).unwrap_or(1);
            Course { signing: newest, newest, ..Course::default() }
        } else {
            serde_json::from_str(&stored).map_err(|error| Unusable::Certificate {
                detail: format!("{COURSE} beside it does not say how far its rotation is: {error}"),
            })?
        };
        let generation = |number: u32| {
            let [certificate, key] = authority_keys(number);
            let [chain, root] = above_keys(number).map(|key| text(secret, &key));
            let [certificate, key] = [certificate, key].map(|key| text(secret, &key));
            let read = if root.is_empty() {
                read_authority(number, &certificate, &key)
            } else {
                read_brought(number, &(certificate + &chain), &root, &key)
            };
            read.map(Arc::new)
        };
        let numbers = secret.data.iter().flatten().filter_map(|(name, _)| super::child::generation_of(name));
        // In a phase in which there are two, both are needed.
        let other = numbers.filter(|number| *number != course.signing).max();
        let other = other.filter(|_| course.phase != RotationPhase::Stable).map(generation).transpose()?;
        Ok(Self { signing: generation(course.signing)?, other, course })
    }

    /// What the Secret holds: names and values.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn data(&self) -> serde_json::Result<Vec<(String, String)>> {
        let mut data = Vec::new();
        for authority in [Some(&self.signing), self.other.as_ref()].into_iter().flatten() {
            let [certificate, key] = authority_keys(authority.generation);
            data.push((certificate, authority.certificate_pem.clone()));
            data.push((key, authority.key.expose().to_owned()));
            if let Some(above) = &authority.above {
                let [chain, root] = above_keys(authority.generation);
                data.push((chain, above.chain.clone()));
                data.push((root, above.root.clone()));
            }
        }
        let signing = self.signing.generation;
        let plain = Course { signing, newest: signing, ..Course::default() };
        if self.course != plain {
            data.push((COURSE.to_owned(), serde_json::to_string(&self.course)?));
        }
        Ok(data)
    }

    /// The root of every generation that is trusted, PEM, each once, the oldest first whichever signs: the text changes only
    /// as one comes or goes. What those who are shown our leaves go by.
    pub fn trust(&self) -> String {
        self.each_once(|authority| authority.root())
    }

    /// The certificate of every generation that is trusted, likewise: what clients are let in by. Not their roots: what
    /// others are issued below the same root opens nothing here.
    pub fn signers(&self) -> String {
        self.each_once(|authority| &authority.certificate_pem)
    }

    fn each_once<'a>(&'a self, text: impl Fn(&'a Authority) -> &'a str) -> String {
        let mut trusted: Vec<_> = [Some(&self.signing), self.other.as_ref()].into_iter().flatten().collect();
        trusted.sort_by_key(|authority| authority.generation);
        let mut texts: Vec<&str> = trusted.into_iter().map(|authority| text(authority)).collect();
        texts.dedup();
        texts.concat()
    }

    /// Whether this fingerprint is of a generation that is here, or was: what was said of it holds for what there is.
    pub fn knows(&self, fingerprint: &str) -> bool {
        let here = [Some(&self.signing), self.other.as_ref()].into_iter().flatten();
        here.map(|it| &it.facts.fingerprint).chain(&self.course.former).any(|it| it == fingerprint)
    }

    /// Lets the other generation go in due course: connections that it vouches for stay for as long as their certificates.
    pub fn retire_other(&mut self, now: OffsetDateTime) {
        self.course.retired.retain(|retired| retired.until > now);
        let until = self.course.until.filter(|until| *until > now);
        if let (Some(other), Some(until)) = (&self.other, until) {
            let certificate = other.certificate_pem.clone();
            self.course.retired.push(Retired { certificate, until });
            let surplus = self.course.retired.len().saturating_sub(REMEMBERED);
            self.course.retired.drain(..surplus);
        }
        self.drop_other();
    }

    /// Lets the other generation go.
    pub fn drop_other(&mut self) {
        if let Some(other) = self.other.take() {
            self.course.issued.remove(&other.generation);
            remember(&mut self.course.former, other.facts.fingerprint.clone());
        }
    }

    /// Who has issued what signs, where cert-manager was asked for it.
    pub fn issued_by(&self) -> Option<&IssuedBy> {
        self.course.issued.get(&self.signing.generation)
    }

    /// Lets the two change places.
    pub fn swap(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut self.signing, other);
            self.course.signing = self.signing.generation;
        }
    }
}

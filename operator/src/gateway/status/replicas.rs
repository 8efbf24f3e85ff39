//! Which replicas are ready, and which of those have proved that they serve what they should.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::Session;
use crate::gateway::observe::Observed;
use crate::gateway::plan::Published;
use crate::world::Pod;

/// The ready pods, each with what it said on the control channel.
pub struct Replicas<'a> {
    ready: Vec<(&'a str, Option<&'a Session>)>,
    /// Those that run and are not ready: they may serve what they were told last.
    running: Vec<(&'a str, Option<&'a Session>)>,
    /// Those that stop, or do not listen yet, too.
    attached: &'a BTreeMap<String, Session>,
    published: Option<&'a Published>,
}

impl<'a> Replicas<'a> {
    /// Counts the ready pods against what was published.
    pub fn count(observed: &'a Observed, published: Option<&'a Published>) -> Self {
        let running = observed.pods.iter().filter(|(_, pod)| pod.running && !pod.ready && !pod.leaving);
        let running = running.map(|(name, _)| (name.as_str(), observed.sessions.get(name))).collect();
        let ready = observed.pods.iter().filter(|(_, pod): &(&String, &Arc<Pod>)| pod.ready);
        let ready = ready.map(|(name, _)| (name.as_str(), observed.sessions.get(name))).collect();
        Self { ready, running, attached: &observed.sessions, published }
    }

    /// Each ready pod, with what it said.
    pub fn each(&self) -> impl Iterator<Item = (&'a str, Option<&'a Session>)> {
        self.ready.iter().copied()
    }

    /// Whether a pod is ready.
    pub fn is_ready(&self, pod: &str) -> bool {
        self.ready.iter().any(|(name, _)| *name == pod)
    }

    /// How many are ready.
    pub fn ready(&self) -> i32 {
        i32::try_from(self.ready.len()).unwrap_or(i32::MAX)
    }

    /// How many of those serve the current configuration and certificate.
    pub fn programmed(&self) -> i32 {
        let programmed = self.ready.iter().filter(|(_, session)| self.lacks(*session).is_none());
        i32::try_from(programmed.count()).unwrap_or(i32::MAX)
    }

    /// The first replica that refused the current configuration, with its words.
    pub fn refusal(&self) -> Option<String> {
        self.ready.iter().find_map(|(pod, session)| {
            let (version, reason) = session.as_ref()?.rejected.as_ref()?;
            (Some(version) == self.version())
                .then(|| format!("replica {pod} refused configuration {version}: {reason}"))
        })
    }

    /// What is still waited for. None: every ready replica serves what it should, and there is one.
    pub fn waiting(&self) -> Option<String> {
        if self.ready.is_empty() {
            return Some("No replica is ready yet".to_owned());
        }
        let missing = self.ready.iter().find_map(|(pod, session)| Some((pod, self.lacks(*session)?)));
        let (pod, lacks) = missing?;
        Some(format!(
            "{} of {} ready replicas are programmed; replica {pod} {lacks}",
            self.programmed(),
            self.ready()
        ))
    }

    /// Whether every replica serves the current configuration: those that are ready, and those that are attached and are not.
    pub fn have_all_acknowledged(&self) -> bool {
        let is_current = |session: &Session| {
            session.acknowledged.as_ref().is_some_and(|(version, _)| Some(version) == self.version())
        };
        let ready = self.ready.iter().all(|(_, session)| session.is_some_and(is_current));
        !self.ready.is_empty() && ready && self.attached.values().all(is_current)
    }

    /// The first replica that may still serve something else than it should, in words; of a Gateway that is to have so many.
    /// One that cannot be asked may.
    pub fn behind(&self, wanted: i32) -> Option<String> {
        let serving = || self.ready.iter().chain(&self.running);
        if serving().next().is_none() && wanted > 0 {
            return Some("no replica runs yet".to_owned());
        }
        let lacking = serving().find_map(|(pod, session)| Some((*pod, self.lacks(*session)?)));
        let stale =
            |session: &Session| session.acknowledged.as_ref().map(|(version, _)| version) != self.version();
        let stale = || {
            let (pod, _) = self.attached.iter().find(|(_, session)| stale(session))?;
            Some((pod.as_str(), "has not acknowledged the current configuration yet"))
        };
        lacking.or_else(stale).map(|(pod, lacks)| format!("replica {pod} {lacks}"))
    }

    /// Whether those that are not known to be programmed have said nothing at all yet.
    pub fn are_silent(&self) -> bool {
        !self.ready.is_empty()
            && self
                .ready
                .iter()
                .all(|(_, session)| self.lacks(*session).is_none() || session.is_none_or(Session::is_silent))
    }

    fn version(&self) -> Option<&String> {
        self.published.map(|published| &published.version)
    }

    /// What a replica lacks to be programmed.
    fn lacks(&self, session: Option<&Session>) -> Option<&'static str> {
        let Some(published) = self.published else {
            return Some("waits for a configuration that can be served");
        };
        let Some(session) = session else { return Some("is not on the control channel") };
        match &session.acknowledged {
            Some((version, _)) if *version != published.version => {
                Some("has not acknowledged the current configuration yet")
            }
            Some((_, fingerprint)) if *fingerprint != published.server_fingerprint => {
                Some("does not serve the current certificate yet")
            }
            Some(_) => None,
            None => Some("has not acknowledged a configuration yet"),
        }
    }
}

//! Issuers of tokens: an OpenID provider, an identity-aware edge. Keeps each one's keys, and remembers which tokens were
//! believed until they end or their key is withdrawn.
//!
//! With the issuer away its last good keys go on. A replica starts without it. However many tokens name keys that nobody
//! knows, it is asked once in [`Limits::issuer_pause`].
//!
//! What must not live here: what makes a token believable ([`crate::auth`]).

mod believed;
mod fetch;
mod refresh;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use portcullis_contract::snapshot;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::auth::{self, Expected, Identified, Keys, Mapping, Purpose, Shown, Text, TokenFault};
use crate::limits::Limits;
use believed::Believed;
use refresh::Progress;

/// An issuer whose keys are kept for as long as this lives.
#[derive(Debug)]
pub(crate) struct Issuer {
    state: Arc<State>,
    _running: Option<DropGuard>,
}

/// What starting an issuer takes.
#[derive(Clone, Debug)]
pub(crate) struct Starter {
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Bumped where keys change, so that connections look whether they still may stay.
    news: Arc<watch::Sender<u64>>,
    pause: Duration,
}

#[derive(Debug)]
struct State {
    parameters: snapshot::Issuer,
    mapping: Mapping,
    expected: Expected,
    ring: ArcSwapOption<Ring>,
    believed: Believed,
    /// What went wrong when it was asked last, in words; empty where nothing did.
    trouble: Mutex<String>,
    progress: watch::Sender<Progress>,
    wish: Notify,
    news: Arc<watch::Sender<u64>>,
    /// How long it is left alone after it was asked.
    pause: Duration,
}

/// Keys, and how often they have changed.
#[derive(Debug)]
struct Ring {
    keys: Keys,
    generation: u64,
}

impl Starter {
    pub(crate) fn new(
        tasks: TaskTracker,
        stop: CancellationToken,
        news: Arc<watch::Sender<u64>>,
        limits: &Limits,
    ) -> Self {
        Self { tasks, stop, news, pause: limits.issuer_pause }
    }

    /// An issuer: the previous one, where nothing about it has changed, or a new one that begins to fetch its keys.
    ///
    /// # Errors
    /// Where a claim's path is none; in words.
    pub(crate) fn start(
        &self,
        parameters: &snapshot::Issuer,
        purpose: Purpose,
        previous: Option<&Arc<Issuer>>,
    ) -> Result<Arc<Issuer>, String> {
        if let Some(previous) = previous.filter(|previous| previous.state.parameters == *parameters) {
            return Ok(Arc::clone(previous));
        }
        let state = Arc::new(State::new(parameters, purpose, self)?);
        let stop = self.stop.child_token();
        self.tasks.spawn(stop.clone().run_until_cancelled_owned(refresh::keep(Arc::clone(&state))));
        Ok(Arc::new(Issuer { state, _running: Some(stop.drop_guard()) }))
    }
}

impl Issuer {
    /// What it says of itself, compared exactly.
    pub(crate) fn name(&self) -> &str {
        &self.state.parameters.issuer
    }

    pub(crate) fn audience(&self) -> &str {
        &self.state.parameters.audience
    }

    /// Whether a token is believed now, and whom it speaks for.
    pub(crate) fn judge(&self, text: &Text, now: i64) -> Shown {
        match text.as_ref().ok().and_then(|text| text.to_str().ok()) {
            Some(text) => match self.state.identify(text, now) {
                Ok(identified) => Shown::Believed(identified),
                Err(fault) => Shown::Refused(fault),
            },
            None => Shown::Refused(TokenFault::Malformed),
        }
    }

    /// Waits for keys that a token names and nobody knows. False where the issuer was asked only just now.
    pub(crate) async fn refreshed(&self) -> bool {
        self.state.refreshed().await
    }

    /// Counts changes of its keys.
    pub(crate) fn generation(&self) -> u64 {
        self.state.ring.load().as_ref().map_or(0, |ring| ring.generation)
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.state.ring.load().is_some()
    }

    /// What went wrong when it was asked last, and what to do; empty where nothing did.
    pub(crate) fn trouble(&self) -> String {
        self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    fn new(parameters: &snapshot::Issuer, purpose: Purpose, starter: &Starter) -> Result<Self, String> {
        Ok(Self {
            mapping: Mapping::of(parameters)?,
            expected: Expected {
                issuer: parameters.issuer.clone(),
                audience: parameters.audience.clone(),
                skew: i64::try_from(parameters.clock_skew_seconds).unwrap_or(0).min(60),
                purpose,
            },
            parameters: parameters.clone(),
            ring: ArcSwapOption::empty(),
            believed: Believed::default(),
            trouble: Mutex::default(),
            progress: watch::Sender::new(Progress::default()),
            wish: Notify::new(),
            news: Arc::clone(&starter.news),
            pause: starter.pause,
        })
    }

    fn identify(&self, text: &str, now: i64) -> Result<Arc<Identified>, TokenFault> {
        let ring = self.ring.load();
        let ring = ring.as_ref().ok_or(TokenFault::NoKeys)?;
        if let Some(identified) = self.believed.find(text, ring.generation) {
            return if now > identified.expires_at { Err(TokenFault::Expired) } else { Ok(identified) };
        }
        let token = auth::verify(text, &ring.keys, &self.expected, now)?;
        let identified = Arc::new(self.mapping.identify(&token, &self.expected.issuer));
        self.believed.remember(text, ring.generation, Arc::clone(&identified));
        Ok(identified)
    }

    /// Keys were fetched, or why they were not.
    fn take(&self, fetched: Result<Keys, String>) {
        let trouble = match fetched {
            Ok(keys) => {
                let before = self.ring.load();
                if before.as_ref().is_none_or(|ring| ring.keys != keys) {
                    let generation = before.as_ref().map_or(0, |ring| ring.generation) + 1;
                    self.ring.store(Some(Arc::new(Ring { keys, generation })));
                    self.believed.forget();
                    tracing::info!(issuer = %self.parameters.issuer, "keys of an issuer of tokens have changed");
                    self.tell();
                }
                String::new()
            }
            Err(trouble) => trouble,
        };
        let mut last = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != trouble {
            if !trouble.is_empty() {
                tracing::warn!(issuer = %self.parameters.issuer, trouble, "failed to fetch an issuer's keys");
            }
            *last = trouble;
            drop(last);
            self.tell();
        }
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }
}

impl Issuer {
    /// An issuer that has these keys, or none, and asks nobody: for tests and benches.
    ///
    /// # Errors
    /// Where a claim's path is none; in words.
    pub(crate) fn standing(
        parameters: &snapshot::Issuer,
        purpose: Purpose,
        jwks: Option<&[u8]>,
    ) -> Result<Arc<Self>, String> {
        let news = Arc::new(watch::Sender::new(0));
        let starter = Starter::new(TaskTracker::new(), CancellationToken::new(), news, &Limits::default());
        let state = State::new(parameters, purpose, &starter)?;
        if let Some(jwks) = jwks {
            state.take(Keys::read(jwks));
        }
        Ok(Arc::new(Self { state: Arc::new(state), _running: None }))
    }

    /// It has these keys from now on.
    #[cfg(test)]
    pub(crate) fn set_keys(&self, jwks: &[u8]) {
        self.state.take(Keys::read(jwks));
    }
}

#[cfg(test)]
mod tests;

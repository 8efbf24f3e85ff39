//! Programs beside the gateway that it asks over Unix sockets: a compute driver, a credentials driver. One way to connect
//! and to try again serves all of them.
//!
//! What must not live here: what they are asked ([`crate::api`]).

mod link;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use portcullis_contract::snapshot::{self, DriverKind};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub(crate) use link::Line;

/// A driver whose socket is kept connected for as long as this lives.
#[derive(Debug)]
pub(crate) struct Driver {
    state: Arc<State>,
    _running: DropGuard,
}

/// What starting a driver takes.
#[derive(Clone, Debug)]
pub(crate) struct Starter {
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Bumped where a driver comes or goes, so that the operator hears of it.
    news: Arc<watch::Sender<u64>>,
}

#[derive(Debug)]
struct State {
    parameters: snapshot::Driver,
    line: ArcSwapOption<Line>,
    /// What stands between us, in words; empty where nothing does, None until that was found out.
    trouble: Mutex<Option<String>>,
    news: Arc<watch::Sender<u64>>,
}

impl Starter {
    pub(crate) fn new(tasks: TaskTracker, stop: CancellationToken, news: Arc<watch::Sender<u64>>) -> Self {
        Self { tasks, stop, news }
    }

    /// A driver: one of the previous, where nothing about it has changed, or a new one that begins to connect.
    pub(crate) fn start(&self, parameters: &snapshot::Driver, previous: &[Arc<Driver>]) -> Arc<Driver> {
        if let Some(previous) = previous.iter().find(|previous| previous.state.parameters == *parameters) {
            return Arc::clone(previous);
        }
        let state = Arc::new(State {
            parameters: parameters.clone(),
            line: ArcSwapOption::empty(),
            trouble: Mutex::default(),
            news: Arc::clone(&self.news),
        });
        let stop = self.stop.child_token();
        self.tasks.spawn(stop.clone().run_until_cancelled_owned(link::keep(Arc::clone(&state))));
        Arc::new(Driver { state, _running: stop.drop_guard() })
    }
}

impl Driver {
    pub(crate) fn kind(&self) -> DriverKind {
        self.state.parameters.kind
    }

    /// The connection, where there is one.
    ///
    /// # Errors
    /// Where there is none; says why, in words for whoever asked.
    pub(crate) fn line(&self) -> Result<Line, String> {
        if let Some(line) = self.state.line.load().as_ref() {
            return Ok(Line::clone(line));
        }
        let trouble = self.trouble().unwrap_or_else(|| "it was not tried yet".to_owned());
        Err(format!("the {} driver cannot be reached: {trouble}", self.kind().as_str()))
    }

    /// What stands between us, and what to do; empty where nothing does, None until that was found out.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    fn connected(&self, line: Line) {
        tracing::info!(driver = self.parameters.kind.as_str(), "driver connected");
        self.line.store(Some(Arc::new(line)));
        self.note(String::new());
    }

    fn lost(&self, trouble: String) {
        self.line.store(None);
        self.note(trouble);
    }

    fn note(&self, trouble: String) {
        let mut last = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() == Some(&trouble) {
            return;
        }
        if !trouble.is_empty() {
            tracing::warn!(driver = self.parameters.kind.as_str(), trouble, "driver unavailable");
        }
        *last = Some(trouble);
        drop(last);
        self.news.send_modify(|count| *count += 1);
    }
}

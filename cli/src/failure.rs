//! Why a command came to nothing: in words, with what to do about it, and the exit code.

use std::fmt;

use crate::store;

/// What a command ends with. Scripts rely on these numbers: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Anything that has no number of its own.
    Failed = 1,
    /// The arguments do not fit, or the gateway calls a value wrong.
    Usage = 2,
    /// What was named does not exist, or no gateway is chosen.
    NotFound = 3,
    /// Not logged in, not believed, or not allowed to.
    Denied = 4,
    /// Nothing answers, or nothing that can be believed does.
    Unreachable = 5,
    /// It took longer than it may.
    TimedOut = 6,
    /// It exists already, or something else is in its way.
    Conflict = 7,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// All of them, with what they mean, for the reference.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Failed, "failed for a reason that has no number of its own"),
        (Self::Usage, "the arguments do not fit, or the gateway calls a value wrong"),
        (Self::NotFound, "what was named does not exist, or no gateway is chosen"),
        (Self::Denied, "not logged in, not believed, or not allowed to"),
        (Self::Unreachable, "nothing answers, or nothing that can be believed"),
        (Self::TimedOut, "it took longer than `--timeout`"),
        (Self::Conflict, "it exists already, or something else is in its way"),
        (Self::Interrupted, "interrupted"),
    ];

    /// Its number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command came to nothing. No secret is ever in it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the command ends with.
    pub exit: Exit,
    /// What was tried, and what came back.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// With this code: what was tried, and what came back.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { exit: Exit::Failed, message: error.to_string(), hint }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::new(Exit::Failed, format!("{error:#}")),
        }
    }
}

/// An error with all that caused it, once each.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

//! What `tunnel listen` tells: one value for people and for programs.

use serde::Serialize;

use super::steps::Step;

/// Something that happened, as `-o json` prints it, a line each.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Event {
    /// There is a Tunnel, whether it was there before or not.
    Tunnel { project: String, name: String, created: bool, changed: bool },
    /// A step is done.
    Done { step: &'static str, message: String },
    /// A step that was done no longer holds.
    Broken { step: &'static str, message: String },
    /// What is waited for.
    Waiting { step: &'static str, message: String },
    /// A connection to a replica.
    Connected { replica: String },
    /// It is gone; another one is being opened.
    Lost {
        replica: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// No connection could be opened; it is tried again.
    Retrying { why: String },
    /// Something that a person should know.
    Note { message: String },
    /// A byte has come back through it.
    Url { url: String, first_byte_ms: u64 },
    /// A visitor's request has come to its end.
    Request {
        method: String,
        path: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        ms: u64,
        bytes: u64,
    },
    /// It is being switched off.
    Stopping,
    /// It is switched off; its names stay reserved.
    Stopped { requests: u64, bytes: u64 },
}

impl Event {
    pub(super) fn done(step: Step, message: String) -> Self {
        Self::Done { step: step.word(), message }
    }
}

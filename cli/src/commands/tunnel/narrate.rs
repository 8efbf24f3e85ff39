//! What `tunnel listen` prints: lines for people on standard error and the URL on standard output, or a JSON object a line.

use std::time::Instant;

use crate::failure::{Exit, Failure};
use crate::say::{Output, Say, Step};
use crate::tunnel::Event;

/// Prints events.
pub(super) struct Narrator<'a> {
    say: &'a Say,
    began: Instant,
    /// What is waited for, on a terminal.
    waiting: Option<Step>,
    requests: u64,
    failed: u64,
}

impl<'a> Narrator<'a> {
    pub(super) fn new(say: &'a Say) -> Self {
        Self { say, began: Instant::now(), waiting: None, requests: 0, failed: 0 }
    }

    /// Prints one.
    pub(super) fn tell(&mut self, event: &Event) -> Result<(), Failure> {
        if *self.say.output() == Output::Json {
            let line = serde_json::to_string(event)
                .map_err(|error| Failure::new(Exit::Failed, format!("failed to print an event: {error}")))?;
            return self.say.data(&format!("{line}\n"));
        }
        // The line of what was waited for goes before another one comes.
        self.waiting = None;
        match event {
            Event::Tunnel { project, name, created, changed } => self.line(&format!(
                "{}  {project}/{name}",
                if *created {
                    "created"
                } else if *changed {
                    "updated"
                } else {
                    "found"
                }
            )),
            Event::Done { step, message } => self.line(&format!("{step}  {message}")),
            Event::Broken { step, message } => self.line(&format!("no longer {step}: {message}")),
            Event::Waiting { step, message } => {
                self.waiting = Some(self.say.step(format!("waiting until it is {step}: {message}")));
            }
            Event::Connected { replica } => self.line(&format!("connected to replica {replica}")),
            Event::Lost { replica, why } => {
                let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                self.line(&format!("the connection to replica {replica} ended{why}; connecting again"));
            }
            Event::Retrying { why } => self.line(&format!("not connected, trying again: {why}")),
            Event::Note { message } => self.line(&format!("note: {message}")),
            Event::Url { url, first_byte_ms } => {
                self.line(&format!("a byte came back after {first_byte_ms} ms; Ctrl-C stops it"));
                self.say.data(&format!("{url}\n"))?;
            }
            Event::Request { method, path, status, ms, bytes } => {
                self.requests += 1;
                let status = status.map_or("no answer".to_owned(), |status| status.to_string());
                self.failed += u64::from(status == "no answer" || status.starts_with('5'));
                self.line(&format!("{method} {path}  {status}  {ms} ms  {bytes} B"));
                let counted = format!("{} requests, {} failed", self.requests, self.failed);
                self.waiting = Some(self.say.step(counted));
            }
            Event::Stopping => self.line("stopping: requests in flight finish; Ctrl-C again quits at once"),
            Event::Stopped { requests, bytes } => {
                self.line(&format!(
                    "switched off after {requests} requests and {bytes} B; its names stay yours"
                ));
            }
        }
        Ok(())
    }

    fn line(&self, text: &str) {
        self.say.note(format!("{:7.2}s  {text}", self.began.elapsed().as_secs_f64()));
    }
}

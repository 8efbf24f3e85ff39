//! The one place that writes to the terminal: progress with its times on stderr, results on stdout.
//!
//! Nothing here decides anything; nothing elsewhere prints.
#![expect(clippy::print_stderr, reason = "this is the sole writer")]

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// A step that has begun. It ends with [`Step::done`]; dropped without that, it says that it failed.
#[must_use]
pub(crate) struct Step {
    title: String,
    began: Instant,
    spoken: Instant,
    ended: bool,
}

/// Begins a step, shown while it runs where somebody watches.
pub(crate) fn step(title: impl Into<String>) -> Step {
    let title = title.into();
    if watched() {
        eprint!("\r\x1b[K     …  {title}");
    }
    let now = Instant::now();
    Step { title, began: now, spoken: now, ended: false }
}

impl Step {
    /// Ends the step with what it is called and how long it took.
    pub(crate) fn done(self) {
        let title = self.title.clone();
        self.done_as(&title);
    }

    /// Ends the step with a sentence of its own.
    pub(crate) fn done_as(mut self, outcome: &str) {
        self.ended = true;
        clear();
        eprintln!("{}  {outcome}", seconds(self.began.elapsed()));
    }

    /// Says how far the step is: at once where somebody watches, every quarter of a minute in a log.
    pub(crate) fn progress(&mut self, so_far: &str) {
        if watched() {
            eprint!("\r\x1b[K{}  {}: {so_far}", seconds(self.began.elapsed()), self.title);
        } else if self.spoken.elapsed() > Duration::from_secs(15) {
            self.spoken = Instant::now();
            eprintln!("{}  {}: {so_far}", seconds(self.began.elapsed()), self.title);
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            clear();
            eprintln!("{}  FAILED  {}", seconds(self.began.elapsed()), self.title);
        }
    }
}

/// A line of progress that belongs to no step.
pub(crate) fn note(text: impl AsRef<str>) {
    clear();
    eprintln!("{}", text.as_ref());
}

/// A line of the result. A reader that has gone away is no failure.
pub(crate) fn result(text: impl AsRef<str>) {
    let mut stdout = std::io::stdout().lock();
    drop(writeln!(stdout, "{}", text.as_ref()));
    drop(stdout.flush());
}

/// A span of time as people write it, right-aligned in a column.
pub(crate) fn seconds(span: Duration) -> String {
    format!("{:5.1}s", span.as_secs_f64())
}

fn watched() -> bool {
    std::io::stderr().is_terminal()
}

fn clear() {
    if watched() {
        eprint!("\r\x1b[K");
    }
}

//! A step that takes time: a spinner where somebody watches, a line when it ends elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::plain;

/// A step that has begun. It ends with [`Step::done`]; dropped without that, its line goes, since the error says it all.
#[must_use]
#[derive(Debug)]
pub struct Step {
    title: String,
    began: Instant,
    spinner: Option<ProgressBar>,
    quiet: bool,
}

impl Step {
    pub(super) fn begin(title: &str, quiet: bool) -> Self {
        let title = plain(title);
        let spinner = (!quiet && io::stderr().is_terminal()).then(|| {
            let spinner = ProgressBar::new_spinner().with_message(title.clone());
            // The template is ours, and right.
            if let Ok(style) = ProgressStyle::with_template("{elapsed:>6} {spinner} {wide_msg}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Self { title, began: Instant::now(), spinner, quiet }
    }

    /// Says how far it is.
    pub fn progress(&self, so_far: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(format!("{}: {}", self.title, plain(so_far)));
        }
    }

    /// Ends it with its title and how long it took.
    pub fn done(self) {
        let title = self.title.clone();
        self.done_as(&title);
    }

    /// Ends it with a sentence of its own.
    pub fn done_as(mut self, outcome: &str) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
        if !self.quiet {
            eprintln!("{:5.1}s  {}", self.began.elapsed().as_secs_f64(), plain(outcome));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

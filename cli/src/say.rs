//! The one place that prints: what was asked for on standard output, everything else on standard error.
//!
//! Nothing here decides anything; nothing elsewhere prints.
#![expect(clippy::print_stderr, reason = "this is the sole writer")]

mod colour;
mod jsonpath;
mod output;
mod step;
mod table;
mod terminal;

use std::io::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

pub use output::{Manners, Output};
pub use step::Step;
pub use table::{Column, Row, Table};
pub use terminal::{confirm, secret};

use crate::failure::{Exit, Failure};
use colour::{Colour, Paint};

/// How long a call may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Prints, as the command line wants it.
#[derive(Clone, Debug)]
pub struct Say {
    manners: Manners,
    paint: Paint,
}

impl Say {
    /// In these manners.
    pub fn new(manners: Manners) -> Self {
        let paint = Paint::choose(manners.no_color);
        Self { manners, paint }
    }

    /// How long a call may take.
    pub fn timeout(&self) -> Duration {
        self.manners.timeout.unwrap_or(TIMEOUT)
    }

    /// The same, for what takes longer where nothing is said.
    pub fn timeout_or(&self, otherwise: Duration) -> Duration {
        self.manners.timeout.unwrap_or(otherwise)
    }

    /// How results are printed.
    pub fn output(&self) -> &Output {
        &self.manners.output
    }

    /// Whether nothing but results, warnings and errors is wanted.
    pub fn is_quiet(&self) -> bool {
        self.manners.quiet
    }

    /// How much more is wanted.
    pub fn verbosity(&self) -> u8 {
        self.manners.verbose
    }

    /// A line of progress, or of what comes next.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.manners.quiet {
            eprintln!("{}", plain(text.as_ref()));
        }
    }

    /// What whoever sits there must do for the command to go on: said to those who want quiet too.
    pub fn instruct(&self, text: impl AsRef<str>) {
        eprintln!("{}", plain(text.as_ref()));
    }

    /// A line for those who want to know more.
    pub fn detail(&self, text: impl AsRef<str>) {
        if self.manners.verbose > 0 {
            eprintln!("{}", plain(text.as_ref()));
        }
    }

    /// Something that goes well and should not be so.
    pub fn warn(&self, text: impl AsRef<str>) {
        eprintln!("{} {}", self.paint.on("warning:", Colour::Yellow), plain(text.as_ref()));
    }

    /// Why a command came to nothing.
    pub fn failure(&self, failure: &Failure) {
        eprintln!("{} {}", self.paint.on("error:", Colour::Red), plain(&failure.message));
        if let Some(hint) = &failure.hint {
            eprintln!("{} {}", self.paint.on("hint:", Colour::Cyan), plain(hint));
        }
    }

    /// Begins a step, shown while it runs where somebody watches.
    pub fn step(&self, title: impl AsRef<str>) -> Step {
        Step::begin(title.as_ref(), self.manners.quiet)
    }

    /// A list that was asked for. `items` is what `-o json` and its like print.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn list<T: Serialize>(&self, items: &[T], table: &Table) -> Result<(), Failure> {
        let mut out = String::new();
        match &self.manners.output {
            Output::Table => table.print(&mut out, !self.manners.no_headers, false),
            Output::Wide => table.print(&mut out, !self.manners.no_headers, true),
            Output::Name => {
                for row in &table.rows {
                    out.push_str(&plain(&row.name));
                    out.push('\n');
                }
            }
            structured => out = structured.render(&serde_json::json!({ "items": items }))?,
        }
        self.data(&out)
    }

    /// One thing that was asked for, with its facts in words for people.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn one<T: Serialize>(&self, name: &str, item: &T, facts: &[(&str, String)]) -> Result<(), Failure> {
        let out = match &self.manners.output {
            Output::Table | Output::Wide => table::facts(facts),
            Output::Name => format!("{}\n", plain(name)),
            structured => structured.render(&to_value(item)?)?,
        };
        self.data(&out)
    }

    /// What was asked for, as it is.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// The same, of any kind.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            // A reader that has gone away has seen enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Failed, format!("failed to write the result: {error}")))
            }
            _ => Ok(()),
        }
    }
}

fn to_value<T: Serialize>(item: &T) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(item)
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to print the result: {error}")))
}

/// A text without what would move a terminal's cursor or change its colours: it may come from elsewhere.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|it| {
            let shown: Box<dyn Iterator<Item = char>> = if it.is_control() && it != '\n' {
                Box::new(it.escape_default())
            } else {
                Box::new(std::iter::once(it))
            };
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_moves_no_cursor() {
        assert_eq!(plain("a\x1b[2Jb\rc\u{9b}d\nä"), "a\\u{1b}[2Jb\\rc\\u{9b}d\nä");
    }
}

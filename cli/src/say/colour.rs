//! Colours on standard error, where somebody watches and has not asked for none.

use std::env;
use std::io::{self, IsTerminal as _};

/// A colour of a word.
#[derive(Clone, Copy, Debug)]
pub(super) enum Colour {
    Red = 31,
    Yellow = 33,
    Cyan = 36,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// As the command line, `NO_COLOR` (no-color.org) and the terminal say.
    pub(super) fn choose(no_color: bool) -> Self {
        let unwanted = no_color
            || env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty())
            || env::var_os("TERM").is_some_and(|it| it == "dumb");
        Self(!unwanted && io::stderr().is_terminal())
    }

    pub(super) fn on(self, word: &str, colour: Colour) -> String {
        if self.0 { format!("\x1b[1;{}m{word}\x1b[0m", colour as u8) } else { word.to_owned() }
    }
}

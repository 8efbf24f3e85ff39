//! The passphrase of a sealed file: typed, or the first line of a file. Never an argument.

use std::fs;
use std::io;
use std::path::Path;

use crate::failure::{Exit, Failure};
use crate::say::secret;

/// For a file that is made: asked for twice.
pub(super) fn to_seal(file: Option<&Path>) -> Result<String, Failure> {
    if let Some(file) = file {
        return first_line(file);
    }
    let typed = hinted(secret("passphrase"))?;
    if typed == secret("passphrase, again")? {
        Ok(typed)
    } else {
        Err(Failure::new(Exit::Usage, "the passphrases differ"))
    }
}

/// For a file that is opened.
pub(super) fn to_open(file: Option<&Path>) -> Result<String, Failure> {
    match file {
        Some(file) => first_line(file),
        None => hinted(secret("passphrase")),
    }
}

fn hinted(typed: Result<String, Failure>) -> Result<String, Failure> {
    typed.map_err(|failure| failure.hint("give a file with it: --passphrase-file FILE"))
}

fn first_line(file: &Path) -> Result<String, Failure> {
    let failed = |reason: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, format!("failed to read the passphrase from {}: {reason}", file.display()))
    };
    // Standard input as it is: where it is a socket, as behind sshd, no path leads to it.
    let text =
        if file.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    let text = text.map_err(|error| failed(&error))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(failed(&"its first line is empty")) } else { Ok(line.to_owned()) }
}

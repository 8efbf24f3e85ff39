//! What is asked of whoever sits at the terminal.

use std::io::{self, BufRead as _, IsTerminal as _};

use crate::failure::{Exit, Failure};

/// A secret, typed without being shown.
///
/// # Errors
/// Where there is no terminal, or nothing was typed.
pub fn secret(prompt: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            format!("failed to ask for the {prompt}: there is no terminal"),
        ));
    }
    let typed = rpassword::prompt_password(format!("{prompt}: "));
    let typed = typed
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to ask for the {prompt}: {error}")))?;
    if typed.is_empty() {
        Err(Failure::new(Exit::Usage, format!("the {prompt} is empty")))
    } else {
        Ok(typed)
    }
}

/// A yes; anything else is a no. Without a terminal nobody is asked.
///
/// # Errors
/// Where the terminal cannot be read.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::new(Exit::Failed, format!("failed to read the answer: {error}")))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

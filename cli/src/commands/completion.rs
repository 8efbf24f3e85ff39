//! `completion SHELL`.

use clap_complete::env::{Bash, EnvCompleter, Fish, Powershell, Zsh};

use crate::failure::{Exit, Failure};
use crate::options::Shell;
use crate::say::Say;

/// The program, as shells find it.
const PROGRAM: &str = "portcullis";

pub(super) fn act(say: &Say, shell: Shell) -> Result<(), Failure> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
    };
    let mut script = Vec::new();
    // The variable by which the script asks: `main` looks for it.
    let written = completer.write_registration("COMPLETE", PROGRAM, PROGRAM, PROGRAM, &mut script);
    written.map_err(|error| Failure::new(Exit::Failed, format!("failed to write the script: {error}")))?;
    say.bytes(&script)
}

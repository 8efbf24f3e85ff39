//! The `portcullis` command, which is `kubectl portcullis` too.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use portcullis_cli::commands;
use portcullis_cli::options::Options;
use portcullis_cli::say::Say;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A shell asks while somebody types; it ends here then.
    clap_complete::CompleteEnv::with_factory(Options::command).complete();
    let options = match Options::from_arg_matches(&command().get_matches()) {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    let say = Say::new(options.manners.clone());
    match commands::act(options, &say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say.failure(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

/// The command, under the name that it is called by.
fn command() -> clap::Command {
    let called = env::args_os().next().unwrap_or_default();
    let is_plugin = Path::new(&called)
        .file_name()
        .is_some_and(|it| it.to_string_lossy().starts_with("kubectl-portcullis"));
    if is_plugin { commands::plugin(Options::command()) } else { Options::command() }
}

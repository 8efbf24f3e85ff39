//! The `portcullis` command.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use portcullis_cli::commands;
use portcullis_cli::options::Options;
use portcullis_cli::say::Say;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A shell asks while somebody types; it ends here then.
    clap_complete::CompleteEnv::with_factory(Options::command).complete();
    let options = Options::parse();
    let say = Say::new(options.manners.clone());
    match commands::act(options, &say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say.failure(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

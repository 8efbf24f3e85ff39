//! What the commands do: a file each.

mod auth;
mod gateway;
mod tunnel_run;

use crate::context::Context;
use crate::failure::Failure;
use crate::options::{Command, Options, Tunnel};
use crate::say::Say;

/// Does what was asked.
///
/// # Errors
/// Why it came to nothing.
pub fn act(options: Options, say: &Say) -> Result<(), Failure> {
    let context = Context::new(options.target, options.kube, say.clone());
    match options.command {
        Command::Auth { command } => auth::act(&context, command),
        Command::Gateway { command } => gateway::act(&context, command),
        Command::Tunnel { command: Tunnel::Run(run) } => tunnel_run::act(&context, &run),
    }
}

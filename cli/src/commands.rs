//! What the commands do: a file each.

mod auth;
mod completion;
mod connector;
mod diagnose;
mod gateway;
mod man;
mod project;
mod revoke;
mod tunnel;
mod version;

use crate::context::Context;
use crate::failure::Failure;
use crate::options::{Command, Options};
use crate::say::Say;

/// Does what was asked.
///
/// # Errors
/// Why it came to nothing.
pub fn act(options: Options, say: &Say) -> Result<(), Failure> {
    let context = Context::new(options.target, options.kube, say.clone());
    match options.command {
        Command::Auth { command } => auth::act(&context, command),
        Command::Diagnose(diagnose) => diagnose::act(&context, &diagnose),
        Command::Gateway { command } => gateway::act(&context, command),
        Command::Project { command } => project::act(&context, command),
        Command::Revoke(revoke) => revoke::act(&context, &revoke),
        Command::Tunnel { command } => tunnel::act(&context, command),
        Command::Connector(given) => connector::act(&context, &given),
        Command::Version(version) => version::act(&context, version),
        Command::Completion(completion) => completion::act(say, completion.shell),
        Command::Man(man) => man::act(say, &man),
        Command::Reference => say.data(&crate::reference::page()),
    }
}

/// The command as kubectl calls it: it says so, and shows which cluster is meant with what else is shown.
pub fn plugin(command: clap::Command) -> clap::Command {
    let command = command.name("kubectl portcullis").bin_name("kubectl portcullis");
    ["namespace", "context", "kubeconfig"]
        .into_iter()
        .fold(command, |command, id| command.mut_arg(id, |arg| arg.hide_short_help(false)))
}

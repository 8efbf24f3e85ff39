//! `cargo xtask`: the local cluster, images, the demo, tests, generated files and benches.
//!
//! Plain synchronous code that runs other programs; it links nothing of Portcullis, so that it compiles in seconds.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cache;
mod cluster;
mod command;
mod go;
mod image;
mod images;
mod prerequisites;
mod say;
mod wait;
mod workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Work on Portcullis", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Kubernetes clusters on this machine
    #[command(subcommand)]
    Cluster(cluster::cli::Action),
    /// Container images around static binaries, made without a container builder
    Images(images::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Cluster(action) => cluster::cli::act(action),
        Task::Images(options) => images::act(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::note(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

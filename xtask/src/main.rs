//! `cargo xtask`: the local cluster, images, the demo, tests, generated files and benches.
//!
//! Plain synchronous code that runs other programs; it links nothing of Portcullis, so that it compiles in seconds.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod cache;
mod cluster;
mod command;
mod definitions;
mod demo;
mod fuzz;
mod generate;
mod go;
mod helm;
mod image;
mod images;
mod install;
mod parts;
mod prerequisites;
mod release;
mod say;
mod test;
mod wait;
mod workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Work on Portcullis",
    disable_help_subcommand = true
)]
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
    /// From nothing to a Gateway that answers: cluster, operator, an example, and what clients get from it
    Demo(demo::Options),
    /// The operator on a cluster, brought up to date with this checkout: what `tilt up` does after every change
    Install(install::Options),
    /// All tests, tier by tier; the clusters that they need are started and taken down
    Test(test::Options),
    /// Fuzz what strangers send: greetings, messages, WebSocket frames, names
    Fuzz(fuzz::Options),
    /// All that a release consists of: images, chart, manifest, command line, bills of materials, checksums
    Release(release::Options),
    /// Files that are made from code and the chart: definitions, manifests/install.yaml, docs/reference
    Generate(generate::Options),
    /// Measure ours against a peer on this machine; exits 3 where a target is missed
    Bench(bench::Options),
}

/// The exit code of a bench that missed a target.
const MISSED: u8 = 3;

fn main() -> ExitCode {
    match act(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            say::note(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn act(task: Task) -> Result<ExitCode> {
    match task {
        Task::Cluster(action) => cluster::cli::act(action)?,
        Task::Images(options) => images::act(&options)?,
        Task::Demo(options) => demo::act(&options)?,
        Task::Install(options) => install::act(&options)?,
        Task::Test(options) if !test::act(&options) => return Ok(ExitCode::FAILURE),
        Task::Bench(options) if !bench::act(&options)? => return Ok(ExitCode::from(MISSED)),
        Task::Test(_) | Task::Bench(_) => {}
        Task::Fuzz(options) => fuzz::act(&options)?,
        Task::Generate(options) => generate::act(&options)?,
        Task::Release(options) => release::act(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

//! Arguments of `project …`.

use clap::{Args, Subcommand};

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub enum Project {
    /// List the projects that the gateway lets you use.
    #[command(visible_alias = "ls")]
    List,
    /// Mean this project from now on, where a command says nothing else.
    #[command(visible_alias = "use")]
    Switch(ProjectSwitch),
}

/// Which project.
#[derive(Debug, Args)]
pub struct ProjectSwitch {
    /// Its name.
    #[arg(value_name = "PROJECT")]
    pub project: String,
}

//! Arguments of `gateway …`.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::store::Name;

/// What to do with gateways.
#[derive(Debug, Subcommand)]
pub enum Gateway {
    /// List the gateways that are known here.
    #[command(visible_alias = "ls")]
    List,
    /// Make a gateway the active one: the one that commands mean where nothing else is said.
    #[command(visible_alias = "use")]
    Select(Select),
    /// Show what is known of a gateway, and which rule says that it is meant.
    Info,
}

/// Which gateway becomes the active one.
#[derive(Debug, Args)]
pub struct Select {
    /// Its name.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(crate::complete::gateways))]
    pub name: Name,
}

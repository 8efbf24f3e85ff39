//! Arguments of `gateway …`.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::auth::{Login, Logout};
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
    /// Log in at a gateway, as `auth login` does.
    ///
    /// The gateway says how: in a browser, or where there is none by a code on any other machine; behind an identity-aware
    /// edge, on a page of the edge's. With PORTCULLIS_CLIENT_ID and PORTCULLIS_CLIENT_SECRET in the environment, as a
    /// machine.
    Login(Login),
    /// Log out: give the tokens back, forget them, and be asked for the password next time.
    Logout(Logout),
}

/// Which gateway becomes the active one.
#[derive(Debug, Args)]
pub struct Select {
    /// Its name.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(crate::complete::gateways))]
    pub name: Name,
}

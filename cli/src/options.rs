//! Every argument of the command, in one place.

mod auth;
mod connector;
mod connector_file;
mod diagnose;
mod gateway;
mod kube;
mod project;
mod revoke;
mod tunnel;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use http::Uri;

use crate::gateways::Asked;
use crate::say::Manners;

pub use crate::remote::Remote;
pub use auth::{Auth, Explain, Login, Logout, Switch};
pub use connector::{Connector, LogFormat};
pub use connector_file::{ConnectorFile, Offers};
pub use diagnose::Diagnose;
pub use gateway::{Add, Export, Form, Gateway, Import, Remove, Select};
pub use kube::Kube;
pub use project::{Project, ProjectSwitch};
pub use revoke::Revoke;
pub use tunnel::{
    Delete, Doctor, InProject, List, Listen, Named, Names, Protocol, Service, ServiceNamed, Status, Tunnel,
    Update, Visitors, Wanting,
};

/// Reach the gateways of Portcullis, and put services behind them.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Options {
    /// Which gateway.
    #[command(flatten)]
    pub target: Target,
    /// Which cluster.
    #[command(flatten)]
    pub kube: Kube,
    /// How it is printed.
    #[command(flatten)]
    pub manners: Manners,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which gateway is meant: the first of these that is given, else PORTCULLIS_GATEWAY, else the active one, else that of
/// /etc/portcullis.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Gateway")]
pub struct Target {
    /// Where the gateway is; what is stored for that address is shown there.
    #[arg(long, global = true, value_name = "URL", value_parser = crate::gateways::endpoint)]
    pub gateway_endpoint: Option<Uri>,

    /// The gateway of this name (`portcullis gateway list`); a URL is taken too.
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        visible_alias = "cluster",
        add = ArgValueCandidates::new(crate::complete::gateways)
    )]
    pub gateway: Option<Asked>,

    /// Believe any certificate of a gateway. A client certificate is shown all the same.
    #[arg(long, global = true, visible_alias = "gateway-insecure")]
    pub insecure_skip_tls_verify: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Gateways that are known here.
    Gateway {
        /// What to do with them.
        #[command(subcommand)]
        command: Gateway,
    },
    /// Logins at gateways.
    Auth {
        /// What to do with them.
        #[command(subcommand)]
        command: Auth,
    },
    /// Take certificates of a Gateway's client back: they open nothing any more, and what they have open is cut. The client
    /// gets another one.
    ///
    /// Done with the caller's kubeconfig: it takes the rights to `get`, `patch` and `watch` the Gateway.
    Revoke(Revoke),
    /// Print the version, the gateway's too, and whether they get on.
    Version(Version),
    /// Print a script that lets a shell complete commands, and names of gateways as they are stored.
    ///
    /// For bash, `source <(portcullis completion bash)` in ~/.bashrc; for zsh, the same in ~/.zshrc; for fish,
    /// `portcullis completion fish | source` in ~/.config/fish/config.fish; for PowerShell,
    /// `portcullis completion powershell | Out-String | Invoke-Expression` in $PROFILE.
    Completion(Completion),
    /// Write manual pages to a folder, such as ~/.local/share/man/man1.
    Man(Man),
    /// Print docs/reference/cli.md.
    #[command(hide = true)]
    Reference,
    /// Pack what somebody who helps needs to see of a cluster into one file.
    ///
    /// Gateways, Tunnels and what belongs to them, conditions, Events, the last lines of logs and versions, read with your
    /// kubeconfig; of one namespace with --namespace. Of Secrets only names, keys and the dates of certificates; tokens,
    /// passwords and private keys in the rest are taken out. What is broken is printed. Nothing is sent anywhere.
    Diagnose(Diagnose),
    /// Services that answer on public names of a gateway.
    Tunnel {
        /// What to do with them.
        #[command(subcommand)]
        command: Tunnel,
    },
    /// Connect services to Tunnels that exist, until stopped: for pods and servers.
    ///
    /// The connection is dialled from here: nothing needs to reach this machine. It is kept to two replicas of the
    /// gateway, where there are two, and opened again when it breaks. Through an HTTP proxy where HTTPS_PROXY names one.
    /// The gateway is the one that --gateway names, a URL or a stored name, else PORTCULLIS_GATEWAY_ENDPOINT, else
    /// PORTCULLIS_GATEWAY, else the file's, else the active one; of one that is stored, its certificates are shown.
    ///
    /// Files that change are read again, and so is everything at SIGHUP: new connections are opened first, and those before
    /// end when the last request on them does.
    Connector(Connector),
    /// Projects: where one may have tunnels.
    Project {
        /// What to do with them.
        #[command(subcommand)]
        command: Project,
    },
}

/// Whose version.
#[derive(Clone, Copy, Debug, Args)]
pub struct Version {
    /// Print this program's alone, and ask nobody.
    #[arg(long)]
    pub client: bool,
}

/// For which shell.
#[derive(Clone, Copy, Debug, Args)]
pub struct Completion {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash, 4.0 or newer.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
    /// PowerShell.
    Powershell,
}

/// Where manual pages go.
#[derive(Clone, Debug, Args)]
pub struct Man {
    /// The folder. It is made where it is not.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_hold_together() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }
}

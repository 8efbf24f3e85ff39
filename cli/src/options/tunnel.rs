//! Arguments of `tunnel …`.

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;

/// What to do with tunnels.
#[derive(Debug, Subcommand)]
pub enum Tunnel {
    /// Let a service here answer on a public name, until stopped.
    ///
    /// Makes a Tunnel for the endpoint, or takes up the one that there is, connects it, and prints its URL once a byte has
    /// come back through it. Ctrl-C lets requests in flight finish and switches it off; its names stay reserved. A second
    /// Ctrl-C quits at once.
    Listen(Listen),
    /// List the tunnels that you may see.
    #[command(visible_alias = "ls")]
    List(List),
    /// Show a tunnel, and what is proved of it.
    Status(Status),
    /// Change a tunnel. What is not said stays as it is.
    Update(Update),
    /// Remove a tunnel. Its names are free then.
    #[command(visible_alias = "rm")]
    Delete(Delete),
    /// Tunnels that your systemd listens for, from login to logout.
    Service {
        /// What to do with them.
        #[command(subcommand)]
        command: Service,
    },
    /// Walk from here to the endpoint, hop by hop, and say which one is broken and what to do.
    Doctor(Doctor),
}

/// In which project.
#[derive(Clone, Debug, Default, Args)]
pub struct InProject {
    /// The project, for this call; --namespace says the same. Without it, the one that was switched to, else the gateway's
    /// own.
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
}

/// Which tunnel.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// Its name, or PROJECT/NAME. Without it, the one that was listened for last.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// In which project.
    #[command(flatten)]
    pub within: InProject,
}

/// What visitors speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// HTTP, gRPC and WebSocket.
    Http,
    /// TLS that the service ends itself.
    Tls,
}

impl Protocol {
    /// As the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
        }
    }
}

/// Under which public names a tunnel answers.
#[derive(Clone, Debug, Default, Args)]
pub struct Names {
    /// The public name: this label below the gateway's domain. Without it, the one that there is, else a readable one.
    #[arg(long, value_name = "LABEL", conflicts_with = "hostnames")]
    pub label: Option<String>,
    /// A public name in full. May be given several times.
    #[arg(long = "hostname", value_name = "NAME")]
    pub hostnames: Vec<String>,
}

/// Who may visit. Where nothing is said, a new tunnel is for those who say who they are, and another one stays as it is.
#[derive(Clone, Debug, Default, Args)]
pub struct Visitors {
    /// Open it to everybody. A new one is otherwise for visitors who say who they are.
    #[arg(long)]
    pub public: bool,
    /// Let in only visitors with this role. May be given several times.
    #[arg(long = "allow-role", value_name = "ROLE", conflicts_with = "public")]
    pub roles: Vec<String>,
    /// Let in only visitors from this network, such as 10.0.0.0/8. May be given several times.
    #[arg(long = "allow-cidr", value_name = "CIDR")]
    pub networks: Vec<String>,
}

/// What is to answer, and where, and who waits for it.
#[derive(Clone, Debug, Args)]
pub struct Listen {
    /// What is to answer, and where.
    #[command(flatten)]
    pub wanting: Wanting,
    /// Listen in the background: return once the URL has answered, and say where the log is and how to stop it.
    #[arg(long)]
    pub detach: bool,
    /// This is the process in the background.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub detached: bool,
}

/// A tunnel that systemd listens for.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Write a unit that listens for a tunnel while you are logged in, and start it.
    ///
    /// The arguments are those of `tunnel listen`. No secret is in the unit: what the gateway is shown stays in the
    /// configuration directory. Where there is no systemd, what to run is said.
    Install(Wanting),
    /// Stop it, and remove the unit. The Tunnel itself stays.
    Uninstall(ServiceNamed),
    /// List those that are installed, and how they are.
    #[command(visible_alias = "list")]
    Status,
}

/// Which service.
#[derive(Clone, Debug, Args)]
pub struct ServiceNamed {
    /// As `tunnel service status` has it. Without it, the only one that there is.
    #[arg(value_name = "SERVICE", add = ArgValueCandidates::new(crate::complete::services))]
    pub name: Option<String>,
}

/// What is to answer, and where.
#[derive(Clone, Debug, Args)]
pub struct Wanting {
    /// The service: a port of this machine, HOST:PORT, or a URL (http, https, h2c for gRPC without TLS, tcp).
    #[arg(short, long, value_name = "ENDPOINT")]
    pub endpoint: String,
    /// Under which public names.
    #[command(flatten)]
    pub names: Names,
    /// What visitors speak.
    #[arg(long, value_enum, default_value_t = Protocol::Http)]
    pub protocol: Protocol,
    /// The Tunnel's name, where it is to have a certain one.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Who may visit.
    #[command(flatten)]
    pub visitors: Visitors,
    /// In which project.
    #[command(flatten)]
    pub within: InProject,
}

impl Wanting {
    /// The same, as a command line has it.
    pub fn arguments(&self) -> Vec<String> {
        let Self { endpoint, names, protocol, name, visitors, within } = self;
        let mut arguments = vec![
            format!("--endpoint={endpoint}"),
            format!("--protocol={}", protocol.as_str().to_lowercase()),
        ];
        arguments.extend(names.label.iter().map(|label| format!("--label={label}")));
        arguments.extend(names.hostnames.iter().map(|name| format!("--hostname={name}")));
        arguments.extend(name.iter().map(|name| format!("--name={name}")));
        arguments.extend(visitors.public.then(|| "--public".to_owned()));
        arguments.extend(visitors.roles.iter().map(|role| format!("--allow-role={role}")));
        arguments.extend(visitors.networks.iter().map(|network| format!("--allow-cidr={network}")));
        arguments.extend(within.project.iter().map(|project| format!("--project={project}")));
        arguments
    }
}

/// Which tunnels.
#[derive(Clone, Debug, Args)]
pub struct List {
    /// In which project.
    #[command(flatten)]
    pub within: InProject,
    /// Of every project.
    #[arg(short = 'A', long, visible_alias = "all-namespaces", conflicts_with = "project")]
    pub all_projects: bool,
}

/// Which tunnel, and whether to wait for it.
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// Which tunnel.
    #[command(flatten)]
    pub named: Named,
    /// Wait until it is ready, for as long as --timeout says.
    #[arg(long)]
    pub wait: bool,
}

/// Which tunnel, and what becomes of it.
#[derive(Clone, Debug, Args)]
pub struct Update {
    /// Which tunnel.
    #[command(flatten)]
    pub named: Named,
    /// What the connector forwards to from now on.
    #[arg(short, long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// Under which public names.
    #[command(flatten)]
    pub names: Names,
    /// Whether it answers. Off, its names stay reserved.
    #[arg(long, value_name = "BOOL")]
    pub enabled: Option<bool>,
    /// Who may visit.
    #[command(flatten)]
    pub visitors: Visitors,
}

/// Which tunnel.
#[derive(Clone, Debug, Args)]
pub struct Delete {
    /// Which tunnel.
    #[command(flatten)]
    pub named: Named,
}

/// Which tunnel.
#[derive(Clone, Debug, Args)]
pub struct Doctor {
    /// Which tunnel.
    #[command(flatten)]
    pub named: Named,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Command, Options};

    fn wanting(arguments: &[String]) -> Wanting {
        let all = ["portcullis", "tunnel", "listen"].map(str::to_owned);
        let options = Options::parse_from(all.iter().chain(arguments));
        let Command::Tunnel { command: Tunnel::Listen(listen) } = options.command else { panic!("another") };
        listen.wanting
    }

    #[test]
    fn what_is_wanted_is_read_back_from_its_command_line() {
        for line in [
            "-e 3000",
            "-e tcp://db:5432 --protocol tls --hostname a.example --hostname b.example --name db --project shop",
            "-e https://x --label web --allow-role admin --allow-role user --allow-cidr 10.0.0.0/8",
            "-e 3000 --public",
        ] {
            let first = wanting(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(format!("{first:?}"), format!("{:?}", wanting(&first.arguments())), "{line}");
        }
    }
}

//! Arguments of `tunnel …`.

use clap::{Args, Subcommand, ValueEnum};

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

/// What is to answer, and where.
#[derive(Clone, Debug, Args)]
pub struct Listen {
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

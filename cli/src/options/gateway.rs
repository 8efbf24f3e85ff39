//! Arguments of `gateway …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use http::Uri;

use super::Remote;
use super::auth::{Login, Logout};
use crate::complete;
use crate::gateways::endpoint;
use crate::store::Name;

/// What to do with gateways.
#[derive(Debug, Subcommand)]
pub enum Gateway {
    /// Get to know a gateway: find out how it is reached, try it, store it, and make it the active one.
    ///
    /// It becomes the active one once a real call has gone well. Where a login is needed for that, it is stored, and the login
    /// is begun.
    Add(Box<Add>),
    /// List the gateways that are known here.
    #[command(visible_alias = "ls")]
    List,
    /// Make a gateway the active one: the one that commands mean where nothing else is said.
    #[command(visible_alias = "use")]
    Select(Select),
    /// Show what is known of a gateway, and which rule says that it is meant.
    Info,
    /// Try a gateway: is it reachable, and whom does it take us for?
    Status,
    /// Get another client certificate from a gateway, for a new key that never leaves this machine.
    ///
    /// The one that is stored must still be good, and stays so until it ends. Commands that call a gateway do this by
    /// themselves once two thirds of its life are over.
    Renew,
    /// Write all that is stored for a gateway to one file that a passphrase opens, or to a folder as OpenShell reads it.
    Export(Export),
    /// Take in gateways from OpenShell's folder, or from one of an older layout. None is tried, and none becomes active.
    Import(Import),
    /// Log in at a gateway, as `auth login` does.
    ///
    /// The gateway says how: in a browser, or where there is none by a code on any other machine; behind an identity-aware
    /// edge, on a page of the edge's. With PORTCULLIS_CLIENT_ID and PORTCULLIS_CLIENT_SECRET in the environment, as a
    /// machine.
    Login(Login),
    /// Log out: give the tokens back, forget them, and be asked for the password next time.
    Logout(Logout),
    /// Forget a gateway, with all that is stored for it.
    #[command(visible_alias = "rm")]
    Remove(Remove),
}

/// A gateway that is to be known.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Add {
    /// Where it is, such as https://door.example.com.
    #[arg(value_name = "URL", value_parser = endpoint, required_unless_present_any = ["from_kube", "bundle", "local", "remote"])]
    pub url: Option<Uri>,

    /// What it is called here. Without it, as its host or its Gateway is called.
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,

    /// Take the endpoint and a client's bundle from a Gateway in a cluster. With a URL too, that is where it is.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = object)]
    pub from_kube: Option<(Option<String>, String)>,

    /// Take the only Gateway of the cluster that the kubeconfig of this machine names, or of --namespace there.
    #[arg(long, conflicts_with_all = ["from_kube", "bundle", "remote"])]
    pub local: bool,

    /// Take what another machine knows, by the system's `ssh`: the active gateway of `portcullis` there, or else the only
    /// Gateway that `kubectl` there finds, in all namespaces or in --namespace. Nothing is written there, and nothing secret
    /// is an argument.
    #[arg(long, value_name = "[USER@]HOST", conflicts_with_all = ["from_kube", "bundle"])]
    pub remote: Option<Remote>,

    /// Whose bundle: a name of the Gateway's spec.clients. Without it, the only one's.
    #[arg(long, value_name = "NAME", conflicts_with = "bundle")]
    pub client: Option<String>,

    /// A folder with ca.crt, tls.crt and tls.key, or a file that `gateway export` has made.
    #[arg(long, value_name = "PATH", conflicts_with = "from_kube")]
    pub bundle: Option<PathBuf>,

    /// The first line of this file, or of - for standard input, opens the bundle's file. Without it, the passphrase is asked for.
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub passphrase_file: Option<PathBuf>,

    /// Roots that the gateway is checked against, PEM. Without them, those of its bundle, or the public ones.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// The name in the gateway's certificate, where it is not the URL's host.
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,

    /// Replace a gateway of the same name that is elsewhere.
    #[arg(long)]
    pub replace: bool,

    /// Leave the active gateway as it is.
    #[arg(long)]
    pub no_select: bool,

    /// Do not log in where a login is needed. Without a terminal, and without a machine's credentials in the environment,
    /// nobody is logged in either.
    #[arg(long)]
    pub no_login: bool,

    /// How to log in, where a login is needed.
    #[command(flatten)]
    pub login: Login,
}

/// Which gateway becomes the active one.
#[derive(Clone, Debug, Args)]
pub struct Select {
    /// Its name.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::gateways))]
    pub name: Name,
}

/// How a gateway is written to elsewhere.
#[derive(Clone, Debug, Args)]
pub struct Export {
    /// The file, or - for standard output; with --form openshell, the folder.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,

    /// What is written.
    #[arg(long, value_enum, default_value_t = Form::Sealed)]
    pub form: Form,

    /// The first line of this file, or of - for standard input, becomes the passphrase. Without it, it is asked for.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// Write the tokens of whoever is logged in, too.
    #[arg(long)]
    pub with_tokens: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One file, encrypted with a passphrase (age).
    Sealed,
    /// A folder such as ~/.config/openshell. Nothing is encrypted.
    Openshell,
}

/// Where gateways are taken from.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// The folder. Without it, OpenShell's own.
    #[arg(value_name = "FOLDER")]
    pub folder: Option<PathBuf>,

    /// Replace gateways that are stored under the same name.
    #[arg(long)]
    pub replace: bool,
}

/// Which gateway is forgotten.
#[derive(Clone, Debug, Args)]
pub struct Remove {
    /// Its name.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::gateways))]
    pub name: Name,
}

pub(super) fn object(text: &str) -> Result<(Option<String>, String), String> {
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'.')
    };
    match text.split_once('/') {
        Some((namespace, name)) if fits(namespace) && fits(name) => {
            Ok((Some(namespace.to_owned()), name.to_owned()))
        }
        None if fits(text) => Ok((None, text.to_owned())),
        _ => Err("write NAMESPACE/NAME, such as shop/door".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_in_a_cluster_has_a_name_and_maybe_a_namespace() {
        assert_eq!(object("shop/door"), Ok((Some("shop".to_owned()), "door".to_owned())));
        assert_eq!(object("door"), Ok((None, "door".to_owned())));
        for bad in ["", "/door", "shop/", "a/b/c", "shop/do or"] {
            assert!(object(bad).is_err(), "{bad}");
        }
    }
}

//! Arguments of `auth …`, and of the logins that `gateway …` has too.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::complete;

/// What to do with logins.
#[derive(Debug, Subcommand)]
pub enum Auth {
    /// Log in at a gateway.
    ///
    /// The gateway says how: in a browser, or where there is none by a code on any other machine; behind an identity-aware
    /// edge, on a page of the edge's. With PORTCULLIS_CLIENT_ID and PORTCULLIS_CLIENT_SECRET in the environment, as a
    /// machine.
    Login(Login),
    /// Log out: give the tokens back, forget them, and be asked for the password next time.
    Logout(Logout),
    /// Show who is logged in, for how long, and whom the gateway takes that for.
    Status,
    /// List who is logged in at which gateway.
    #[command(visible_alias = "ls")]
    List,
    /// Become somebody else at a gateway: somebody who is logged in already, or who logs in now.
    Switch(Switch),
    /// Show which of the gateway's methods one may call, by which rule, and what is missing where one may not.
    Explain(Explain),
}

/// How to log in.
#[derive(Clone, Debug, Default, Args)]
pub struct Login {
    /// What to ask for, such as tunnel:read,tunnel:write; asked for by later logins too. An empty text: what the gateway
    /// says.
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    pub scopes: Option<Vec<String>>,

    /// Open no browser here: show a code for a browser on any other machine.
    #[arg(long)]
    pub no_browser: bool,

    /// The authority that signed the provider's certificate, PEM; believed by later logins too. Without it, those of this
    /// machine.
    #[arg(long, value_name = "FILE")]
    pub issuer_ca: Option<PathBuf>,

    /// Log in at the OpenID provider, also where an identity-aware edge is in front of the gateway.
    #[arg(long)]
    pub oidc: bool,

    /// Log in at the identity-aware edge, also where it cannot be told whether one is in front.
    #[arg(long, conflicts_with = "oidc")]
    pub edge: bool,
}

impl Login {
    /// The same, as it is typed after a command of a shell, with a space before each.
    pub fn typed(&self) -> String {
        let Self { scopes, no_browser, issuer_ca, oidc, edge } = self;
        let mut words = Vec::new();
        words.extend(scopes.iter().map(|scopes| format!("--scopes={}", scopes.join(","))));
        words.extend(no_browser.then(|| "--no-browser".to_owned()));
        words.extend(issuer_ca.iter().map(|path| format!("--issuer-ca={}", path.display())));
        words.extend(oidc.then(|| "--oidc".to_owned()));
        words.extend(edge.then(|| "--edge".to_owned()));
        let mut typed = String::new();
        for word in words {
            typed.push(' ');
            typed.push_str(&quoted(&word));
        }
        typed
    }
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_=,.:/@%+".contains(letter);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// How to log out.
#[derive(Clone, Debug, Default, Args)]
pub struct Logout {
    /// Everybody who is logged in at the gateway, those who are set aside too.
    #[arg(long)]
    pub all: bool,

    /// Leave the browser's own session at the provider alone.
    #[arg(long)]
    pub no_browser: bool,
}

/// Whom to become.
#[derive(Clone, Debug, Args)]
pub struct Switch {
    /// Who, as `auth list` shows it. Without it, the only other one, or whoever logs in now.
    #[arg(value_name = "ACCOUNT", add = ArgValueCandidates::new(complete::accounts))]
    pub account: Option<String>,

    /// Where somebody logs in: how.
    #[command(flatten)]
    pub login: Login,
}

/// What to explain.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// Methods with this in their name, such as Tunnels/CreateTunnel. Without it, all.
    #[arg(value_name = "METHOD")]
    pub method: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_of_a_login_can_be_typed_again() {
        assert_eq!(Login::default().typed(), "");
        let login = Login {
            scopes: Some(vec!["tunnel:read".to_owned(), "tunnel:write".to_owned()]),
            no_browser: true,
            issuer_ca: Some("it's/company ca.crt".into()),
            oidc: true,
            edge: false,
        };
        let typed =
            r" --scopes=tunnel:read,tunnel:write --no-browser '--issuer-ca=it'\''s/company ca.crt' --oidc";
        assert_eq!(login.typed(), typed);
    }
}

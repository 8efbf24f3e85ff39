//! Logs somebody out at a gateway: gives the tokens back to the provider, and forgets them whatever that comes to.

use std::env;

use super::enter::{endpoint, stored};
use super::kept::Accounts;
use super::{remember, show, trust};
use crate::context::Context;
use crate::failure::Failure;
use crate::gateways::Resolved;
use crate::login::{self, Machine, Means, Tokens};

/// Where Cloudflare's edge ends a person's session.
const CLOUDFLARE_COOKIE: &str = "CF_Authorization";
const CLOUDFLARE_LOGOUT: &str = "/cdn-cgi/access/logout";

/// Whose tokens are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of whoever is logged in.
    Active,
    /// Of those who are set aside too.
    Everybody,
}

/// Logs out; who has gone. Nobody where nobody was logged in.
///
/// # Errors
/// Where the provider was not told. The tokens are forgotten all the same.
pub async fn leave(
    context: &Context,
    gateway: &Resolved,
    whose: Whose,
    no_browser: bool,
) -> Result<Vec<String>, Failure> {
    let (place, name) = stored(gateway)?;
    let accounts = Accounts::of(&context.store, place, name);
    let variable = |name: &str| env::var(name).ok();
    let machine = Machine::find(&variable)?;
    let open = matches!(
        login::choose(no_browser, &|name| variable(name).filter(|_| !is_machine(name))),
        Ok(Means::Browser)
    );
    let mut gone = Vec::new();
    if let Some(token) = accounts.edge()? {
        accounts.set_edge(None)?;
        let who = login::peek(&token).map(|it| it.account).unwrap_or_default();
        gone.push(if who.is_empty() { "somebody".to_owned() } else { who });
        edge_session(context, gateway);
    }
    let tokens = forgotten(&accounts, whose, machine.as_ref())?;
    gone.extend(tokens.iter().map(|it| it.name().to_owned()));
    if !tokens.is_empty() {
        remember::left(context, gateway)?;
    }
    let web = trust::web(gateway.metadata.oidc.as_ref().and_then(remember::ca))?;
    let mut failed = None;
    for tokens in tokens {
        let machine = machine.as_ref().filter(|it| it.client_id == tokens.client_id);
        if let Err(error) = login::logout(&web, &tokens, machine, open, &show(&context.say)).await {
            let failure = Failure::from(error);
            failed = Some(Failure {
                message: format!(
                    "the tokens of {} are forgotten here, and the provider was not told: {failure}",
                    tokens.name()
                ),
                ..failure
            });
        }
    }
    failed.map_or(Ok(gone), Err)
}

fn is_machine(name: &str) -> bool {
    name.starts_with("PORTCULLIS_CLIENT_")
}

/// Forgets tokens; which they were.
fn forgotten(accounts: &Accounts, whose: Whose, machine: Option<&Machine>) -> Result<Vec<Tokens>, Failure> {
    let held = accounts.lock()?;
    accounts.change(&held, |kept| {
        let mut gone = Vec::new();
        if let Some(machine) = machine {
            let (theirs, rest) = std::mem::take(&mut kept.machines)
                .into_iter()
                .partition(|it| it.client_id == machine.client_id);
            kept.machines = rest;
            gone = theirs;
        } else {
            gone.extend(kept.active.take());
        }
        if whose == Whose::Everybody {
            gone.extend(kept.active.take());
            gone.append(&mut kept.others);
            gone.append(&mut kept.machines);
        }
        gone
    })
}

/// A session at an edge is the browser's; only the edge can end it.
fn edge_session(context: &Context, gateway: &Resolved) {
    let cookie = gateway.metadata.edge.as_ref().map_or(CLOUDFLARE_COOKIE, |edge| edge.cookie.as_str());
    let url = endpoint(gateway);
    context.say.note(if cookie == CLOUDFLARE_COOKIE {
        format!("the browser is logged in at the edge still: open {url}{CLOUDFLARE_LOGOUT} to end that")
    } else {
        format!("the browser is logged in at the edge of {url} still: end that there, or close it")
    });
}

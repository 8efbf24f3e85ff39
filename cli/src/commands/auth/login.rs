//! `auth login`, `gateway login`.

use serde::Serialize;

use super::when;
use crate::accounts::{At, Entered, Wish, enter};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::Resolved;
use crate::options::Login;
use portcullis_protocol::clock;

/// Who is logged in now, for programs.
#[derive(Serialize)]
struct LoggedIn {
    gateway: String,
    account: String,
    issuer: String,
    scopes: Vec<String>,
    expires_at: Option<i64>,
    renewed: bool,
    edge: bool,
}

pub(in crate::commands) fn act(context: &Context, arguments: &Login) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let entered = context.wait(enter(context, &gateway, &wish(arguments)?))?;
    said(context, &gateway, &entered)
}

/// What the arguments wish for.
pub(in crate::commands) fn wish(login: &Login) -> Result<Wish, Failure> {
    let ca = login.issuer_ca.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .map_err(|error| Failure::new(Exit::Usage, format!("failed to read {}: {error}", path.display())))
    });
    let named = |all: &Vec<String>| all.iter().filter(|it| !it.is_empty()).cloned().collect();
    Ok(Wish {
        scopes: login.scopes.as_ref().map(named),
        no_browser: login.no_browser,
        ca: ca.transpose()?,
        place: match (login.edge, login.oidc) {
            (true, _) => Some(At::Edge),
            (_, true) => Some(At::Provider),
            _ => None,
        },
        anew: false,
    })
}

/// Says who is logged in now.
pub(in crate::commands) fn said(
    context: &Context,
    gateway: &Resolved,
    entered: &Entered,
) -> Result<(), Failure> {
    let tokens = &entered.tokens;
    let logged_in = LoggedIn {
        gateway: gateway.title(),
        account: tokens.name().to_owned(),
        issuer: tokens.issuer.clone(),
        scopes: tokens.scopes.clone(),
        expires_at: tokens.expires_at,
        renewed: tokens.refresh_token.is_some(),
        edge: entered.edge,
    };
    if context.say.output().is_structured() {
        return context.say.one(&logged_in.account, &logged_in, &[]);
    }
    let end = when::in_words(tokens.expires_at, clock::now());
    let how = match (logged_in.renewed, end.starts_with("in ")) {
        (true, _) => "it is renewed by itself until you log out".to_owned(),
        (false, true) => format!("it ends {end}"),
        (false, false) => format!("it ends {}", end.trim_start_matches("it ")),
    };
    context.say.note(format!("logged in at {} as {}: {how}", logged_in.gateway, logged_in.account));
    Ok(())
}

//! What follows where a gateway wants a login: the login itself, where somebody is there to do so.

use std::env;
use std::io::{self, IsTerminal as _};

use crate::commands::auth;
use crate::context::Context;
use crate::failure::Failure;
use crate::gateways::{Asked, Given, Known, resolve};
use crate::options::Add;
use crate::store::Name;

/// Logs in at what is stored now, which becomes the active one when the gateway knows who that is; where nobody is there to
/// do so, says how.
pub(super) async fn next(context: &Context, add: &Add, name: &Name) -> Result<(), Failure> {
    let is_set = |name: &str| env::var_os(name).is_some_and(|it| !it.is_empty());
    let is_watched = io::stderr().is_terminal() && io::stdin().is_terminal();
    if add.no_login || !(is_watched || is_set("PORTCULLIS_CLIENT_ID") || is_set("BROWSER")) {
        context.say.note(format!("log in next: portcullis gateway login -g {name}"));
        return Ok(());
    }
    let asked = Given { gateway: Some(Asked::Name(name.clone())), ..Given::default() };
    let gateway = resolve(&asked, &Known::read(&context.store)?)?;
    let wish = auth::wish(&add.login)?;
    auth::log_in(context, &gateway, &wish, !add.no_select).await.map_err(|failure| {
        let again = format!("the gateway is stored: `portcullis gateway login -g {name}` tries again");
        let hint = failure.hint.clone().map_or(again.clone(), |hint| format!("{hint}; {again}"));
        failure.hint(hint)
    })
}

//! What follows where a gateway wants a login: the login itself, and then the call that makes the gateway the active one.

use std::env;
use std::io::{self, IsTerminal as _};

use crate::accounts::enter;
use crate::commands::auth;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::{Resolved, Rule, endpoint, verify};
use crate::options::Add;
use crate::store::{Name, Place};

/// Logs in, where somebody is there to do so; otherwise says how.
pub(super) async fn next(context: &Context, add: &Add, name: &Name) -> Result<(), Failure> {
    let is_machine = env::var_os("PORTCULLIS_CLIENT_ID").is_some_and(|it| !it.is_empty());
    let is_watched = io::stderr().is_terminal() && io::stdin().is_terminal();
    let later = format!("portcullis gateway login -g {name}{}", add.login.typed());
    if add.no_login || !(is_machine || is_watched) {
        context.say.note(format!("log in next: {later}"));
        return Ok(());
    }
    let wish = auth::wish(&add.login)?;
    let gateway = stored(context, name)?;
    let entered = enter(context, &gateway, &wish).await.map_err(|failure| {
        let again = format!("the gateway is stored: `{later}` tries again");
        let hint = failure.hint.clone().map_or(again.clone(), |hint| format!("{hint}; {again}"));
        failure.hint(hint)
    })?;
    auth::said(context, &gateway, &entered)?;
    first(context, name, add.no_select).await
}

/// Makes a gateway the active one, if a call goes well.
async fn first(context: &Context, name: &Name, leave: bool) -> Result<(), Failure> {
    let gateway = stored(context, name)?;
    let verified = verify(&gateway, &context.access(&gateway)?).await?;
    let user = &verified.me.user;
    if leave {
        context.say.note(format!("the gateway takes you for {user}"));
        return Ok(());
    }
    let held = context.store.lock()?;
    context.store.set_active(&held, Some(name))?;
    context.say.note(format!("the gateway takes you for {user}, and is the active one"));
    Ok(())
}

/// After `gateway login`: where none is active yet, this one becomes so, if a call goes well.
///
/// # Errors
/// Where the call does not, or nothing can be written.
pub(in crate::commands::gateway) fn after(context: &Context) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let active = [Place::Own, Place::System].map(|place| context.store.active(place));
    match (gateway.name(), active) {
        (Some(name), [Ok(None), Ok(None)]) => context.until_interrupted(first(context, name, false)),
        _ => Ok(()),
    }
}

fn stored(context: &Context, name: &Name) -> Result<Resolved, Failure> {
    let gone = || Failure::new(Exit::NotFound, format!("there is no gateway `{name}` any more"));
    let (place, metadata) = context.store.find(name)?.ok_or_else(gone)?;
    let endpoint = endpoint(&metadata.endpoint).map_err(|reason| Failure::new(Exit::Failed, reason))?;
    Ok(Resolved { stored: Some((place, name.clone())), endpoint, metadata, rule: Rule::Flag })
}

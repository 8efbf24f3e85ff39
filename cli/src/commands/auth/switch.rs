//! `auth switch [ACCOUNT]`.

use super::{login, tunnels};
use crate::accounts::{Accounts, Wish, enter};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::Resolved;
use crate::login::Tokens;
use crate::options::Switch;

pub(super) fn act(context: &Context, switch: &Switch) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let others = others(context, &gateway)?;
    let chosen = match (&switch.account, others.as_slice()) {
        (Some(account), _) => Some(account.clone()),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    };
    context.wait(async {
        tunnels::warn(context, &gateway).await;
        match chosen {
            Some(account) => known(context, &gateway, &account, &others),
            None => another(context, &gateway, switch).await,
        }
    })
}

fn others(context: &Context, gateway: &Resolved) -> Result<Vec<String>, Failure> {
    let Some((place, name)) = &gateway.stored else { return Ok(Vec::new()) };
    let kept = Accounts::of(&context.store, *place, name).read()?;
    Ok(kept.others.iter().map(|it| it.name().to_owned()).collect())
}

/// Somebody who is logged in already.
fn known(context: &Context, gateway: &Resolved, account: &str, others: &[String]) -> Result<(), Failure> {
    let title = gateway.title();
    let unknown = || {
        let hint = if others.is_empty() {
            "run `portcullis auth switch` to log in as somebody else".to_owned()
        } else {
            format!("there are: {}; without a name, somebody else can log in", others.join(", "))
        };
        Failure::new(Exit::NotFound, format!("nobody called `{account}` is logged in at {title}")).hint(hint)
    };
    let Some((place, name)) = &gateway.stored else { return Err(unknown()) };
    let accounts = Accounts::of(&context.store, *place, name);
    let active = accounts.read()?.active;
    if active.as_ref().is_some_and(|it| it.account == account || it.subject == account) {
        context.say.note(format!("{account} is who you are at {title} already"));
        return Ok(());
    }
    let held = accounts.lock()?;
    let now = accounts.change(&held, |kept| kept.switch(account).map(Tokens::name).map(str::to_owned))?;
    let now = now.ok_or_else(unknown)?;
    context.say.note(format!("you are {now} at {title} now"));
    Ok(())
}

/// Somebody who logs in now, whoever the browser thinks it is.
async fn another(context: &Context, gateway: &Resolved, switch: &Switch) -> Result<(), Failure> {
    let wish = Wish { anew: true, ..login::wish(&switch.login)? };
    let entered = enter(context, gateway, &wish).await?;
    login::said(context, gateway, &entered)
}

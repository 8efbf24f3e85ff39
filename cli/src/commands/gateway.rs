//! `gateway …`.

mod add;
mod export;
mod import;
mod info;
mod list;
mod passphrase;
mod remove;
mod renew;
mod select;
mod status;

use crate::context::Context;
use crate::failure::Failure;
use crate::options::Gateway;

/// Does what was asked.
pub(super) fn act(context: &Context, command: Gateway) -> Result<(), Failure> {
    match command {
        Gateway::Add(add) => add::act(context, &add),
        Gateway::List => list::act(context),
        Gateway::Select(select) => select::act(context, &select),
        Gateway::Info => info::act(context),
        Gateway::Status => status::act(context),
        Gateway::Renew => renew::act(context),
        Gateway::Export(export) => export::act(context, &export),
        Gateway::Import(import) => import::act(context, &import),
        Gateway::Remove(remove) => remove::act(context, &remove),
        Gateway::Login(login) => super::auth::login(context, &login).and_then(|()| add::after_login(context)),
        Gateway::Logout(logout) => super::auth::logout(context, &logout),
    }
}

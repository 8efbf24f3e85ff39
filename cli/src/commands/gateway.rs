//! `gateway …`.

mod info;
mod list;
mod select;

use crate::context::Context;
use crate::failure::Failure;
use crate::options::Gateway;

/// Does what was asked.
pub(super) fn act(context: &Context, command: Gateway) -> Result<(), Failure> {
    match command {
        Gateway::List => list::act(context),
        Gateway::Select(select) => select::act(context, &select),
        Gateway::Info => info::act(context),
        Gateway::Login(login) => super::auth::login(context, &login),
        Gateway::Logout(logout) => super::auth::logout(context, &logout),
    }
}

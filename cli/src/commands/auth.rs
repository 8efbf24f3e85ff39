//! `auth …`, and `gateway login` and `gateway logout`, which are the same.

mod explain;
mod list;
mod login;
mod logout;
mod status;
mod switch;
mod tunnels;
mod when;

use crate::context::Context;
use crate::failure::Failure;
use crate::options::Auth;

pub(super) use login::act as login;
pub(super) use login::{said, wish};
pub(super) use logout::act as logout;

/// Does what was asked.
pub(super) fn act(context: &Context, command: Auth) -> Result<(), Failure> {
    match command {
        Auth::Login(wish) => login(context, &wish),
        Auth::Logout(wish) => logout(context, &wish),
        Auth::Status => status::act(context),
        Auth::List => list::act(context),
        Auth::Switch(wish) => switch::act(context, &wish),
        Auth::Explain(wish) => explain::act(context, &wish),
    }
}

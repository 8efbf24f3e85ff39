//! `auth logout`, `gateway logout`.

use super::tunnels;
use crate::accounts::{Whose, leave};
use crate::context::Context;
use crate::failure::Failure;
use crate::options::Logout;

pub(in crate::commands) fn act(context: &Context, logout: &Logout) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let whose = if logout.all { Whose::Everybody } else { Whose::Active };
    let gone = context.wait(async {
        tunnels::warn(context, &gateway).await;
        leave(context, &gateway, whose, logout.no_browser).await
    })?;
    if gone.is_empty() {
        context.say.note(format!("nobody was logged in at {}", gateway.title()));
    } else {
        context.say.note(format!("logged out at {}: {}", gateway.title(), gone.join(", ")));
    }
    Ok(())
}

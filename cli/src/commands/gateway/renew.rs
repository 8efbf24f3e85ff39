//! `gateway renew`: another certificate, now.

use serde::Serialize;

use crate::channel::Channel;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::certificate;
use crate::renewal;
use crate::store::Place;

/// What came of it, for programs.
#[derive(Serialize)]
struct Shown {
    name: String,
    serial: String,
    expires_at: String,
}

pub(super) fn act(context: &Context) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let name = match &gateway.stored {
        Some((Place::Own, name)) => name,
        Some((Place::System, name)) => {
            return Err(Failure::new(
                Exit::Denied,
                format!("the gateway `{name}` is one of /etc/portcullis, which is only read"),
            ));
        }
        None => {
            return Err(Failure::new(Exit::Usage, "only what is stored can be renewed")
                .hint("name a gateway: `portcullis gateway list` shows them"));
        }
    };
    if context.is_insecure() {
        return Err(Failure::new(
            Exit::Usage,
            "nothing is taken from a gateway whose certificate is not looked at",
        )
        .hint("leave --insecure-skip-tls-verify away"));
    }
    let access = context.quiet_access(&gateway)?;
    let step = context.say.step(format!("renewing the certificate for {name}"));
    let renewed = context.until_interrupted(async {
        let channel = Channel::open(&gateway, &access).await?;
        let renewing = renewal::renew(&context.store, name, &channel, &access.bundle);
        channel.in_time(renewing).await
    })?;
    drop(step);
    let shown = Shown {
        name: name.to_string(),
        serial: renewed.serial,
        expires_at: certificate::shown(renewed.ends),
    };
    let facts =
        [("Name", shown.name.clone()), ("Serial", shown.serial.clone()), ("Until", shown.expires_at.clone())];
    context.say.one(&shown.name, &shown, &facts)
}

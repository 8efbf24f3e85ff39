//! `tunnel update`: changes what is said, and leaves the rest.

use portcullis_contract::endpoint::Scheme;
use portcullis_contract::gateway::{TunnelHostnames, UpdateTunnelRequest};

use super::{Asked, which};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{Names, Update};
use crate::tunnel::{Shown, access, endpoint};

pub(super) fn act(context: &Context, update: Update) -> Result<(), Failure> {
    let usage = |reason: String| Failure::new(Exit::Usage, reason);
    let written =
        update.endpoint.as_deref().map(|text| endpoint(text, Scheme::Http)).transpose().map_err(usage)?;
    let Names { label, hostnames } = update.names;
    let hostnames = (!hostnames.is_empty()).then_some(TunnelHostnames { hostnames });
    let change = UpdateTunnelRequest {
        endpoint: written.map(|endpoint| endpoint.to_string()),
        label,
        hostnames,
        enabled: update.enabled,
        access: access(update.visitors),
        ..UpdateTunnelRequest::default()
    };
    if change == UpdateTunnelRequest::default() {
        return Err(Failure::new(Exit::Usage, "nothing to change was said")
            .hint("write what becomes of it, such as --label shop or --enabled=false"));
    }
    context.wait(async {
        let Asked { gateway, channel, mut api } = Asked::open(context).await?;
        let meant = which(context, &gateway, &update.named)?;
        let request = UpdateTunnelRequest { namespace: meant.project, name: meant.name, ..change };
        let doing = format!("change tunnel {}", request.name);
        let shown = Shown::from(channel.call(&doing, api.update_tunnel(request)).await?);
        context.say.note(format!("tunnel {} changed", shown.title()));
        context.say.one(&shown.title(), &shown, &shown.facts())
    })
}

//! `tunnel status`: what is proved of a tunnel.

use portcullis_contract::gateway::{GetTunnelRequest, Tunnel, TunnelChange, WatchTunnelsRequest};

use super::{Asked, which};
use crate::background::running;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Status;
use crate::tunnel::{Shown, is_ready};

pub(super) fn act(context: &Context, status: &Status) -> Result<(), Failure> {
    context.wait(async {
        let mut asked = Asked::open(context).await?;
        let meant = which(context, &asked.gateway, &status.named)?;
        let request = GetTunnelRequest { namespace: meant.project, name: meant.name };
        let doing = format!("read tunnel {}", request.name);
        let mut tunnel = asked.channel.call(&doing, asked.api.get_tunnel(request)).await?;
        if status.wait {
            tunnel = ready(context, &mut asked, tunnel).await?;
        }
        let shown = Shown::from(tunnel).among(&running(), &asked.gateway);
        context.say.one(&shown.title(), &shown, &shown.facts())
    })
}

/// Waits until it is ready.
async fn ready(context: &Context, asked: &mut Asked, tunnel: Tunnel) -> Result<Tunnel, Failure> {
    if is_ready(&tunnel) {
        return Ok(tunnel);
    }
    let (mut last, doing) = (tunnel, "watch the tunnel");
    let step = context.say.step(format!("tunnel {}", last.name));
    let request = WatchTunnelsRequest { namespace: last.namespace.clone(), name: last.name.clone() };
    let mut events = asked.channel.call(doing, asked.api.watch_tunnels(request)).await?;
    let waiting = async {
        loop {
            let event = events.message().await.map_err(|status| asked.channel.failed(doing, &status))?;
            let Some(event) = event else {
                return Err(Failure::new(Exit::Unreachable, "the gateway has ended the watch: try again"));
            };
            let change = event.change();
            let Some(tunnel) = event.tunnel else { continue };
            if change == TunnelChange::Deleted {
                return Err(Failure::new(Exit::NotFound, format!("tunnel {} was deleted", tunnel.name)));
            }
            last = tunnel;
            if is_ready(&last) {
                return Ok(());
            }
            step.progress(&Shown::from(last.clone()).message);
        }
    };
    let waited = tokio::time::timeout(context.say.timeout(), waiting).await;
    let Ok(outcome) = waited else {
        let shown = Shown::from(last);
        let late = format!("tunnel {} is not ready: {}", shown.name, shown.message);
        return Err(Failure::new(Exit::TimedOut, late)
            .hint(format!("run `portcullis tunnel doctor {}`", shown.title())));
    };
    outcome?;
    step.done_as(&format!("tunnel {} is ready", last.name));
    Ok(last)
}

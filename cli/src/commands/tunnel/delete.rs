//! `tunnel delete`: removes a tunnel, whether or not its connector is there.

use portcullis_contract::gateway::DeleteTunnelRequest;

use super::{Asked, which};
use crate::context::Context;
use crate::failure::Failure;
use crate::options::Delete;
use crate::tunnel::Last;

pub(super) fn act(context: &Context, delete: &Delete) -> Result<(), Failure> {
    context.wait(async {
        let Asked { gateway, channel, mut api } = Asked::open(context).await?;
        let meant = which(context, &gateway, &delete.named)?;
        let (namespace, name) = (meant.project.clone(), meant.name.clone());
        let doing = format!("delete tunnel {name}");
        channel.call(&doing, api.delete_tunnel(DeleteTunnelRequest { namespace, name })).await?;
        let last = Last::read(&context.store, &gateway)?;
        if last.name == meant.name && (meant.project.is_empty() || last.project == meant.project) {
            let forgotten = Last { project: String::new(), name: String::new(), ..last };
            forgotten.write(&context.store, &gateway)?;
        }
        context.say.note(format!("tunnel {} deleted: its names are free", meant.name));
        Ok(())
    })
}

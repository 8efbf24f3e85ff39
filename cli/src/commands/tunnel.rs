//! `tunnel …`.

mod delete;
mod detach;
mod doctor;
mod list;
mod listen;
mod narrate;
mod service;
mod status;
mod update;

use crate::channel::Channel;
use crate::context::Context;
use crate::failure::Failure;
use crate::gateways::Resolved;
use crate::options::{InProject, Named, Tunnel};
use crate::tunnel::{Api, Last, Which};

pub(super) fn act(context: &Context, command: Tunnel) -> Result<(), Failure> {
    match command {
        Tunnel::Listen(listen) => listen::act(context, listen),
        Tunnel::List(list) => list::act(context, &list),
        Tunnel::Status(status) => status::act(context, &status),
        Tunnel::Update(update) => update::act(context, update),
        Tunnel::Delete(delete) => delete::act(context, &delete),
        Tunnel::Service { command } => service::act(context, command),
        Tunnel::Doctor(doctor) => doctor::act(context, &doctor),
    }
}

/// A gateway that is asked about its tunnels.
struct Asked {
    gateway: Resolved,
    channel: Channel,
    api: Api,
}

impl Asked {
    async fn open(context: &Context) -> Result<Self, Failure> {
        let gateway = context.gateway()?;
        let channel = context.channel(&gateway).await?;
        let api = Api::new(channel.service());
        Ok(Self { gateway, channel, api })
    }
}

/// The project that the command line names.
fn given<'a>(context: &'a Context, within: &'a InProject) -> Option<&'a str> {
    within.project.as_deref().or(context.kube.namespace.as_deref())
}

/// The project that is meant: the one that is named, the one that was switched to, else the gateway's own, which is empty.
fn project(context: &Context, gateway: &Resolved, within: &InProject) -> String {
    given(context, within).or(gateway.metadata.project.as_deref()).unwrap_or_default().to_owned()
}

/// The tunnel that is meant.
fn which(context: &Context, gateway: &Resolved, named: &Named) -> Result<Which, Failure> {
    let last = Last::read(&context.store, gateway)?;
    let switched = gateway.metadata.project.as_deref();
    Which::of(named.name.as_deref(), given(context, &named.within), switched, &last)
}

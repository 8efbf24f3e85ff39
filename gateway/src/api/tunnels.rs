//! `portcullis.gateway.v1.Tunnels`: asks the operator.

use std::collections::VecDeque;
use std::pin::Pin;

use futures::{Stream, StreamExt as _, stream};
use portcullis_contract::control::call::Request as Call;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::gateway::tunnels_server::Tunnels;
use portcullis_contract::gateway::{
    CreateTunnelRequest, CreateTunnelResponse, DeleteTunnelRequest, DeleteTunnelResponse, GetTunnelRequest,
    ListTunnelsRequest, ListTunnelsResponse, Tunnel, TunnelEvent, UpdateTunnelRequest, WatchTunnelsRequest,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::operator::{ask, unexpected, watch};
use crate::control::Pending;

/// Answers what the operator says.
pub(super) struct Api;

#[tonic::async_trait]
impl Tunnels for Api {
    type WatchTunnelsStream = Pin<Box<dyn Stream<Item = Result<TunnelEvent, Status>> + Send>>;

    async fn list_tunnels(
        &self,
        request: Request<ListTunnelsRequest>,
    ) -> Result<Response<ListTunnelsResponse>, Status> {
        match ask(request, Call::ListTunnels).await? {
            Answer::Tunnels(tunnels) => Ok(Response::new(tunnels)),
            _ => Err(unexpected()),
        }
    }

    async fn get_tunnel(&self, request: Request<GetTunnelRequest>) -> Result<Response<Tunnel>, Status> {
        match ask(request, Call::GetTunnel).await? {
            Answer::Tunnel(tunnel) => Ok(Response::new(tunnel)),
            _ => Err(unexpected()),
        }
    }

    async fn create_tunnel(
        &self,
        request: Request<CreateTunnelRequest>,
    ) -> Result<Response<CreateTunnelResponse>, Status> {
        match ask(request, Call::CreateTunnel).await? {
            Answer::Created(created) => Ok(Response::new(created)),
            _ => Err(unexpected()),
        }
    }

    async fn update_tunnel(&self, request: Request<UpdateTunnelRequest>) -> Result<Response<Tunnel>, Status> {
        match ask(request, Call::UpdateTunnel).await? {
            Answer::Tunnel(tunnel) => Ok(Response::new(tunnel)),
            _ => Err(unexpected()),
        }
    }

    async fn delete_tunnel(
        &self,
        request: Request<DeleteTunnelRequest>,
    ) -> Result<Response<DeleteTunnelResponse>, Status> {
        match ask(request, Call::DeleteTunnel).await? {
            Answer::Deleted(deleted) => Ok(Response::new(deleted)),
            _ => Err(unexpected()),
        }
    }

    async fn watch_tunnels(
        &self,
        request: Request<WatchTunnelsRequest>,
    ) -> Result<Response<Self::WatchTunnelsStream>, Status> {
        let (pending, left) = watch(request, Call::WatchTunnels).await?;
        let until = Instant::now() + left;
        let watching = Watching { pending, until, events: VecDeque::new() };
        let events = stream::unfold(Some(watching), async |watching| {
            let mut watching = watching?;
            let event = watching.next().await;
            let next = event.is_ok().then_some(watching);
            Some((event, next))
        });
        Ok(Response::new(events.boxed()))
    }
}

/// A watch that somebody reads.
struct Watching {
    pending: Pending,
    /// When the evidence ends that let the caller in.
    until: Instant,
    events: VecDeque<TunnelEvent>,
}

impl Watching {
    async fn next(&mut self) -> Result<TunnelEvent, Status> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            match tokio::time::timeout_at(self.until, self.pending.next()).await {
                Ok(Ok(Answer::Events(told))) => self.events = told.events.into(),
                Ok(Ok(_)) => return Err(unexpected()),
                Ok(Err(status)) => return Err(status),
                Err(_) => {
                    return Err(Status::unauthenticated("what proved who you are has ended: come again"));
                }
            }
        }
    }
}

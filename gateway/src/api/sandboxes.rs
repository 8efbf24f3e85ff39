//! `portcullis.gateway.v1.Sandboxes`: asks the compute driver.

use std::pin::Pin;

use futures::Stream;
use portcullis_contract::compute_driver::compute_driver_client::ComputeDriverClient;
use portcullis_contract::gateway::sandboxes_server::Sandboxes;
use portcullis_contract::gateway::{
    CreateSandboxRequest, DeleteSandboxRequest, DeleteSandboxResponse, GetCapabilitiesRequest,
    GetCapabilitiesResponse, GetSandboxRequest, ListSandboxesRequest, ListSandboxesResponse, Sandbox,
    SandboxEvent, WatchSandboxesRequest,
};
use portcullis_contract::snapshot::DriverKind;
use tonic::{Request, Response, Status};

use super::drivers::{ORIGIN, line, open, unary};
use crate::driver::Line;

/// Answers from what the driver says.
pub(super) struct Api;

fn driver<T>(request: &Request<T>) -> Result<ComputeDriverClient<Line>, Status> {
    Ok(ComputeDriverClient::with_origin(line(request, DriverKind::Compute)?, ORIGIN.clone()))
}

/// Made of a-z, 0-9 and '-', as names are everywhere here.
fn check_name(name: &str) -> Result<(), Status> {
    let fits = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "{name:?} is no sandbox's name: write at most 63 of a-z, 0-9 and '-', such as build-1"
    )))
}

#[tonic::async_trait]
impl Sandboxes for Api {
    type WatchSandboxesStream = Pin<Box<dyn Stream<Item = Result<SandboxEvent, Status>> + Send>>;

    async fn get_capabilities(
        &self,
        request: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<GetCapabilitiesResponse>, Status> {
        let mut driver = driver(&request)?;
        unary(request, async move |request| driver.get_capabilities(request).await).await
    }

    async fn create_sandbox(
        &self,
        request: Request<CreateSandboxRequest>,
    ) -> Result<Response<Sandbox>, Status> {
        let mut driver = driver(&request)?;
        // Without a name the driver chooses one.
        if !request.get_ref().name.is_empty() {
            check_name(&request.get_ref().name)?;
        }
        unary(request, async move |request| driver.create_sandbox(request).await).await
    }

    async fn get_sandbox(&self, request: Request<GetSandboxRequest>) -> Result<Response<Sandbox>, Status> {
        let mut driver = driver(&request)?;
        check_name(&request.get_ref().name)?;
        unary(request, async move |request| driver.get_sandbox(request).await).await
    }

    async fn list_sandboxes(
        &self,
        request: Request<ListSandboxesRequest>,
    ) -> Result<Response<ListSandboxesResponse>, Status> {
        let mut driver = driver(&request)?;
        unary(request, async move |request| driver.list_sandboxes(request).await).await
    }

    async fn delete_sandbox(
        &self,
        request: Request<DeleteSandboxRequest>,
    ) -> Result<Response<DeleteSandboxResponse>, Status> {
        let mut driver = driver(&request)?;
        check_name(&request.get_ref().name)?;
        unary(request, async move |request| driver.delete_sandbox(request).await).await
    }

    async fn watch_sandboxes(
        &self,
        request: Request<WatchSandboxesRequest>,
    ) -> Result<Response<Self::WatchSandboxesStream>, Status> {
        let mut driver = driver(&request)?;
        let events = open(request, async move |request| driver.watch_sandboxes(request).await).await?;
        Ok(events.map(|events| Box::pin(events) as Self::WatchSandboxesStream))
    }
}

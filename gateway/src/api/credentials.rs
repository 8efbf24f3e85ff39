//! `portcullis.gateway.v1.Credentials`: asks the credentials driver. Nothing is kept, so that nothing outlives its end.

use portcullis_contract::credentials_driver::credentials_driver_client::CredentialsDriverClient;
use portcullis_contract::gateway::credentials_server::Credentials;
use portcullis_contract::gateway::{
    ListCredentialsRequest, ListCredentialsResponse, ResolveCredentialRequest, ResolveCredentialResponse,
};
use portcullis_contract::snapshot::DriverKind;
use tonic::{Request, Response, Status};

use super::drivers::{ORIGIN, line, unary};
use crate::driver::Line;

/// Answers from what the driver says.
pub(super) struct Api;

fn driver<T>(request: &Request<T>) -> Result<CredentialsDriverClient<Line>, Status> {
    Ok(CredentialsDriverClient::with_origin(line(request, DriverKind::Credentials)?, ORIGIN.clone()))
}

#[tonic::async_trait]
impl Credentials for Api {
    async fn list_credentials(
        &self,
        request: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        let mut driver = driver(&request)?;
        unary(request, async move |request| driver.list_credentials(request).await).await
    }

    async fn resolve_credential(
        &self,
        request: Request<ResolveCredentialRequest>,
    ) -> Result<Response<ResolveCredentialResponse>, Status> {
        let mut driver = driver(&request)?;
        if request.get_ref().name.is_empty() {
            return Err(Status::invalid_argument(
                "name is empty: write the name of a credential, as ListCredentials has it",
            ));
        }
        unary(request, async move |request| driver.resolve_credential(request).await).await
    }
}

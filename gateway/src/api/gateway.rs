//! `portcullis.gateway.v1.Gateway`: which gateway this is, and whom it takes the caller for.

use portcullis_contract::gateway::gateway_server::Gateway;
use portcullis_contract::gateway::{GetInfoRequest, GetInfoResponse, WhoAmIRequest, WhoAmIResponse};
use tonic::{Request, Response, Status};

use super::Asked;

/// Answers from what the request carries; holds nothing itself.
pub(super) struct Api;

#[tonic::async_trait]
impl Gateway for Api {
    async fn get_info(&self, request: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        let asked = asked(&request)?;
        Ok(Response::new(GetInfoResponse {
            name: asked.config.gateway.name.clone(),
            namespace: asked.config.gateway.namespace.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: "MutualTLS".to_owned(),
            snapshot_version: asked.config.version.clone(),
            server_certificate_fingerprint: asked.served_fingerprint.clone(),
            replica: asked.replica.clone(),
        }))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let principal = &asked(&request)?.principal;
        Ok(Response::new(WhoAmIResponse {
            user: principal.user.clone(),
            roles: principal.roles.clone(),
            proof: principal.proof.to_owned(),
            identity: principal.identity.clone(),
            certificate_serial: principal.serial.clone(),
            certificate_fingerprint: principal.fingerprint.clone(),
            expires_at: principal.expires_at,
        }))
    }
}

/// Without a principal nothing is answered, however the request came here.
fn asked<T>(request: &Request<T>) -> Result<&Asked, Status> {
    request.extensions().get::<Asked>().ok_or_else(|| Status::unauthenticated("no principal"))
}

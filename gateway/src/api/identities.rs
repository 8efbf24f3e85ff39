//! `portcullis.gateway.v1.Identities`: asks the operator, and says which certificate the handshake has proved.

use portcullis_contract::control::call::Request as Call;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::gateway::identities_server::Identities;
use portcullis_contract::gateway::{
    GetTrustRequest, GetTrustResponse, RenewCertificateRequest, RenewCertificateResponse,
};
use tonic::{Request, Response, Status};

use super::operator::{ask_of_certificate, ask_of_itself, unexpected};

/// Answers what the operator says.
pub(super) struct Api;

#[tonic::async_trait]
impl Identities for Api {
    async fn get_trust(
        &self,
        request: Request<GetTrustRequest>,
    ) -> Result<Response<GetTrustResponse>, Status> {
        match ask_of_itself(request, Call::GetTrust).await? {
            Answer::Trust(trust) => Ok(Response::new(trust)),
            _ => Err(unexpected()),
        }
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        match ask_of_certificate(request, Call::RenewCertificate).await? {
            Answer::Renewed(renewed) => Ok(Response::new(renewed)),
            _ => Err(unexpected()),
        }
    }
}

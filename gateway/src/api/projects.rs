//! `portcullis.gateway.v1.Projects`: asks the operator.

use portcullis_contract::control::call::Request as Call;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::gateway::projects_server::Projects;
use portcullis_contract::gateway::{ListProjectsRequest, ListProjectsResponse};
use tonic::{Request, Response, Status};

use super::operator::{ask, unexpected};

/// Answers what the operator says.
pub(super) struct Api;

#[tonic::async_trait]
impl Projects for Api {
    async fn list_projects(
        &self,
        request: Request<ListProjectsRequest>,
    ) -> Result<Response<ListProjectsResponse>, Status> {
        match ask(request, Call::ListProjects).await? {
            Answer::Projects(projects) => Ok(Response::new(projects)),
            _ => Err(unexpected()),
        }
    }
}

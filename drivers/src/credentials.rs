//! An example credentials driver: names and secrets from one JSON file, read anew for each request, so that a mounted Secret
//! that changes is seen.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis_contract::credentials_driver::credentials_driver_server::CredentialsDriver;
use portcullis_contract::gateway::{
    Credential, ListCredentialsRequest, ListCredentialsResponse, ResolveCredentialRequest,
    ResolveCredentialResponse,
};
use serde::Deserialize;
use tonic::{Request, Response, Status};

/// Answers from a file.
#[derive(Clone, Debug)]
pub struct Driver {
    /// JSON: `{"github": {"token": "…", "scopes": ["repo"], "expiresAtMs": 0, "tokenType": "Bearer"}}`.
    pub file: PathBuf,
}

/// One entry of the file. It has no `Debug`, so that no log can show it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    token: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    expires_at_ms: i64,
    #[serde(default = "bearer")]
    token_type: String,
}

fn bearer() -> String {
    "Bearer".to_owned()
}

impl Driver {
    async fn entries(&self) -> Result<BTreeMap<String, Entry>, Status> {
        let json = tokio::fs::read(&self.file).await.map_err(|error| {
            Status::unavailable(format!("failed to read the credentials' file: {}", error.kind()))
        })?;
        // What serde says of a mistake may quote the file.
        serde_json::from_slice(&json).map_err(|error| {
            Status::failed_precondition(format!("the credentials' file is wrong at line {}", error.line()))
        })
    }
}

#[tonic::async_trait]
impl CredentialsDriver for Driver {
    async fn resolve_credential(
        &self,
        request: Request<ResolveCredentialRequest>,
    ) -> Result<Response<ResolveCredentialResponse>, Status> {
        let name = request.into_inner().name;
        let entry = self.entries().await?.remove(&name);
        let entry = entry.ok_or_else(|| Status::not_found(format!("there is no credential {name:?}")))?;
        Ok(Response::new(ResolveCredentialResponse {
            token: entry.token,
            expires_at_ms: entry.expires_at_ms,
            token_type: entry.token_type,
        }))
    }

    async fn list_credentials(
        &self,
        _: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        let entries = self.entries().await?;
        let credentials = entries.into_iter().map(|(name, entry)| Credential { name, scopes: entry.scopes });
        Ok(Response::new(ListCredentialsResponse { credentials: credentials.collect() }))
    }
}

//! `portcullis.gateway.v1.Gateway`: which gateway this is, and whom it takes the caller for.

use portcullis_contract::gateway::gateway_server::Gateway;
use portcullis_contract::gateway::{
    GetInfoRequest, GetInfoResponse, MethodVerdict, WhoAmIRequest, WhoAmIResponse,
};
use portcullis_contract::rules::{METHODS, Method};
use tonic::{Request, Response, Status};

use super::asked;
use crate::auth::{Missing, Principal};

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
            mode: asked.config.mode.as_str().to_owned(),
            snapshot_version: asked.config.version.clone(),
            server_certificate_fingerprint: asked.served_fingerprint.clone(),
            replica: asked.replica.clone(),
        }))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let principal = &asked(&request)?.principal;
        let (certificate, token) = (principal.certificate.as_ref(), principal.token.as_ref());
        let text = |of: Option<&String>| of.cloned().unwrap_or_default();
        let scopes = principal.scopes();
        Ok(Response::new(WhoAmIResponse {
            user: principal.user.clone(),
            roles: principal.roles.clone(),
            proof: principal.proof.to_owned(),
            identity: text(certificate.map(|it| &it.identity)),
            certificate_serial: text(certificate.map(|it| &it.serial)),
            certificate_fingerprint: text(certificate.map(|it| &it.fingerprint)),
            expires_at: principal.expires_at,
            subject: text(token.map(|it| &it.subject)),
            issuer: text(token.map(|it| &it.issuer)),
            scopes_enforced: scopes.is_some(),
            scopes: scopes.unwrap_or_default(),
            methods: METHODS.iter().map(|method| verdict(method, principal)).collect(),
        }))
    }
}

/// Whether a principal may call a method, and what it lacks if not.
fn verdict(method: &Method, principal: &Principal) -> MethodVerdict {
    let allowed = method.rule.as_ref().map_or(Err(Missing::Everything), |rule| principal.allows(rule));
    MethodVerdict {
        method: method.path.to_owned(),
        allowed: allowed.is_ok(),
        rule: method.rule.map_or_else(|| "nobody".to_owned(), |rule| rule.to_string()),
        missing: allowed.err().map(|missing| missing.to_string()).unwrap_or_default(),
    }
}

//! Services of our own on the main port. They win over backends.
//!
//! Health needs no more than the TLS client certificate; everything else needs a principal.

mod gateway;
mod health;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use portcullis_contract::DESCRIPTORS;
use portcullis_contract::gateway::gateway_server::GatewayServer;
use tonic::service::Routes;
use tower::ServiceExt as _;

use crate::auth::Principal;
use crate::body::Body;
use crate::config::Config;
use crate::shared::Shared;

pub(crate) use health::Health;

/// Which of our services a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnService {
    /// Answers whoever passed the TLS handshake.
    Open(OpenService),
    /// Answers principals.
    Guarded,
}

/// The services that need no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenService {
    Alive,
    Ready,
    Health,
}

impl OwnService {
    pub(crate) fn find(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        match path {
            "healthz" => return Some(Self::Open(OpenService::Alive)),
            "readyz" => return Some(Self::Open(OpenService::Ready)),
            _ => {}
        }
        match path.split_once('/')?.0 {
            "grpc.health.v1.Health" => Some(Self::Open(OpenService::Health)),
            "portcullis.gateway.v1.Gateway"
            | "grpc.reflection.v1.ServerReflection"
            | "grpc.reflection.v1alpha.ServerReflection" => Some(Self::Guarded),
            _ => None,
        }
    }
}

/// The services themselves.
pub(crate) struct Api {
    pub(crate) health: Health,
    open: axum::Router,
    guarded: axum::Router,
}

/// What a guarded service is told beside its request.
#[derive(Clone)]
struct Asked {
    principal: Arc<Principal>,
    config: Arc<Config>,
    served_fingerprint: String,
    replica: String,
}

impl Api {
    pub(crate) fn new() -> Self {
        let (health, service) = Health::new();
        let mut guarded = Routes::new(GatewayServer::new(gateway::Api));
        // The descriptors are compiled in, so that a failure here is a defect of the build; a replica without
        // reflection serves all the same.
        match reflection().build_v1() {
            Ok(service) => guarded = guarded.add_service(service),
            Err(error) => tracing::error!(%error, "failed to read the compiled descriptors"),
        }
        if let Ok(service) = reflection().build_v1alpha() {
            guarded = guarded.add_service(service);
        }
        Self {
            health,
            open: Routes::new(service).prepare().into_axum_router(),
            guarded: guarded.prepare().into_axum_router(),
        }
    }

    /// Answers for a service that needs no principal.
    pub(crate) async fn open(
        &self,
        service: OpenService,
        request: Request<Incoming>,
        readiness: Result<(), &'static str>,
    ) -> Response<Body> {
        match service {
            OpenService::Alive => text(StatusCode::OK, "ok"),
            OpenService::Ready => match readiness {
                Ok(()) => text(StatusCode::OK, "ok"),
                Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, missing),
            },
            OpenService::Health => call(&self.open, request).await,
        }
    }

    /// Answers a principal.
    pub(crate) async fn guarded(
        &self,
        mut request: Request<Incoming>,
        principal: Arc<Principal>,
        config: &Arc<Config>,
        shared: &Shared,
    ) -> Response<Body> {
        request.extensions_mut().insert(Asked {
            principal,
            config: Arc::clone(config),
            served_fingerprint: shared.certificates.served_fingerprint().unwrap_or_default(),
            replica: shared.pod.clone(),
        });
        call(&self.guarded, request).await
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("portcullis.gateway.v1.Gateway")
        .with_service_name("grpc.health.v1.Health")
}

async fn call(router: &axum::Router, request: Request<Incoming>) -> Response<Body> {
    match router.clone().oneshot(request).await {
        Ok(response) => response.map(|body| Body::from(tonic::body::Body::new(body))),
        Err(never) => match never {},
    }
}

fn text(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(format!("{words}\n"))));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_our_own() {
        assert_eq!(OwnService::find("/healthz"), Some(OwnService::Open(OpenService::Alive)));
        assert_eq!(OwnService::find("/readyz"), Some(OwnService::Open(OpenService::Ready)));
        assert_eq!(
            OwnService::find("/grpc.health.v1.Health/Check"),
            Some(OwnService::Open(OpenService::Health))
        );
        assert_eq!(OwnService::find("/portcullis.gateway.v1.Gateway/WhoAmI"), Some(OwnService::Guarded));
        for path in ["/", "", "/healthz/", "/healthzz", "/grpc.health.v1.HealthX/Check", "*"] {
            assert_eq!(OwnService::find(path), None, "{path}");
        }
    }

    #[test]
    fn the_compiled_descriptors_can_be_reflected() {
        assert!(reflection().build_v1().is_ok());
        assert!(reflection().build_v1alpha().is_ok());
    }
}

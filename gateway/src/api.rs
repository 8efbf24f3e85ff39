//! Services of our own on the main port. They win over backends.
//!
//! Who may call which method is written in `proto/`, beside the method; the decision is [`crate::auth`]'s.

mod credentials;
mod drivers;
mod gateway;
mod health;
mod identities;
mod operator;
mod projects;
mod sandboxes;
mod tunnels;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use portcullis_contract::DESCRIPTORS;
use portcullis_contract::gateway::credentials_server::CredentialsServer;
use portcullis_contract::gateway::gateway_server::GatewayServer;
use portcullis_contract::gateway::identities_server::IdentitiesServer;
use portcullis_contract::gateway::projects_server::ProjectsServer;
use portcullis_contract::gateway::sandboxes_server::SandboxesServer;
use portcullis_contract::gateway::tunnels_server::TunnelsServer;
use portcullis_contract::rules::{Evidence, FOREIGN_METHODS, METHODS, Rule};
use tonic::Status;
use tonic::service::Routes;
use tower::ServiceExt as _;

use crate::auth::Principal;
use crate::body::Body;
use crate::config::Config;
use crate::control::Calls;
use crate::listener::Connection;
use crate::login::Page;

pub(crate) use health::Health;

/// Which of our services a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnService {
    /// Answers whoever reaches the port.
    Open(OpenService),
    /// Pages and documents of logging in.
    Login(Page),
    /// A WebSocket that carries all of this.
    Tunnel,
    /// A WebSocket of a connector.
    Connect,
    /// A gRPC method, with the rule that says who may call it. None: nobody.
    Method(Option<Rule>),
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
        match path {
            "/healthz" => return Some(Self::Open(OpenService::Alive)),
            "/readyz" => return Some(Self::Open(OpenService::Ready)),
            "/_ws_tunnel" => return Some(Self::Tunnel),
            portcullis_protocol::CONNECT_PATH => return Some(Self::Connect),
            _ => {}
        }
        if let Some(page) = Page::find(path) {
            return Some(Self::Login(page));
        }
        let (service, _method) = path.strip_prefix('/')?.split_once('/')?;
        if !SERVICES.contains(&service) {
            return None;
        }
        let rule = METHODS.iter().chain(FOREIGN_METHODS).find(|method| method.path == path);
        let rule = rule.and_then(|method| method.rule);
        Some(match rule {
            Some(rule) if rule.evidence == Evidence::Unauthenticated => Self::Open(OpenService::Health),
            rule => Self::Method(rule),
        })
    }
}

/// The services whose methods are ours to answer, backends or not.
const SERVICES: [&str; 9] = [
    "portcullis.gateway.v1.Gateway",
    "portcullis.gateway.v1.Identities",
    "portcullis.gateway.v1.Projects",
    "portcullis.gateway.v1.Tunnels",
    "portcullis.gateway.v1.Credentials",
    "portcullis.gateway.v1.Sandboxes",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Bytes of a request that goes on to the operator: what a caller sends never breaks the session that carries it.
const LARGEST_CALL: usize = 64 * 1024;

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
    /// What let the caller call the method.
    rule: Rule,
    config: Arc<Config>,
    calls: Arc<Calls>,
    /// What the request came on.
    connection: Arc<Connection>,
    /// Seconds since the epoch.
    now: i64,
    served_fingerprint: String,
    replica: String,
}

impl Api {
    pub(crate) fn new() -> Self {
        let (health, service) = Health::new();
        let mut guarded = Routes::new(GatewayServer::new(gateway::Api))
            .add_service(IdentitiesServer::new(identities::Api).max_decoding_message_size(LARGEST_CALL))
            .add_service(ProjectsServer::new(projects::Api).max_decoding_message_size(LARGEST_CALL))
            .add_service(TunnelsServer::new(tunnels::Api).max_decoding_message_size(LARGEST_CALL))
            .add_service(CredentialsServer::new(credentials::Api))
            .add_service(SandboxesServer::new(sandboxes::Api));
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
        rule: Rule,
        config: &Arc<Config>,
        connection: &Arc<Connection>,
    ) -> Response<Body> {
        let shared = &connection.shared;
        request.extensions_mut().insert(Asked {
            principal,
            rule,
            config: Arc::clone(config),
            calls: Arc::clone(&shared.calls),
            connection: Arc::clone(connection),
            now: shared.clock.now(),
            served_fingerprint: shared.certificates.served_fingerprint().unwrap_or_default(),
            replica: shared.pod.clone(),
        });
        call(&self.guarded, request).await
    }
}

/// Without a principal nothing is answered, however the request came here.
fn asked<T>(request: &tonic::Request<T>) -> Result<&Asked, Status> {
    request.extensions().get::<Asked>().ok_or_else(|| Status::unauthenticated("no principal"))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("portcullis.gateway.v1.Gateway")
        .with_service_name("portcullis.gateway.v1.Identities")
        .with_service_name("portcullis.gateway.v1.Projects")
        .with_service_name("portcullis.gateway.v1.Tunnels")
        .with_service_name("portcullis.gateway.v1.Credentials")
        .with_service_name("portcullis.gateway.v1.Sandboxes")
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
        assert_eq!(OwnService::find("/_ws_tunnel"), Some(OwnService::Tunnel));
        assert_eq!(
            OwnService::find("/grpc.health.v1.Health/Check"),
            Some(OwnService::Open(OpenService::Health))
        );
        for path in
            ["/", "", "/healthz/", "/healthzz", "/grpc.health.v1.HealthX/Check", "*", "/_ws_tunnel/", "/auth"]
        {
            assert_eq!(OwnService::find(path), None, "{path}");
        }
    }

    #[test]
    fn every_method_of_the_table_is_answered_by_its_rule_and_a_method_without_one_by_nobody() {
        for method in METHODS {
            assert_eq!(
                OwnService::find(method.path),
                Some(OwnService::Method(method.rule)),
                "{}",
                method.path
            );
        }
        for path in [
            "/portcullis.gateway.v1.Gateway/Nothing",
            "/grpc.health.v1.Health/Nothing",
            "/portcullis.gateway.v1.Gateway/",
        ] {
            assert_eq!(OwnService::find(path), Some(OwnService::Method(None)), "{path}");
        }
    }

    #[test]
    fn the_compiled_descriptors_can_be_reflected() {
        assert!(reflection().build_v1().is_ok());
        assert!(reflection().build_v1alpha().is_ok());
    }
}

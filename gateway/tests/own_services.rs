//! The gateway's own services on the main port, and what each needs.

use http::{HeaderMap, Request};
use portcullis_contract::gateway::gateway_client::GatewayClient;
use portcullis_contract::gateway::{GetInfoRequest, WhoAmIRequest};
use portcullis_contract::snapshot::{Match, Protocol};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_response};

use crate::support::backend::reply;
use crate::support::door::{Plan, backend, prefix};
use crate::support::{Backend, Door, body, pki, soon};

/// A gRPC channel of this client.
pub(crate) async fn channel(door: &Door, leaf: &portcullis_pki::Leaf) -> Channel {
    let stream = door.tls(leaf, "h2").await;
    let mut stream = Some(hyper_util::rt::TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| std::io::Error::other("one connection only")) }
    });
    Endpoint::from_static("http://door.example").connect_with_connector(connector).await.unwrap()
}

#[tokio::test]
async fn whoami_says_whom_the_caller_is_taken_for() {
    let door = Plan::new(Vec::new()).start().await;
    let mut client = GatewayClient::new(channel(&door, &door.ci).await);
    let me = client.who_am_i(WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!(me.user, "ci@shop");
    assert_eq!(me.roles, ["user", "deployer"]);
    assert_eq!(me.proof, "client-certificate");
    assert_eq!(me.identity, "spiffe://cluster.local/ns/shop/gateway/door/client/ci");
    assert_eq!(me.certificate_serial, door.ci.facts.serial);
    assert_eq!(me.certificate_fingerprint, door.ci.facts.fingerprint);
    assert_eq!(me.expires_at, door.ci.facts.not_after.unix_timestamp());
}

#[tokio::test]
async fn get_info_says_which_gateway_this_is_and_what_it_serves() {
    let door = Plan::new(Vec::new()).start().await;
    let mut client = GatewayClient::new(channel(&door, &door.ci).await);
    let info = client.get_info(GetInfoRequest {}).await.unwrap().into_inner();
    let version = portcullis_contract::snapshot::version(door.snapshot.to_json().unwrap().as_bytes());
    assert_eq!((info.namespace.as_str(), info.name.as_str()), ("shop", "door"));
    assert_eq!((info.mode.as_str(), info.replica.as_str()), ("MutualTLS", "door-0"));
    assert_eq!(info.snapshot_version, version);
    assert_eq!(info.server_certificate_fingerprint, door.server.facts.fingerprint);
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn a_certificate_for_nobody_here_is_denied_and_only_told_so() {
    let echo = Backend::echo().await;
    let door = Door::to_http1(echo.address).await;
    for (uri, reason) in [
        (pki::client_uri("stranger"), "unknown_client"),
        ("spiffe://cluster.local/ns/shop/gateway/other/client/ci".to_owned(), "other_gateway"),
        ("spiffe://cluster.local/ns/shop/gateway/door".to_owned(), "not_a_client"),
        ("https://shop.example/ci".to_owned(), "no_identity"),
    ] {
        let leaf = pki::client_with_uri(&door.client_ca, &uri);
        let status =
            GatewayClient::new(channel(&door, &leaf).await).who_am_i(WhoAmIRequest {}).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{uri}");
        let answer = door.http1_of(&leaf).await.get("/anything").await;
        assert_eq!(answer.status, 403, "{uri}");
        assert!(!answer.text.contains(reason) && !status.message().contains(reason), "{}", answer.text);
        door.counted(&format!("portcullis_gateway_denials_total{{reason=\"{reason}\"}}"), 2.0).await;
        // What needs no more than a verified certificate goes on answering.
        assert_eq!(door.http1_of(&leaf).await.get("/healthz").await.status, 200);
        assert_eq!(door.http2_of(&leaf).await.get("/readyz").await.status, 200);
        let mut health = HealthClient::new(channel(&door, &leaf).await);
        let status = health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status;
        assert_eq!(status, ServingStatus::Serving as i32);
        let mut reflection = ServerReflectionClient::new(channel(&door, &leaf).await);
        let denied = reflection.server_reflection_info(tokio_stream::empty()).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
    assert_eq!(echo.opened(), 0);
}

#[tokio::test]
async fn own_services_win_over_backends_that_claim_them() {
    let greedy = Backend::new(|_| async { Ok(reply("greedy")) }).await;
    let service = |name: &str| Match::GrpcService(name.to_owned());
    let door = Plan::new(vec![
        backend("all", prefix("/"), greedy.address, Protocol::H2c),
        backend("healthz", prefix("/healthz"), greedy.address, Protocol::H2c),
        backend("health", service("grpc.health.v1.Health"), greedy.address, Protocol::H2c),
        backend("gateway", service("portcullis.gateway.v1.Gateway"), greedy.address, Protocol::H2c),
    ])
    .start()
    .await;
    let mut caller = door.http2().await;
    assert_eq!(caller.get("/healthz").await.text, "ok\n");
    assert_eq!(caller.get("/readyz").await.text, "ok\n");
    assert_eq!(caller.get("/healthz/deeper").await.text, "greedy");
    let channel = channel(&door, &door.ci).await;
    assert!(GatewayClient::new(channel.clone()).who_am_i(WhoAmIRequest {}).await.is_ok());
    assert!(HealthClient::new(channel).check(HealthCheckRequest::default()).await.is_ok());
}

#[tokio::test]
async fn health_follows_readiness_and_whoever_watches_hears_of_it() {
    let mut plan = Plan::new(Vec::new());
    plan.options.drain_timeout = std::time::Duration::from_secs(20);
    let door = plan.start().await;
    let mut health = HealthClient::new(channel(&door, &door.ci).await);
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let first = soon("a status", watched.next()).await.unwrap().unwrap();
    assert_eq!(first.status, ServingStatus::Serving as i32);
    door.stop.cancel();
    let second = soon("another status", watched.next()).await.unwrap().unwrap();
    assert_eq!(second.status, ServingStatus::NotServing as i32);
}

#[tokio::test]
async fn reflection_lists_and_describes_what_callers_can_reach() {
    let door = Plan::new(Vec::new()).start().await;
    let mut client = ServerReflectionClient::new(channel(&door, &door.ci).await);
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let requests = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("portcullis.gateway.v1.Gateway.WhoAmI".to_owned())),
        ask(MessageRequest::FileContainingSymbol("grpc.health.v1.Health".to_owned())),
    ]);
    let answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let answers: Vec<server_reflection_response::MessageResponse> =
        answers.map(|answer| answer.unwrap().message_response.unwrap()).collect().await;
    let [MessageResponse::ListServicesResponse(services), gateway, health] = &answers[..] else {
        panic!("{answers:?}");
    };
    let names: Vec<&str> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(
        names.contains(&"portcullis.gateway.v1.Gateway") && names.contains(&"grpc.health.v1.Health"),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.contains("control")), "{names:?}");
    for described in [gateway, health] {
        assert!(matches!(described, MessageResponse::FileDescriptorResponse(_)), "{described:?}");
    }
}

#[tokio::test]
async fn grpc_callers_get_a_status_browsers_a_page_and_others_json() {
    let door = Plan::new(Vec::new()).start().await;
    let ask = |name: &'static str, value: &'static str| {
        Request::post("/nowhere.Service/Method")
            .header("host", "a")
            .header(name, value)
            .body(body(""))
            .unwrap()
    };
    let mut caller = door.http2().await;
    let grpc = caller.ask(ask("content-type", "application/grpc+proto")).await;
    assert_eq!((grpc.status.as_u16(), grpc.field("grpc-status")), (200, "12"));
    assert_eq!(grpc.trailers, HeaderMap::new());
    let page = caller.ask(ask("accept", "text/html,application/xhtml+xml")).await;
    assert_eq!((page.status.as_u16(), page.field("content-type")), (404, "text/html; charset=utf-8"));
    assert!(page.text.contains("<h1>No backend serves this path</h1>"), "{}", page.text);
    let json = caller.ask(ask("accept", "*/*")).await;
    assert_eq!((json.status.as_u16(), json.field("content-type")), (404, "application/problem+json"));
    assert_eq!(json.json::<serde_json::Value>()["status"], 404);
}

#[tokio::test]
async fn the_admin_ports_answer_in_plain_http() {
    let door = Plan::new(Vec::new()).start().await;
    assert_eq!(door.admin(door.health, "/healthz").await.0, 200);
    assert_eq!(door.admin(door.health, "/readyz").await, (200, "ok\n".to_owned()));
    door.http1().await.get("/healthz").await;
    let version = portcullis_contract::snapshot::version(door.snapshot.to_json().unwrap().as_bytes());
    let name = "portcullis_gateway";
    assert!((door.metric(&format!("{name}_snapshot_info{{version=\"{version}\"}}")).await - 1.0).abs() < 0.1);
    door.counted(&format!("{name}_requests_total{{route=\"own\",status=\"2xx\"}}"), 1.0).await;
    assert!(door.metric(&format!("{name}_certificate_expiry_timestamp_seconds{{door=\"own\"}}")).await > 1e9);
    assert!((door.metric(&format!("{name}_ready")).await - 1.0).abs() < 0.1);
    // What was never counted is there all the same, at nought.
    let (_, text) = door.admin(door.metrics, "/metrics").await;
    assert!(text.contains(&format!("{name}_denials_total{{reason=\"token_signature\"}} 0\n")), "{text}");
    door.counted(&format!("{name}_request_duration_seconds_count{{route=\"own\"}}"), 1.0).await;
}

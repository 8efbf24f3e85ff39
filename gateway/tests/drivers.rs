//! Driver sockets: what the gateway asks of them, and what becomes of one that is not there.

use std::path::{Path, PathBuf};

use portcullis_contract::compute_driver::compute_driver_server::ComputeDriverServer;
use portcullis_contract::credentials_driver::credentials_driver_server::CredentialsDriverServer;
use portcullis_contract::gateway::credentials_client::CredentialsClient;
use portcullis_contract::gateway::sandbox_event::Event;
use portcullis_contract::gateway::sandboxes_client::SandboxesClient;
use portcullis_contract::gateway::{
    CreateSandboxRequest, DeleteSandboxRequest, GetCapabilitiesRequest, GetSandboxRequest,
    ListCredentialsRequest, ListSandboxesRequest, ResolveCredentialRequest, SandboxPhase, SandboxSpec,
    WatchSandboxesRequest,
};
use portcullis_contract::snapshot::{Driver, DriverKind};
use portcullis_example_drivers::{compute, credentials, socket};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tonic::Code;
use tonic::transport::Server;

use crate::support::door::Plan;
use crate::support::grpc::{Line, origin};
use crate::support::{Door, eventually, soon};

/// A driver, with a runtime of its own: when that goes, its connections go, as with a process.
struct Running(Option<Runtime>);

impl Running {
    fn new<F: Future<Output = ()> + Send + 'static>(serve: impl FnOnce() -> F) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        runtime.spawn(serve());
        drop(entered);
        Self(Some(runtime))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn run_credentials(folder: &Path) -> Running {
    let driver = credentials::Driver { file: folder.join("credentials.json") };
    Running::new(|| {
        let listener = socket::listen(&folder.join("credentials.sock")).unwrap();
        let server = Server::builder().add_service(CredentialsDriverServer::new(driver));
        async move { drop(server.serve_with_incoming(listener).await) }
    })
}

fn run_compute(folder: &Path) -> Running {
    Running::new(|| {
        let listener = socket::listen(&folder.join("compute.sock")).unwrap();
        let service = ComputeDriverServer::new(compute::Driver::default());
        let server = Server::builder().add_service(service);
        async move { drop(server.serve_with_incoming(listener).await) }
    })
}

async fn door(folder: &Path) -> Door {
    let mut plan = Plan::new(Vec::new());
    let driver = |kind: DriverKind| Driver {
        kind,
        socket: folder.join(format!("{}.sock", kind.as_str())).display().to_string(),
    };
    plan.snapshot.drivers = vec![driver(DriverKind::Compute), driver(DriverKind::Credentials)];
    plan.snapshot.clients[0].roles = vec!["admin".to_owned()];
    plan.start().await
}

async fn line(door: &Door) -> Line {
    Line::new(door.tls(&door.ci, "h2").await).await
}

fn write_credentials(folder: &Path, token: &str) -> PathBuf {
    let file = folder.join("credentials.json");
    let json = serde_json::json!({
        "github": { "token": token, "scopes": ["repo"], "expiresAtMs": 1_900_000_000_000_i64 },
        "pypi": { "token": "other" },
    });
    std::fs::write(&file, json.to_string()).unwrap();
    file
}

#[tokio::test]
async fn credentials_come_from_the_driver_and_are_never_kept() {
    let folder = TempDir::new().unwrap();
    write_credentials(folder.path(), "first");
    let _driver = run_credentials(folder.path());
    let door = door(folder.path()).await;
    let mut client = CredentialsClient::with_origin(line(&door).await, origin());
    let resolve = |name: &str| ResolveCredentialRequest { name: name.to_owned() };
    eventually("the driver is connected", async || {
        client.clone().list_credentials(ListCredentialsRequest {}).await.is_ok()
    })
    .await;
    let listed = client.list_credentials(ListCredentialsRequest {}).await.unwrap().into_inner().credentials;
    let names: Vec<_> = listed.iter().map(|it| (it.name.as_str(), it.scopes.join(" "))).collect();
    assert_eq!(names, [("github", "repo".to_owned()), ("pypi", String::new())]);
    let github = client.resolve_credential(resolve("github")).await.unwrap().into_inner();
    assert_eq!(
        (github.token.as_str(), github.expires_at_ms, github.token_type.as_str()),
        ("first", 1_900_000_000_000, "Bearer")
    );
    write_credentials(folder.path(), "second");
    assert_eq!(client.resolve_credential(resolve("github")).await.unwrap().into_inner().token, "second");
    let unknown = client.resolve_credential(resolve("npm")).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::NotFound, "there is no credential \"npm\""));
    assert_eq!(client.resolve_credential(resolve("")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn sandboxes_are_made_watched_and_removed_in_the_caller_s_name() {
    let folder = TempDir::new().unwrap();
    let _driver = run_compute(folder.path());
    let door = door(folder.path()).await;
    let mut client = SandboxesClient::with_origin(line(&door).await, origin());
    eventually("the driver is connected", async || {
        client.clone().get_capabilities(GetCapabilitiesRequest {}).await.is_ok()
    })
    .await;
    let mut events = client.watch_sandboxes(WatchSandboxesRequest {}).await.unwrap().into_inner();
    let spec = SandboxSpec { image: "example.com/tool:1".to_owned(), ..SandboxSpec::default() };
    let create = |name: &str, spec: &SandboxSpec| CreateSandboxRequest {
        name: name.to_owned(),
        spec: Some(spec.clone()),
    };
    let made = client.create_sandbox(create("build-1", &spec)).await.unwrap().into_inner();
    assert_eq!((made.created_by.as_str(), made.phase()), ("ci@shop", SandboxPhase::Ready));
    let event = soon("the watch tells", events.message()).await.unwrap().unwrap().event;
    assert_eq!(event, Some(Event::Present(made.clone())));
    assert_eq!(
        client.create_sandbox(create("build-1", &spec)).await.unwrap_err().code(),
        Code::AlreadyExists
    );
    assert_eq!(client.create_sandbox(create("../x", &spec)).await.unwrap_err().code(), Code::InvalidArgument);
    let gpu = SandboxSpec { gpu: true, ..spec.clone() };
    assert_eq!(client.create_sandbox(create("", &gpu)).await.unwrap_err().code(), Code::InvalidArgument);
    let listed = client.list_sandboxes(ListSandboxesRequest {}).await.unwrap().into_inner().sandboxes;
    assert_eq!(listed.as_slice(), std::slice::from_ref(&made));
    let named = GetSandboxRequest { name: "build-1".to_owned() };
    assert_eq!(client.get_sandbox(named.clone()).await.unwrap().into_inner(), made);
    client.delete_sandbox(DeleteSandboxRequest { name: "build-1".to_owned() }).await.unwrap();
    let event = soon("the watch tells", events.message()).await.unwrap().unwrap().event;
    assert_eq!(event, Some(Event::Gone(made)));
    assert_eq!(client.get_sandbox(named).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_socket_that_is_missing_or_left_behind_is_said_clearly_and_heals_by_itself() {
    let folder = TempDir::new().unwrap();
    let door = door(folder.path()).await;
    let client = SandboxesClient::with_origin(line(&door).await, origin());
    let failure = async || client.clone().list_sandboxes(ListSandboxesRequest {}).await.err();
    eventually("the missing socket is named", async || {
        failure()
            .await
            .is_some_and(|it| it.code() == Code::Unavailable && it.message().contains("there is no socket"))
    })
    .await;
    let driver = run_compute(folder.path());
    eventually("it heals", async || failure().await.is_none()).await;
    drop(driver);
    eventually("a socket that nobody listens at is named", async || {
        failure()
            .await
            .is_some_and(|it| it.code() == Code::Unavailable && it.message().contains("nobody listens"))
    })
    .await;
    let _driver = run_compute(folder.path());
    eventually("it heals again", async || failure().await.is_none()).await;
}

#[tokio::test]
async fn without_a_driver_its_methods_are_not_there_and_without_a_role_nobody_asks_it() {
    let door = Plan::new(Vec::new()).start().await;
    let mut client = SandboxesClient::with_origin(line(&door).await, origin());
    let missing = client.list_sandboxes(ListSandboxesRequest {}).await.unwrap_err();
    assert_eq!(missing.code(), Code::Unimplemented);
    assert!(missing.message().contains("spec.drivers"), "{missing}");
    let mut client = CredentialsClient::with_origin(line(&door).await, origin());
    let denied =
        client.resolve_credential(ResolveCredentialRequest { name: "x".to_owned() }).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(denied.message().contains("the role admin"), "{denied}");
}

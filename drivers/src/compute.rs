//! An example compute driver: its sandboxes are entries in memory, ready as soon as they are made.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_contract::compute_driver::compute_driver_server::ComputeDriver;
use portcullis_contract::gateway::sandbox_event::Event;
use portcullis_contract::gateway::{
    CreateSandboxRequest, DeleteSandboxRequest, DeleteSandboxResponse, GetCapabilitiesRequest,
    GetCapabilitiesResponse, GetSandboxRequest, ListSandboxesRequest, ListSandboxesResponse, Sandbox,
    SandboxEvent, SandboxPhase, SandboxSpec, WatchSandboxesRequest,
};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

/// Changes that a slow watcher may lag behind; one that lags further is told to begin anew.
const BACKLOG: usize = 256;

/// Sandboxes in memory.
#[derive(Clone, Debug)]
pub struct Driver(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    sandboxes: BTreeMap<String, Sandbox>,
    made: u64,
    changes: broadcast::Sender<SandboxEvent>,
}

impl Default for Driver {
    fn default() -> Self {
        let changes = broadcast::Sender::new(BACKLOG);
        Self(Arc::new(Mutex::new(State { sandboxes: BTreeMap::new(), made: 0, changes })))
    }
}

impl Driver {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&self, event: Event) {
        // Without watchers there is nobody to tell.
        drop(self.changes.send(SandboxEvent { event: Some(event) }));
    }
}

fn unknown(name: &str) -> Status {
    Status::not_found(format!("there is no sandbox {name:?}"))
}

#[expect(clippy::disallowed_methods, reason = "an example that stands alone reads the clock itself")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[tonic::async_trait]
impl ComputeDriver for Driver {
    type WatchSandboxesStream = Pin<Box<dyn Stream<Item = Result<SandboxEvent, Status>> + Send>>;

    async fn get_capabilities(
        &self,
        _: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<GetCapabilitiesResponse>, Status> {
        Ok(Response::new(GetCapabilitiesResponse {
            driver_name: "example".to_owned(),
            driver_version: env!("CARGO_PKG_VERSION").to_owned(),
            default_image: "example.com/sandbox:1".to_owned(),
            supports_gpu: false,
        }))
    }

    async fn create_sandbox(
        &self,
        request: Request<CreateSandboxRequest>,
    ) -> Result<Response<Sandbox>, Status> {
        let created_by = request.metadata().get("x-portcullis-user").and_then(|user| user.to_str().ok());
        let created_by = created_by.unwrap_or_default().to_owned();
        let CreateSandboxRequest { name, spec } = request.into_inner();
        let spec = spec.unwrap_or_default();
        if spec.gpu {
            return Err(Status::invalid_argument("this driver has no GPUs: leave gpu out"));
        }
        let mut state = self.state();
        state.made += 1;
        let name = if name.is_empty() { format!("sandbox-{}", state.made) } else { name };
        if state.sandboxes.contains_key(&name) {
            return Err(Status::already_exists(format!("there is a sandbox {name:?} already")));
        }
        let sandbox = Sandbox {
            name: name.clone(),
            id: format!("{:08x}", state.made),
            spec: Some(SandboxSpec { ..spec }),
            phase: SandboxPhase::Ready.into(),
            message: String::new(),
            created_by,
            created_at_ms: now_ms(),
        };
        state.sandboxes.insert(name, sandbox.clone());
        state.tell(Event::Present(sandbox.clone()));
        Ok(Response::new(sandbox))
    }

    async fn get_sandbox(&self, request: Request<GetSandboxRequest>) -> Result<Response<Sandbox>, Status> {
        let name = request.into_inner().name;
        let sandbox = self.state().sandboxes.get(&name).cloned();
        sandbox.map(Response::new).ok_or_else(|| unknown(&name))
    }

    async fn list_sandboxes(
        &self,
        _: Request<ListSandboxesRequest>,
    ) -> Result<Response<ListSandboxesResponse>, Status> {
        Ok(Response::new(ListSandboxesResponse {
            sandboxes: self.state().sandboxes.values().cloned().collect(),
        }))
    }

    async fn delete_sandbox(
        &self,
        request: Request<DeleteSandboxRequest>,
    ) -> Result<Response<DeleteSandboxResponse>, Status> {
        let name = request.into_inner().name;
        let mut state = self.state();
        let sandbox = state.sandboxes.remove(&name).ok_or_else(|| unknown(&name))?;
        state.tell(Event::Gone(sandbox));
        Ok(Response::new(DeleteSandboxResponse {}))
    }

    async fn watch_sandboxes(
        &self,
        _: Request<WatchSandboxesRequest>,
    ) -> Result<Response<Self::WatchSandboxesStream>, Status> {
        let state = self.state();
        // Both under one lock, so that no change falls between.
        let changes = BroadcastStream::new(state.changes.subscribe());
        let present: Vec<_> = state.sandboxes.values().cloned().map(Event::Present).collect();
        drop(state);
        let present = present.into_iter().map(|event| Ok(SandboxEvent { event: Some(event) }));
        let changes = changes
            .map(|change| change.map_err(|_| Status::data_loss("too slow: changes were lost, watch anew")));
        Ok(Response::new(Box::pin(tokio_stream::iter(present).chain(changes))))
    }
}

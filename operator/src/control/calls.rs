//! What callers of a Gateway's API ask of the operator: carried out with the caller's rights, for the Gateway that the
//! replica's certificate names. Who is asking is the replica's word; what they may do is decided here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_contract::control::call::Request;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::control::instruction::Instruction as Told;
use portcullis_contract::control::{Call, CallAnswer, Instruction, Refusal};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

use crate::context::Context;
use crate::metrics::Method;
use crate::world::Key;
use crate::world::watch::Progress;

mod caller;
mod change;
mod create;
mod look;
mod refused;
mod renew;
mod rights;
mod told;
mod watch;

use caller::Caller;
use refused::{Refused, refused};
use rights::Rights;

/// Calls and watches of one replica at once: more than a replica lets in.
const OPEN: usize = 256;
/// How long a call may take that writes nothing, and how long one that does may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long our own write may take to come back by the watch before it is told without.
const CATCH_UP: Duration = Duration::from_secs(2);
/// Questions to the API server at a time, for one call.
const IN_STEP: usize = 16;

/// What it takes to carry calls out.
#[derive(Clone)]
pub struct Desk {
    /// What is known of the cluster, and who writes.
    pub ctx: Arc<Context>,
    /// How far the first lists are: nothing is answered before.
    pub progress: Arc<Progress>,
    /// The namespaces that this operator looks after; none: all of them.
    pub namespaces: Arc<[String]>,
    /// Every call is one of these.
    pub tasks: TaskTracker,
    /// Ends every watch.
    pub stop: CancellationToken,
}

/// The calls of one attached replica.
pub(super) struct Calls {
    desk: Desk,
    gateway: Key,
    pod: String,
    answers: mpsc::Sender<Result<Instruction, Status>>,
    open: Arc<Mutex<HashMap<u64, CancellationToken>>>,
    ended: CancellationToken,
    _end: DropGuard,
}

impl Calls {
    pub(super) fn new(
        desk: Desk,
        gateway: Key,
        pod: String,
        answers: mpsc::Sender<Result<Instruction, Status>>,
    ) -> Self {
        let ended = desk.stop.child_token();
        let end = ended.clone().drop_guard();
        Self { desk, gateway, pod, answers, open: Arc::default(), ended, _end: end }
    }

    /// Begins to carry a call out. Never waits: the session carries other things too.
    pub(super) fn begin(&self, call: Call) {
        let cancelled = self.ended.child_token();
        let has_room = {
            let mut open = lock(&self.open);
            let has_room = open.len() < OPEN;
            if has_room {
                open.insert(call.id, cancelled.clone());
            }
            has_room
        };
        let line = Line { id: call.id, answers: self.answers.clone() };
        let (desk, open) = (self.desk.clone(), self.open.clone());
        let (gateway, pod) = (self.gateway.clone(), self.pod.clone());
        self.desk.tasks.spawn(async move {
            if !has_room {
                let busy = Refused {
                    code: Code::ResourceExhausted,
                    message: "the operator is busy: try again".into(),
                };
                cancelled.run_until_cancelled(line.say(busy.into())).await;
                return;
            }
            let id = line.id;
            let asked = Asked { desk, gateway, pod, line, cancelled };
            asked.answer(call).await;
            lock(&open).remove(&id);
        });
    }

    /// Nobody waits for this one any more.
    pub(super) fn cancel(&self, id: u64) {
        if let Some(open) = lock(&self.open).get(&id) {
            open.cancel();
        }
    }
}

fn lock(open: &Mutex<HashMap<u64, CancellationToken>>) -> MutexGuard<'_, HashMap<u64, CancellationToken>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way back to whoever asked.
struct Line {
    id: u64,
    answers: mpsc::Sender<Result<Instruction, Status>>,
}

impl Line {
    /// False where nobody is there any more.
    async fn say(&self, answer: Answer) -> bool {
        let told = Told::Answer(CallAnswer { id: self.id, answer: Some(answer) });
        self.answers.send(Ok(Instruction { instruction: Some(told) })).await.is_ok()
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        Self::Refusal(Refusal { code: refused.code.into(), message: refused.message })
    }
}

/// One call, on its way.
struct Asked {
    desk: Desk,
    gateway: Key,
    pod: String,
    line: Line,
    cancelled: CancellationToken,
}

impl Asked {
    async fn answer(self, call: Call) {
        let user = call.caller.as_ref().map(|it| it.user.clone()).unwrap_or_default();
        let subject = call.caller.as_ref().map(|it| it.subject.clone()).unwrap_or_default();
        let method = call.request.as_ref().map_or(Method::Unknown, method);
        let began = tokio::time::Instant::now();
        let done = Box::pin(self.carry_out(call)).await;
        let took = (method != Method::WatchTunnels).then(|| began.elapsed());
        let code = match &done {
            Ok(Some(_)) => Code::Ok,
            Ok(None) => Code::Cancelled,
            Err(refused) => refused.code,
        };
        self.desk.ctx.metrics.count_call(method, code, took);
        let answer = match done {
            Ok(Some(answer)) => answer,
            // Nobody waits for it any more.
            Ok(None) => return,
            Err(refused) => {
                let (gateway, what) = (&self.gateway, method.as_str());
                tracing::info!(%gateway, pod = self.pod, user, subject, what, ?code, why = refused.message, "call refused");
                refused.into()
            }
        };
        self.cancelled.run_until_cancelled(self.line.say(answer)).await;
    }

    async fn carry_out(&self, call: Call) -> Result<Option<Answer>, Refused> {
        let said = call.caller.clone().unwrap_or_default();
        let caller = Caller::of(call.caller)?;
        let rights = Rights { desk: &self.desk, gateway: &self.gateway, caller: &caller };
        in_time(self.desk.progress.synced()).await?;
        let answer = match call.request {
            Some(Request::ListProjects(_)) => Answer::Projects(in_time(look::projects(&rights)).await??),
            Some(Request::ListTunnels(it)) => Answer::Tunnels(in_time(look::list(&rights, &it)).await??),
            Some(Request::GetTunnel(it)) => Answer::Tunnel(in_time(look::get(&rights, &it)).await??),
            Some(Request::CreateTunnel(it)) => Answer::Created(create::create(&rights, &it).await?),
            Some(Request::UpdateTunnel(it)) => Answer::Tunnel(change::update(&rights, &it).await?),
            Some(Request::DeleteTunnel(it)) => Answer::Deleted(change::delete(&rights, &it).await?),
            Some(Request::WatchTunnels(it)) => {
                let watched = Box::pin(watch::watch(&rights, &it, &self.line));
                return match self.cancelled.run_until_cancelled(watched).await {
                    Some(ended) => Err(ended),
                    None => Ok(None),
                };
            }
            Some(Request::RenewCertificate(it)) => Answer::Renewed(renew::renew(&rights, &said, &it).await?),
            Some(Request::GetTrust(_)) => Answer::Trust(renew::trust(&self.desk, &self.gateway)?),
            None => {
                return refused(
                    Code::Unimplemented,
                    "the operator does not know this call: it is older than the gateway",
                );
            }
        };
        Ok(Some(answer))
    }
}

/// What somebody asks for, as the log and the metrics have it.
fn method(request: &Request) -> Method {
    match request {
        Request::ListProjects(_) => Method::ListProjects,
        Request::ListTunnels(_) => Method::ListTunnels,
        Request::GetTunnel(_) => Method::GetTunnel,
        Request::CreateTunnel(_) => Method::CreateTunnel,
        Request::UpdateTunnel(_) => Method::UpdateTunnel,
        Request::DeleteTunnel(_) => Method::DeleteTunnel,
        Request::WatchTunnels(_) => Method::WatchTunnels,
        Request::RenewCertificate(_) => Method::RenewCertificate,
        Request::GetTrust(_) => Method::GetTrust,
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, Refused> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => Ok(done),
        Err(_) => refused(Code::DeadlineExceeded, "it took too long: try again in a moment"),
    }
}

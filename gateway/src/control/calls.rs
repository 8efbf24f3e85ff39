//! What callers of the API ask of the operator, over the session that there is. The gateway decides only who is asking;
//! what that caller may do, the operator does. All that waits fails at once when the session breaks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_contract::control::call::Request;
use portcullis_contract::control::call_answer::Answer;
use portcullis_contract::control::report::Report as Word;
use portcullis_contract::control::{Call, CallAnswer, Caller, Cancel, Report};
use tokio::sync::{Notify, mpsc};
use tonic::{Code, Status};

/// How long the operator may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Calls that wait for their answer at once; watches do not count.
const CALLS: usize = 64;
/// Watches at once, and those of one user.
const WATCHES: usize = 128;
const WATCHES_OF_ONE: usize = 16;
/// Answers to one watch that wait for whoever reads it. Beyond: it ends.
const BACKLOG: usize = 64;

/// What waits for the operator.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    line: Mutex<Option<Line>>,
    next: AtomicU64,
    /// Told when somebody has stopped reading.
    given_up: Notify,
}

/// The session that there is.
#[derive(Debug)]
struct Line {
    session: u64,
    reports: mpsc::Sender<Report>,
    waiting: HashMap<u64, Waiter>,
    /// Watches that nobody reads any more; the operator is still to be told.
    given_up: Vec<u64>,
}

#[derive(Debug)]
struct Waiter {
    answers: mpsc::Sender<Answer>,
    /// Whose watch it is; None: it is no watch.
    watched_by: Option<String>,
}

/// Lets calls through for as long as it is held.
pub(super) struct Attached<'a> {
    calls: &'a Calls,
    session: u64,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let mut line = self.calls.lock();
        if line.as_ref().is_some_and(|line| line.session == self.session) {
            *line = None;
        }
    }
}

impl Calls {
    /// Calls go out as these reports from now on.
    pub(super) fn attach(&self, reports: mpsc::Sender<Report>) -> Attached<'_> {
        let session = self.next.fetch_add(1, Ordering::Relaxed);
        *self.lock() = Some(Line { session, reports, waiting: HashMap::new(), given_up: Vec::new() });
        Attached { calls: self, session }
    }

    /// The operator has answered: never waits, since the session carries other things too.
    pub(super) fn answered(&self, answer: CallAnswer) {
        let CallAnswer { id, answer: Some(answer) } = answer else { return };
        let mut line = self.lock();
        let Some(line) = line.as_mut() else { return };
        let Some(waiter) = line.waiting.get(&id) else { return };
        let is_last = waiter.watched_by.is_none() || matches!(answer, Answer::Refusal(_));
        if waiter.answers.try_send(answer).is_err() && !is_last {
            line.given_up.push(id);
            self.given_up.notify_one();
            line.waiting.remove(&id);
        }
        if is_last {
            line.waiting.remove(&id);
        }
    }

    /// Waits until there is something to cancel.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }

    /// What the operator is to be told that nobody waits for any more.
    pub(super) fn cancels(&self) -> Vec<Word> {
        let given_up = self.lock().as_mut().map(|line| std::mem::take(&mut line.given_up));
        given_up.into_iter().flatten().map(|id| Word::Cancel(Cancel { id })).collect()
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(self: &Arc<Self>, caller: Caller, request: Request) -> Result<Answer, Status> {
        let asked = async { self.begin(caller, request, false).await?.next().await };
        match tokio::time::timeout(ANSWER_TIME, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded(
                "the operator has not answered: look whether it was done before you try again",
            )),
        }
    }

    /// Asks for something that is answered until somebody stops reading.
    pub(crate) async fn watch(self: &Arc<Self>, caller: Caller, request: Request) -> Result<Pending, Status> {
        match tokio::time::timeout(ANSWER_TIME, self.begin(caller, request, true)).await {
            Ok(pending) => pending,
            Err(_) => Err(Status::deadline_exceeded("the operator does not listen: try again")),
        }
    }

    async fn begin(
        self: &Arc<Self>,
        caller: Caller,
        request: Request,
        watch: bool,
    ) -> Result<Pending, Status> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answers, answered) = mpsc::channel(if watch { BACKLOG } else { 1 });
        let watched_by = watch.then(|| caller.user.clone());
        let (pending, reports) = {
            let mut line = self.lock();
            let line = line.as_mut().ok_or_else(away)?;
            line.has_room(watched_by.as_deref())?;
            line.waiting.insert(id, Waiter { answers, watched_by });
            (Pending { calls: Arc::clone(self), session: line.session, id, answered }, line.reports.clone())
        };
        let call = Call { id, caller: Some(caller), request: Some(request) };
        let sent = reports.send(Report { report: Some(Word::Call(call)) }).await;
        sent.map_err(|_| away())?;
        Ok(pending)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn has_room(&self, watched_by: Option<&str>) -> Result<(), Status> {
        let count = |counts: &dyn Fn(&Waiter) -> bool| self.waiting.values().filter(|it| counts(it)).count();
        let is_full = match watched_by {
            None => count(&|it| it.watched_by.is_none()) >= CALLS,
            Some(user) if count(&|it| it.watched_by.as_deref() == Some(user)) >= WATCHES_OF_ONE => {
                return Err(Status::resource_exhausted(format!(
                    "{user} has {WATCHES_OF_ONE} watches at this replica: end one"
                )));
            }
            Some(_) => count(&|it| it.watched_by.is_some()) >= WATCHES,
        };
        if is_full {
            return Err(Status::resource_exhausted(
                "this replica waits for many answers: try again in a moment",
            ));
        }
        Ok(())
    }
}

/// A call that the operator knows of.
#[derive(Debug)]
pub(crate) struct Pending {
    calls: Arc<Calls>,
    session: u64,
    id: u64,
    answered: mpsc::Receiver<Answer>,
}

impl Pending {
    /// The next answer.
    pub(crate) async fn next(&mut self) -> Result<Answer, Status> {
        match self.answered.recv().await {
            Some(Answer::Refusal(refusal)) => Err(match Code::from_i32(refusal.code) {
                Code::Ok | Code::Unknown | Code::Internal => {
                    Status::internal("the operator failed: see its log")
                }
                code => Status::new(code, refusal.message),
            }),
            Some(answer) => Ok(answer),
            None => Err(self.end()),
        }
    }

    /// Why there is no answer any more.
    fn end(&self) -> Status {
        if self.calls.lock().as_ref().is_some_and(|line| line.session == self.session) {
            Status::resource_exhausted("changes came faster than they were read: watch again")
        } else {
            away()
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut line = self.calls.lock();
        let Some(line) = line.as_mut().filter(|line| line.session == self.session) else { return };
        if line.waiting.remove(&self.id).is_some_and(|waiter| waiter.watched_by.is_some()) {
            line.given_up.push(self.id);
            self.calls.given_up.notify_one();
        }
    }
}

fn away() -> Status {
    Status::unavailable("the gateway is not attached to its operator: try again in a moment")
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_contract::control::{Refusal, TunnelEvents};
    use portcullis_contract::gateway::{DeleteTunnelRequest, DeleteTunnelResponse, WatchTunnelsRequest};

    fn caller(user: &str) -> Caller {
        Caller { user: user.to_owned(), ..Caller::default() }
    }

    fn delete() -> Request {
        Request::DeleteTunnel(DeleteTunnelRequest::default())
    }

    fn watch() -> Request {
        Request::WatchTunnels(WatchTunnelsRequest::default())
    }

    fn id(report: Report) -> u64 {
        match report.report {
            Some(Word::Call(call)) => call.id,
            other => panic!("{other:?} is no call"),
        }
    }

    #[tokio::test]
    async fn an_answer_goes_to_whoever_asked_and_to_nobody_else() {
        let calls = Arc::<Calls>::default();
        let (reports, mut sent) = mpsc::channel(8);
        let _attached = calls.attach(reports);
        let mut first = calls.begin(caller("alice"), delete(), false).await.unwrap();
        let mut second = calls.begin(caller("bob"), delete(), false).await.unwrap();
        let (one, two) = (id(sent.recv().await.unwrap()), id(sent.recv().await.unwrap()));
        let refusal = Answer::Refusal(Refusal { code: Code::NotFound as i32, message: "not there".into() });
        calls.answered(CallAnswer { id: two, answer: Some(refusal) });
        calls.answered(CallAnswer { id: one, answer: Some(Answer::Deleted(DeleteTunnelResponse {})) });
        calls.answered(CallAnswer { id: 999, answer: Some(Answer::Deleted(DeleteTunnelResponse {})) });
        assert_eq!(first.next().await.unwrap(), Answer::Deleted(DeleteTunnelResponse {}));
        let refused = second.next().await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::NotFound, "not there"));
        drop((first, second));
        assert!(calls.cancels().is_empty(), "what is answered is not cancelled");
    }

    #[tokio::test]
    async fn whatever_waits_fails_at_once_when_the_session_breaks_and_an_old_one_never_clears_a_newer() {
        let calls = Arc::<Calls>::default();
        assert_eq!(calls.ask(caller("alice"), delete()).await.unwrap_err().code(), Code::Unavailable);
        let (reports, _sent) = mpsc::channel(8);
        let attached = calls.attach(reports.clone());
        let mut pending = calls.begin(caller("alice"), delete(), false).await.unwrap();
        let mut watched = calls.watch(caller("alice"), watch()).await.unwrap();
        let newer = calls.attach(reports);
        drop(attached);
        assert_eq!(pending.next().await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(watched.next().await.unwrap_err().code(), Code::Unavailable);
        drop((pending, watched));
        assert!(calls.begin(caller("alice"), delete(), false).await.is_ok());
        assert!(calls.cancels().is_empty(), "the newer session knows nothing of the older one's watches");
        drop(newer);
        assert_eq!(calls.ask(caller("alice"), delete()).await.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn one_user_s_watches_and_all_calls_are_bounded_and_what_is_dropped_makes_room_and_is_cancelled() {
        let calls = Arc::<Calls>::default();
        let (reports, _sent) = mpsc::channel(1024);
        let _attached = calls.attach(reports);
        let mut watches = Vec::new();
        for _ in 0..WATCHES_OF_ONE {
            watches.push(calls.watch(caller("alice"), watch()).await.unwrap());
        }
        let refused = calls.watch(caller("alice"), watch()).await.unwrap_err();
        assert!(
            refused.code() == Code::ResourceExhausted && refused.message().contains("alice"),
            "{refused}"
        );
        let mut others = Vec::new();
        for number in 0..WATCHES - WATCHES_OF_ONE {
            others.push(calls.watch(caller(&format!("user-{number}")), watch()).await.unwrap());
        }
        assert_eq!(calls.watch(caller("bob"), watch()).await.unwrap_err().code(), Code::ResourceExhausted);
        watches.pop();
        assert_eq!(calls.cancels().len(), 1);
        assert!(calls.watch(caller("alice"), watch()).await.is_ok());
        let mut asked = Vec::new();
        for _ in 0..CALLS {
            asked.push(calls.begin(caller("alice"), delete(), false).await.unwrap());
        }
        assert_eq!(
            calls.begin(caller("bob"), delete(), false).await.unwrap_err().code(),
            Code::ResourceExhausted
        );
        asked.pop();
        assert!(calls.begin(caller("bob"), delete(), false).await.is_ok());
    }

    #[tokio::test]
    async fn a_watch_that_nobody_reads_ends_with_words_and_holds_nothing_up() {
        let calls = Arc::<Calls>::default();
        let (reports, mut sent) = mpsc::channel(8);
        let _attached = calls.attach(reports);
        let mut watched = calls.watch(caller("alice"), watch()).await.unwrap();
        let id = id(sent.recv().await.unwrap());
        for _ in 0..=BACKLOG {
            calls.answered(CallAnswer { id, answer: Some(Answer::Events(TunnelEvents::default())) });
        }
        calls.given_up().await;
        assert_eq!(calls.cancels(), [Word::Cancel(Cancel { id })]);
        for _ in 0..BACKLOG {
            assert_eq!(watched.next().await.unwrap(), Answer::Events(TunnelEvents::default()));
        }
        let ended = watched.next().await.unwrap_err();
        assert_eq!(ended.code(), Code::ResourceExhausted);
        assert!(ended.message().contains("watch again"), "{ended}");
    }
}

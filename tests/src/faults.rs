//! A layer in front of the operator's client that counts writes and lets one of them fail, in every way that a write
//! can. Leases don't count: they are about time, not about Gateways.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Bytes;
use kube::client::Body;
use tokio::sync::{Barrier, Notify, watch};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

mod holds;

pub use holds::{Dam, Dammed, Race};

/// What befalls a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator is gone before it is sent.
    StopBefore,
    /// The operator is gone after it was carried out, before it hears the answer.
    StopAfter,
    /// 409, and nothing was done.
    Conflict,
    /// 429, and nothing was done.
    TooManyRequests,
    /// 500, and nothing was done.
    InternalError,
    /// It was carried out, and the answer is lost.
    AnswerLost,
}

impl Fault {
    /// Every way that a write can fail.
    pub const ALL: [Self; 6] = [
        Self::StopBefore,
        Self::StopAfter,
        Self::Conflict,
        Self::TooManyRequests,
        Self::InternalError,
        Self::AnswerLost,
    ];
}

/// What befalls which write, and what was written.
#[derive(Debug, Default)]
pub struct Script {
    /// The number of the write (from 0), and what befalls it.
    fault: Option<(usize, Fault)>,
    writes: Mutex<Vec<(Instant, String)>>,
    forbidden: Mutex<Vec<String>>,
    asked: Mutex<BTreeSet<(String, String)>>,
    struck: AtomicBool,
    race: Option<Arc<Race>>,
    met: Mutex<BTreeSet<String>>,
    dam: Option<Arc<Dam>>,
    /// How much later writes of Leases are carried out.
    leases_take: Mutex<Duration>,
    /// How many of them have come.
    leases: watch::Sender<usize>,
    /// Told when the operator is to be gone.
    pub stop: Notify,
}

impl Script {
    /// Lets one write fail.
    pub fn failing(number: usize, fault: Fault) -> Arc<Self> {
        Arc::new(Self { fault: Some((number, fault)), ..Self::default() })
    }

    /// Holds the first write to each object of a race.
    pub fn racing(race: Arc<Race>) -> Arc<Self> {
        Arc::new(Self { race: Some(race), ..Self::default() })
    }

    /// Holds what watches tell.
    pub fn dammed(dam: Arc<Dam>) -> Arc<Self> {
        Arc::new(Self { dam: Some(dam), ..Self::default() })
    }

    /// The writes so far: method and path.
    pub fn writes(&self) -> Vec<String> {
        self.writes.lock().unwrap().iter().map(|(_, write)| write.clone()).collect()
    }

    /// When the writes so far were sent.
    pub fn moments(&self) -> Vec<Instant> {
        self.writes.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    /// Whatever was answered with 403: method and path.
    pub fn forbidden(&self) -> Vec<String> {
        self.forbidden.lock().unwrap().clone()
    }

    /// Every kind of request so far: RBAC's verb, and the resource with its group.
    pub fn asked(&self) -> BTreeSet<(String, String)> {
        self.asked.lock().unwrap().clone()
    }

    /// From now on the API server is slow with writes of Leases: each takes this much longer.
    pub fn slow_leases(&self, by: Duration) {
        *self.leases_take.lock().unwrap() = by;
    }

    /// Waits until another write of a Lease has come, which is not carried out yet where they are slow.
    pub async fn lease_written(&self) {
        let mut leases = self.leases.subscribe();
        leases.mark_unchanged();
        leases.changed().await.expect("the script is here");
    }

    /// How much later a request is carried out.
    fn delay(&self, request: &Request<Body>) -> Duration {
        let is_lease = *request.method() != Method::GET && request.uri().path().contains("/leases");
        if !is_lease {
            return Duration::ZERO;
        }
        self.leases.send_modify(|leases| *leases += 1);
        *self.leases_take.lock().unwrap()
    }

    /// Whether the write that was to fail has come.
    pub fn struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }

    /// Where to wait for the other one before this is sent.
    fn line(&self, request: &Request<Body>) -> Option<Arc<Barrier>> {
        let path = request.uri().path();
        let race = self.race.as_ref().filter(|race| path.ends_with(race.suffix))?;
        let first = *request.method() != Method::GET && self.met.lock().unwrap().insert(path.to_owned());
        first.then(|| race.line(path))
    }

    /// What a watch is behind.
    fn dam(&self, request: &Request<Body>) -> Option<Arc<Dam>> {
        let (verb, what) = asked(request)?;
        let dam = self.dam.as_ref()?;
        (verb == "watch" && what.ends_with(&format!("/{}", dam.kind))).then(|| Arc::clone(dam))
    }

    fn next(&self, request: &Request<Body>) -> Option<Fault> {
        let path = request.uri().path();
        self.asked.lock().unwrap().extend(asked(request));
        if *request.method() == Method::GET || path.contains("/leases") {
            return None;
        }
        let mut writes = self.writes.lock().unwrap();
        let number = writes.len();
        writes.push((Instant::now(), format!("{} {path}", request.method())));
        let (_, fault) = self.fault.filter(|(at, _)| *at == number)?;
        self.struck.store(true, Ordering::SeqCst);
        Some(fault)
    }
}

/// Puts a script between the client and the API server.
#[derive(Clone, Debug)]
pub struct Meddler(pub Arc<Script>);

impl<S> Layer<S> for Meddler {
    type Service = Meddled<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Meddled { inner, script: self.0.clone() }
    }
}

/// A client with a script in front of it.
#[derive(Clone, Debug)]
pub struct Meddled<S> {
    inner: S,
    script: Arc<Script>,
}

impl<S, B> Service<Request<Body>> for Meddled<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<Dammed<B>, Full<Bytes>>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (line, dam) = (self.script.line(&request), self.script.dam(&request));
        let (fault, script) = (self.script.next(&request), self.script.clone());
        if let Some(answer) = fault.and_then(refusal) {
            return Box::pin(async move { Ok(answer) });
        }
        if fault == Some(Fault::StopBefore) {
            script.stop.notify_one();
            return Box::pin(std::future::pending());
        }
        let what = format!("{} {}", request.method(), request.uri());
        let delay = self.script.delay(&request);
        let sent = self.inner.call(request);
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if let Some(line) = line {
                line.wait().await;
            }
            let answer = sent.await.map_err(Into::into)?;
            if answer.status() == StatusCode::FORBIDDEN {
                script.forbidden.lock().unwrap().push(what);
            }
            match fault {
                Some(Fault::StopAfter) => {
                    script.stop.notify_one();
                    std::future::pending().await
                }
                Some(Fault::AnswerLost) => Err("the connection was reset before the answer came".into()),
                _ => Ok(answer.map(|inner| Either::Left(Dammed::behind(dam, inner)))),
            }
        })
    }
}

/// What RBAC calls a request: the verb, and GROUP/RESOURCE[/SUBRESOURCE].
fn asked(request: &Request<Body>) -> Option<(String, String)> {
    let segments: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    let (group, rest) = match segments.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let rest = if let ["namespaces", _, rest @ ..] = rest { rest } else { rest };
    let (resource, named) = match rest {
        [resource] => ((*resource).to_owned(), false),
        [resource, _] => ((*resource).to_owned(), true),
        [resource, _, sub @ ..] => (format!("{resource}/{}", sub.join("/")), true),
        [] => return None,
    };
    let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let verb = match (request.method().as_str(), named) {
        ("GET", true) => "get",
        ("GET", false) if watches => "watch",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        _ => "deletecollection",
    };
    Some((verb.to_owned(), format!("{group}/{resource}")))
}

fn refusal<B>(fault: Fault) -> Option<Response<Either<Dammed<B>, Full<Bytes>>>> {
    let (code, reason) = match fault {
        Fault::Conflict => (StatusCode::CONFLICT, "Conflict"),
        Fault::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        Fault::InternalError => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Fault::StopBefore | Fault::StopAfter | Fault::AnswerLost => return None,
    };
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "injected", "reason": reason, "code": code.as_u16(),
    });
    let body = Either::Right(Full::from(serde_json::to_vec(&status).unwrap()));
    Some(Response::builder().status(code).header("content-type", "application/json").body(body).unwrap())
}

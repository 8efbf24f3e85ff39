//! Visitors of a public name: each asks on a connection of its own, or many at once on one. `curl` is for a few of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::door::Door;
use crate::real::tls;

/// Nobody waits longer for one answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Knows a public name, where it is, and whose certificates to believe.
#[derive(Clone, Debug)]
pub struct Visitor {
    address: String,
    name: String,
    roots: PathBuf,
}

impl Visitor {
    /// One who comes by the Service of a Gateway.
    pub async fn of(door: &Door, bundle: &Path, name: &str) -> Self {
        Self { address: door.address().await, name: name.to_owned(), roots: bundle.join("ca.crt") }
    }

    /// Opens an HTTP/2 connection.
    pub async fn http2(&self) -> Result<http2::SendRequest<Empty<Bytes>>, String> {
        let stream = tls(&self.roots, &self.name, (&self.address, 443), &[b"h2"]).await;
        let stream = TokioIo::new(stream.map_err(|error| format!("no connection: {error}"))?);
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Asks on a new connection; reads the whole answer.
    pub async fn visit(&self, path: &str) -> Result<StatusCode, String> {
        let visit = async {
            let stream = tls(&self.roots, &self.name, (&self.address, 443), &[b"http/1.1"]).await;
            let stream = TokioIo::new(stream.map_err(|error| format!("no connection: {error}"))?);
            let (mut sender, connection) =
                http1::handshake(stream).await.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            whole(sender.send_request(self.request(path)).await).await
        };
        timeout(PATIENCE, visit).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    /// A GET for the name.
    pub fn request(&self, path: &str) -> Request<Empty<Bytes>> {
        let uri = format!("https://{}{path}", self.name);
        Request::get(uri).header("host", &self.name).body(Empty::new()).unwrap()
    }
}

/// The status of an answer that came whole.
pub async fn whole(answer: hyper::Result<http::Response<Incoming>>) -> Result<StatusCode, String> {
    let answer = answer.map_err(|error| format!("no answer: {error}"))?;
    let status = answer.status();
    answer.into_body().collect().await.map_err(|error| format!("half an answer: {error}"))?;
    Ok(status)
}

/// A visit that was over.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When it began.
    pub began: Instant,
    /// How long it took until it was answered or had failed.
    pub took: Duration,
    /// What became of it.
    pub outcome: Result<StatusCode, String>,
}

impl Visit {
    /// Answered as the endpoint does.
    pub fn went_well(&self) -> bool {
        self.outcome == Ok(StatusCode::OK)
    }
}

/// Visitors who come again and again, each time on a new connection.
#[derive(Debug)]
pub struct Crowd {
    leave: Arc<AtomicBool>,
    visits: JoinHandle<Vec<Visit>>,
}

impl Crowd {
    /// So many at once ask for a path, with a pause after each visit.
    pub fn of(visitor: &Visitor, size: usize, path: &'static str, pause: Duration) -> Self {
        let leave = Arc::new(AtomicBool::new(false));
        let mut visitors = JoinSet::new();
        for _ in 0..size {
            let (visitor, leave) = (visitor.clone(), Arc::clone(&leave));
            visitors.spawn(async move {
                let mut visits = Vec::new();
                while !leave.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let outcome = visitor.visit(path).await;
                    visits.push(Visit { began, took: began.elapsed(), outcome });
                    sleep(pause).await;
                }
                visits
            });
        }
        let visits = tokio::spawn(async move { visitors.join_all().await.concat() });
        Self { leave, visits }
    }

    /// All their visits, in the order in which they began.
    pub async fn gone(self) -> Vec<Visit> {
        self.leave.store(true, Ordering::Relaxed);
        let mut visits = self.visits.await.unwrap();
        visits.sort_by_key(|visit| visit.began);
        visits
    }
}

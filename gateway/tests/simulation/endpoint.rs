//! The services behind the tunnels: every answer says which tunnel and which request it is of, and its bytes do too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::book::{Book, OWN, WHOLE, Which, content};
use crate::support::Backend;
use crate::support::backend::{Reply, reply};
use crate::support::caller::Error;

/// Bytes in one frame of an answer.
pub(super) const PIECE: usize = 16 * 1024;

/// A service of one tunnel.
pub(super) struct Endpoint {
    pub(super) backend: Backend,
    /// Requests that it will never answer.
    pub(super) hanging: Arc<AtomicUsize>,
}

struct Hanging(Arc<AtomicUsize>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Endpoint {
    pub(super) async fn new(which: Which, book: Arc<Book>) -> Self {
        let hanging = Arc::new(AtomicUsize::new(0));
        let hangs = Arc::clone(&hanging);
        let backend =
            Backend::new(move |request| answer(which, request, Arc::clone(&book), hangs.clone())).await;
        Self { backend, hanging }
    }
}

fn number(request: &Request<Incoming>, name: &str) -> usize {
    request.headers().get(name).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default()
}

async fn answer(
    which: Which,
    mut request: Request<Incoming>,
    book: Arc<Book>,
    hanging: Arc<AtomicUsize>,
) -> Result<Reply, Error> {
    let (id, length) = (number(&request, "x-id") as u64, number(&request, "x-length"));
    if request.headers().get("host").is_none_or(|host| host != which.host()) {
        book.violation(
            OWN,
            format!("request {id} came to {which:?} with {:?}", request.headers().get("host")),
        );
    }
    book.carry_out(id);
    let mut response = match request.uri().path() {
        "/bytes" => pieces(content(which.name(), id, length), Duration::ZERO),
        "/events" => pieces(content(which.name(), id, length), Duration::from_millis(5)),
        "/upload" => upload(request, &book, id, length).await?,
        "/socket" => socket(&mut request, which),
        "/hang" => {
            hanging.fetch_add(1, Ordering::SeqCst);
            let _hanging = Hanging(hanging);
            std::future::pending().await
        }
        _ => reply(""),
    };
    response.headers_mut().insert("x-tunnel", which.name().parse()?);
    response.headers_mut().insert("x-id", id.into());
    Ok(response)
}

/// An answer in pieces, with a pause before each.
fn pieces(bytes: Vec<u8>, pause: Duration) -> Reply {
    let bytes = Bytes::from(bytes);
    let stream = futures::stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(rest.len().min(PIECE));
        Some((Ok::<_, Error>(Frame::data(piece)), rest))
    });
    Response::new(StreamBody::new(Box::pin(stream)).boxed())
}

/// Reads the whole of a body that looks whole.
async fn upload(request: Request<Incoming>, book: &Book, id: u64, length: usize) -> Result<Reply, Error> {
    let body = request.into_body().collect().await?.to_bytes();
    if body.len() != length {
        book.violation(WHOLE, format!("upload {id} of {length} bytes looked whole with {}", body.len()));
    } else if body != content("upload", id, length) {
        book.violation(OWN, format!("upload {id} had other bytes than were sent"));
    }
    Ok(reply(format!("took {id}")))
}

/// What one side of a WebSocket hears is what the other said, masked with what the tunnel is.
pub(super) fn masked(which: Which, bytes: &[u8]) -> Vec<u8> {
    let mask = which.name().as_bytes()[0];
    bytes.iter().map(|byte| byte ^ mask).collect()
}

fn socket(request: &mut Request<Incoming>, which: Which) -> Reply {
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut io = TokioIo::new(upgraded);
        let mut buffer = vec![0; 4096];
        while let Ok(read) = io.read(&mut buffer).await {
            let echo = masked(which, &buffer[..read]);
            if read == 0 || io.write_all(&echo).await.is_err() || io.flush().await.is_err() {
                return;
            }
        }
    });
    let mut response = reply("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in
        [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", "for the key")]
    {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

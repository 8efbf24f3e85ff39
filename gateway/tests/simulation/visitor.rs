//! Visitors: each request knows what its answer must be, to the last byte, and may fail instead; nothing else.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::Rng as _;
use rand::rngs::StdRng;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::book::{BOUNDED, Book, OWN, WHOLE, Which, content};
use super::endpoint::{PIECE, masked};
use crate::support::caller::{Body, Error, body};

/// No request takes longer: a connection that is dead and does not say so is found after 15 s.
pub(super) const LONGEST: Duration = Duration::from_secs(45);

/// Requests that fail later than this stand in the account of a run.
const NOTED: Duration = Duration::from_millis(500);

/// What visitors know.
pub(super) struct Town {
    pub(super) addresses: [Mutex<SocketAddr>; 2],
    pub(super) http1: Arc<ClientConfig>,
    pub(super) http2: Arc<ClientConfig>,
    pub(super) book: Arc<Book>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Errand {
    Bytes,
    Events,
    Upload,
    /// An upload that is given up halfway.
    Abandon,
    Socket,
    /// Reads so slowly that others would notice if they shared anything.
    Slow,
    /// Is never answered.
    Hang,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) replica: usize,
    pub(super) which: Which,
    pub(super) errand: Errand,
    pub(super) over_http2: bool,
    pub(super) length: usize,
}

impl Visit {
    pub(super) fn draw(random: &mut StdRng) -> Self {
        let errand = match random.random_range(0..100) {
            0..40 => Errand::Bytes,
            40..50 => Errand::Events,
            50..75 => Errand::Upload,
            75..82 => Errand::Abandon,
            82..97 => Errand::Socket,
            _ => Errand::Slow,
        };
        let longest = [100, 20_000, 300_000][random.random_range(0..3)];
        Self {
            replica: random.random_range(0..2),
            which: Which::ALL[random.random_range(0..2)],
            errand,
            over_http2: random.random(),
            length: random.random_range(1..longest),
        }
    }
}

enum Caller {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Town {
    /// Makes a request; None where it failed, which it may.
    pub(super) async fn visit(&self, visit: Visit) -> Option<()> {
        let (id, began) = (self.book.next_id(), Instant::now());
        let outcome = tokio::time::timeout(LONGEST, self.run(visit, id)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            self.book.violation(BOUNDED, format!("request {id} ({visit:?}) took longer than {LONGEST:?}"));
            Err("it took too long".into())
        });
        match outcome {
            Ok(()) => {
                self.book.answered(visit.replica, visit.which, id, began);
                Some(())
            }
            Err(error) => {
                self.book.failed.fetch_add(1, Ordering::Relaxed);
                // The others are too many to be read.
                if began.elapsed() > NOTED {
                    let time = began.elapsed();
                    self.book.note(format!("request {id} ({visit:?}) failed after {time:?}: {error}"));
                }
                None
            }
        }
    }

    async fn connect(&self, visit: Visit) -> Result<Caller, Error> {
        let address = *self.addresses[visit.replica].lock().unwrap();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let config = if visit.over_http2 { &self.http2 } else { &self.http1 };
        let name = ServerName::try_from(visit.which.host())?;
        let io = TokioIo::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?);
        if visit.over_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            return Ok(Caller::Http2(sender));
        }
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection.with_upgrades());
        Ok(Caller::Http1(sender))
    }

    async fn run(&self, visit: Visit, id: u64) -> Result<(), Error> {
        let mut caller = self.connect(visit).await?;
        let request = request(visit, id);
        let answer = match &mut caller {
            Caller::Http1(sender) => sender.send_request(request).await?,
            Caller::Http2(sender) => sender.send_request(request).await?,
        };
        let switched = matches!(visit.errand, Errand::Socket) && answer.headers().contains_key("x-tunnel");
        let expected =
            if switched && !visit.over_http2 { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
        if answer.status() != expected {
            return Err(self.page(visit, id, answer).await);
        }
        let said =
            |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (tunnel, of) = (said("x-tunnel"), said("x-id"));
        if tunnel.as_deref() != Some(visit.which.name()) || of != Some(id.to_string()) {
            self.book
                .violation(OWN, format!("request {id} ({visit:?}) got the answer of {tunnel:?}, {of:?}"));
        }
        match visit.errand {
            Errand::Socket => talk(visit, id, answer, &self.book).await,
            Errand::Upload | Errand::Abandon => {
                let text = answer.into_body().collect().await?.to_bytes();
                self.compare(visit, id, &text, format!("took {id}").as_bytes())
            }
            Errand::Bytes | Errand::Events | Errand::Slow | Errand::Hang => {
                let read = read(visit, answer).await?;
                self.compare(visit, id, &read, &content(visit.which.name(), id, visit.length))
            }
        }
    }

    /// The answer looked whole: it must be.
    fn compare(&self, visit: Visit, id: u64, read: &[u8], expected: &[u8]) -> Result<(), Error> {
        if read == expected {
            return Ok(());
        }
        let invariant = if expected.starts_with(read) { WHOLE } else { OWN };
        let (had, wanted) = (read.len(), expected.len());
        self.book.violation(invariant, format!("request {id} ({visit:?}) read {had} bytes of {wanted}"));
        Err("the answer is not the right one".into())
    }

    /// An answer of the gateway's own.
    async fn page(&self, visit: Visit, id: u64, answer: Response<Incoming>) -> Error {
        let (status, of_tunnel) = (answer.status(), answer.headers().contains_key("x-tunnel"));
        if of_tunnel || !matches!(status.as_u16(), 404 | 502 | 503 | 504) {
            self.book.violation(WHOLE, format!("request {id} ({visit:?}) got a {status} that nobody gives"));
        }
        let text = answer.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        format!("{status}: {:?}", text.unwrap_or_default()).into()
    }
}

fn request(visit: Visit, id: u64) -> Request<Body> {
    let path = match visit.errand {
        Errand::Bytes | Errand::Slow => "/bytes",
        Errand::Events => "/events",
        Errand::Upload | Errand::Abandon => "/upload",
        Errand::Socket => "/socket",
        Errand::Hang => "/hang",
    };
    let host = visit.which.host();
    let mut request = match visit.errand {
        Errand::Upload | Errand::Abandon => Request::post(path).body(upload(visit, id)).unwrap(),
        Errand::Socket if visit.over_http2 => Request::connect(path).body(body("")).unwrap(),
        _ => Request::get(path).body(body("")).unwrap(),
    };
    let headers = request.headers_mut();
    headers.insert("x-id", id.into());
    headers.insert("x-length", visit.length.into());
    if matches!(visit.errand, Errand::Socket) {
        headers.insert("sec-websocket-version", "13".parse().unwrap());
        if !visit.over_http2 {
            for (name, value) in
                [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "k")]
            {
                headers.insert(name, value.parse().unwrap());
            }
        }
    }
    if visit.over_http2 {
        *request.uri_mut() = format!("https://{host}{path}").parse().unwrap();
        if matches!(visit.errand, Errand::Socket) {
            request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
        }
    } else {
        request.headers_mut().insert("host", host.parse().unwrap());
    }
    request
}

/// In pieces; one that is given up ends in an error after half of them.
fn upload(visit: Visit, id: u64) -> Body {
    let bytes = Bytes::from(content("upload", id, visit.length));
    let give_up = matches!(visit.errand, Errand::Abandon).then_some(visit.length / 2);
    let stream = futures::stream::unfold((bytes, 0), move |(mut rest, sent)| async move {
        if rest.is_empty() && give_up.is_none() {
            return None;
        }
        tokio::task::yield_now().await;
        if give_up.is_some_and(|at| sent >= at) {
            return Some((Err(Error::from("given up")), (rest, sent)));
        }
        let piece = rest.split_to(rest.len().min(PIECE));
        let sent = sent + piece.len();
        Some((Ok(Frame::data(piece)), (rest, sent)))
    });
    StreamBody::new(Box::pin(stream)).boxed()
}

async fn read(visit: Visit, answer: Response<Incoming>) -> Result<Vec<u8>, Error> {
    let (mut body, mut read) = (answer.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        read.extend_from_slice(&frame?.into_data().unwrap_or_default());
        if matches!(visit.errand, Errand::Slow) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(read)
}

/// Says something and hears the echo, in turns. An end in between is an error like any other.
async fn talk(visit: Visit, id: u64, answer: Response<Incoming>, book: &Book) -> Result<(), Error> {
    let mut io = TokioIo::new(hyper::upgrade::on(answer).await?);
    for piece in content("socket", id, visit.length.min(40_000)).chunks(3_000) {
        io.write_all(piece).await?;
        io.flush().await?;
        let mut heard = vec![0; piece.len()];
        io.read_exact(&mut heard).await?;
        if heard != masked(visit.which, piece) {
            book.violation(OWN, format!("request {id} ({visit:?}) heard what it had not said"));
        }
    }
    Ok(())
}

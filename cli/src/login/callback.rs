//! Listens on 127.0.0.1 for a browser to come back (RFC 8252, 7.3): once, with the state that was made up for it. The browser
//! is answered when it is known what became of the login.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::Error;
use super::page::{self, Page};
use super::word::{Show, Word};

/// How long a person may take in the browser.
pub(super) const PATIENCE: Duration = Duration::from_mins(5);
/// How long a browser waits for what becomes of the login.
const VERDICT: Duration = Duration::from_mins(2);
/// How long a request may take to come, and the last answer to leave.
const SOON: Duration = Duration::from_secs(5);
/// More than a browser opens at a time.
const CONNECTIONS: usize = 32;

/// Waits for a browser.
#[derive(Debug)]
pub(super) struct Callback {
    port: u16,
    events: mpsc::Receiver<Event>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Something that a browser did.
#[derive(Debug)]
enum Event {
    Arrived(Arrived),
    /// With a state that is not ours.
    Stranger,
    /// It has followed the link.
    Followed,
}

/// A browser that came back with the right state, and waits for an answer.
#[derive(Debug)]
pub(super) struct Arrived {
    fields: Vec<(String, String)>,
    answer: oneshot::Sender<Page>,
}

impl Arrived {
    /// A parameter that it brought.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
    }

    /// Answers it.
    pub(super) fn answer(self, page: Page) {
        // It may have gone meanwhile.
        drop(self.answer.send(page));
    }
}

/// What the listener knows.
#[derive(Debug)]
struct Desk {
    /// `127.0.0.1:PORT`, as a browser says it.
    host: String,
    state: String,
    /// A path that leads elsewhere, and where.
    link: Option<(String, HeaderValue)>,
    used: AtomicBool,
    events: mpsc::Sender<Event>,
}

impl Callback {
    /// Listens for a browser that brings this state.
    pub(super) async fn listen(state: String) -> Result<Self, Error> {
        Self::start(state, None).await
    }

    /// Listens for a browser that is to be led elsewhere, by a link that may stand where the address itself may not.
    pub(super) async fn lead(path: String, to: &str) -> Result<Self, Error> {
        let to = HeaderValue::try_from(to)
            .map_err(|_| Error::Url { url: "the link".to_owned(), reason: "it is no URL".to_owned() })?;
        Self::start(String::new(), Some((path, to))).await
    }

    async fn start(state: String, link: Option<(String, HeaderValue)>) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::Listen)?;
        let port = listener.local_addr().map_err(Error::Listen)?.port();
        let (sender, events) = mpsc::channel(CONNECTIONS);
        let host = format!("127.0.0.1:{port}");
        let desk = Arc::new(Desk { host, state, link, used: AtomicBool::new(false), events: sender });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(accept(listener, desk, tasks.clone(), stop.clone()));
        Ok(Self { port, events, tasks, stop })
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The address that a provider sends the browser to.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/callback", self.port)
    }

    /// Waits for the browser.
    pub(super) async fn arrived(&mut self, patience: Duration, show: &Show<'_>) -> Result<Arrived, Error> {
        let wait = async {
            loop {
                match self.events.recv().await {
                    Some(Event::Arrived(arrived)) => return Some(arrived),
                    Some(Event::Stranger) => show(Word::Note(
                        "a browser came with the state of another login: it was turned away, and this login goes on",
                    )),
                    Some(Event::Followed) => {}
                    None => return None,
                }
            }
        };
        let arrived = tokio::time::timeout(patience, wait).await;
        arrived.ok().flatten().ok_or(Error::TooLate { minutes: patience.as_secs().div_ceil(60) })
    }

    /// Waits until the link was followed; whether it was.
    pub(super) async fn followed(&mut self, patience: Duration) -> bool {
        let wait = async { while !matches!(self.events.recv().await, None | Some(Event::Followed)) {} };
        tokio::time::timeout(patience, wait).await.is_ok()
    }

    /// Lets the last answer leave.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        self.tasks.close();
        // Whoever has not read it by now does not want to.
        drop(tokio::time::timeout(SOON, self.tasks.wait()).await);
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>, tasks: TaskTracker, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) if tasks.len() <= CONNECTIONS => {
                tasks.spawn(serve(stream, Arc::clone(&desk), stop.clone()));
            }
            // Of too many, and of those that broke off at once, there will be others.
            Ok(_) | Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn serve(stream: TcpStream, desk: Arc<Desk>, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(SOON)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    // How it ends is the browser's business.
    drop(connection.await);
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        // A page elsewhere whose name was made to point here says another name.
        let is_here = request.headers().get(header::HOST).is_some_and(|host| host == self.host.as_str());
        let path = request.uri().path();
        if !is_here || request.method() != Method::GET {
            return page::nothing().into();
        }
        if let Some((link, to)) = &self.link
            && path == link
            && !self.used.swap(true, Ordering::Relaxed)
        {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::SEE_OTHER;
            response.headers_mut().insert(header::LOCATION, to.clone());
            page::protect(&mut response);
            drop(self.events.try_send(Event::Followed));
            return response;
        }
        if path != "/callback" || self.state.is_empty() {
            return page::nothing().into();
        }
        self.came_back(request.uri().query().unwrap_or_default()).await.into()
    }

    async fn came_back(&self, query: &str) -> Page {
        let fields: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        let mut states = fields.iter().filter(|it| it.0 == "state");
        let is_ours = matches!((states.next(), states.next()), (Some(it), None) if it.1 == self.state);
        if !is_ours {
            drop(self.events.try_send(Event::Stranger));
            return page::stranger();
        }
        if self.used.swap(true, Ordering::Relaxed) {
            return page::used();
        }
        let (answer, verdict) = oneshot::channel();
        if self.events.send(Event::Arrived(Arrived { fields, answer })).await.is_err() {
            return page::used();
        }
        match tokio::time::timeout(VERDICT, verdict).await {
            Ok(Ok(page)) => page,
            _ => page::failed("The command in the terminal has ended"),
        }
    }
}

//! One HTTP/2 connection over a driver's socket: opened, opened again when it breaks, and again until it opens.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tonic::body::Body;

use super::State;

/// How long a connection may take to open.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// The waits between attempts: doubling from the first to the longest, each shortened by chance.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often a driver is asked whether it is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A driver's connection, as a service that tonic's clients speak through.
#[derive(Clone, Debug)]
pub(crate) struct Line(SendRequest<Body>);

impl tower::Service<Request<Body>> for Line {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Keeps a driver connected for as long as it is polled.
pub(super) async fn keep(state: Arc<State>) {
    let mut wait = FIRST_WAIT;
    loop {
        match timeout(CONNECT_TIME, connect(&state.parameters.socket)).await {
            Ok(Ok((line, ended))) => {
                let began = Instant::now();
                state.connected(line);
                ended.await;
                state.lost("it closed the connection".to_owned());
                // One that takes connections only to close them is not hammered.
                if began.elapsed() > LONGEST_WAIT {
                    wait = FIRST_WAIT;
                }
            }
            Ok(Err(error)) => state.lost(words(&state.parameters.socket, &error)),
            Err(_) => state.lost(format!(
                "{} takes no connection within {} s",
                state.parameters.socket,
                CONNECT_TIME.as_secs()
            )),
        }
        sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn connect(socket: &str) -> io::Result<(Line, impl Future<Output = ()> + use<>)> {
    let stream = UnixStream::connect(socket).await?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    Ok((Line(sender), async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a driver's connection ended");
        }
    }))
}

fn words(socket: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no socket at {socket}: does the driver run, and listen there?")
        }
        io::ErrorKind::ConnectionRefused => {
            format!("nobody listens at {socket}: the driver left its socket behind")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "{socket} may not be written to: the driver must let the gateway's user (chmod 0666 does)"
            )
        }
        _ => format!("failed to connect to {socket}: {error}"),
    }
}

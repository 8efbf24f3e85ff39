//! Connectors that are connected and have nothing to do, and what each of them costs the gateway.

use std::convert::Infallible;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use futures::future::{Either, ready};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_contract::tunnel::{Hello, Offer};
use portcullis_protocol::{ALPN, VERSION, carried, greeting};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::caller::Caller;
use super::credentials::TUNNELS;

/// How many connect at once.
const AT_ONCE: usize = 32;
/// What is measured is what stays: the last answers have been read, and buffers have been given back.
const SETTLED: Duration = Duration::from_secs(12);

/// What they cost.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Resident memory of the gateway with all of them, in megabytes (1e6).
    pub megabytes: f64,
    /// Without them.
    pub megabytes_before: f64,
    /// Open descriptors of the gateway for each.
    pub descriptors: f64,
}

/// Connects one connector to each of so many tunnels, and measures the gateway.
///
/// # Errors
/// Where a connector is refused or lost.
pub async fn run(caller: Caller, endpoint: &str, count: usize, pid: u32) -> Result<Figures> {
    let caller = caller.speaking(ALPN);
    let (before, open_before) = (megabytes(pid)?, descriptors(pid)?);
    let mut connected = JoinSet::new();
    let mut greeted = futures::stream::iter(0..count)
        .map(|number| {
            let caller = caller.clone();
            async move { greeted(&caller, number, endpoint).await }
        })
        .buffer_unordered(AT_ONCE);
    while let Some(stream) = greeted.next().await {
        connected.spawn(serve(stream?));
    }
    tokio::select! {
        () = tokio::time::sleep(SETTLED) => {}
        lost = connected.join_next() => ensure!(lost.is_none(), "a connector was lost: {lost:?}"),
    }
    let (megabytes, open) = (megabytes(pid)?, descriptors(pid)?);
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let descriptors = (open as f64 - open_before as f64) / count as f64;
    // Those of the process itself come and go.
    let descriptors = (descriptors * 1000.0).round() / 1000.0;
    Ok(Figures { megabytes, megabytes_before: before, descriptors })
}

async fn greeted(
    caller: &Caller,
    number: usize,
    endpoint: &str,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
    let mut stream = caller.stream().await?;
    let hello = Hello {
        versions: vec![VERSION],
        features: Vec::new(),
        connector: format!("idle-{number}"),
        binary_version: env!("CARGO_PKG_VERSION").to_owned(),
        offers: vec![Offer {
            namespace: TUNNELS.to_owned(),
            name: format!("t{number}"),
            endpoints: vec![endpoint.to_owned()],
        }],
        bearer_token: String::new(),
        connected: Vec::new(),
    };
    greeting::greet(&mut stream, &hello).await.context("a connector is refused")?;
    Ok(stream)
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<()> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(64 * 1024);
    builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await
}

/// Pings are answered at once; the control stream is open for as long as instructions may come.
async fn answer(
    request: Request<Incoming>,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let frames = if request.uri().path() == carried::CONTROL {
        let told = BodyStream::new(request.into_body());
        Either::Left(told.filter_map(|_| ready(None::<Result<Frame<Bytes>, Infallible>>)))
    } else {
        Either::Right(futures::stream::empty())
    };
    Ok(Response::new(StreamBody::new(frames)))
}

fn megabytes(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the gateway is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib * 1024.0 / 1e6)
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).context("the gateway is gone")?.count())
}

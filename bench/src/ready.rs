//! Tunnels that come and go on a real cluster: the time from creation to a visitor's first answer and to `Ready`, and
//! whether `Ready` ever came first.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use portcullis_api::Tunnel;
use portcullis_api::condition::ConditionType;
use portcullis_api::tunnel::access::{TunnelAccess, VisitorAuth};
use portcullis_api::tunnel::{GatewayRef, TunnelSpec};
use portcullis_cli::connector::{self, Settings, Teller, Told};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::gateway::answer;
use crate::gateway::caller::{Caller, Exchange};

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_mins(1);
/// Below which the Gateway's public names are.
const DOMAIN: &str = "t.example.com";

/// Where Tunnels come and go.
pub struct Course {
    tunnels: Api<Tunnel>,
    namespace: String,
    gateway: String,
    address: SocketAddr,
    bundle: PathBuf,
    endpoint: String,
}

/// What came of it. Times are milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// How often a visitor who came when `Ready` was seen was not answered.
    pub early: usize,
    /// From creation to a visitor's first answer.
    pub first_byte_p50: f64,
    /// The same.
    pub first_byte_p99: f64,
    /// From creation to `Ready`, as a watch sees it.
    pub ready_p50: f64,
    /// The same.
    pub ready_p99: f64,
}

/// One Tunnel's life.
struct Life {
    early: bool,
    first_byte: Duration,
    ready: Duration,
}

impl Course {
    /// Finds the cluster, and starts the one service that all Tunnels lead to.
    ///
    /// # Errors
    /// Where either fails.
    pub async fn new(
        namespace: String,
        gateway: String,
        address: SocketAddr,
        bundle: PathBuf,
    ) -> Result<Self> {
        let client = Client::try_default().await.context("failed to find the cluster")?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        tokio::spawn(serve(listener));
        let tunnels = Api::namespaced(client, &namespace);
        Ok(Self { tunnels, namespace, gateway, address, bundle, endpoint })
    }

    /// One Tunnel: its connector waits for it, a visitor tries until answered, another one comes when it is Ready.
    async fn live(&self, name: &str) -> Result<Life> {
        let stop = CancellationToken::new();
        let connector = tokio::spawn(connector::run(self.connector(name).await?, stop.clone()));
        let tunnel = Tunnel::new(
            name,
            TunnelSpec {
                gateway_ref: GatewayRef { name: self.gateway.clone(), namespace: None },
                label: Some(name.to_owned()),
                endpoint: self.endpoint.clone(),
                enabled: true,
                access: TunnelAccess { auth: VisitorAuth::None, ..TunnelAccess::default() },
                ..TunnelSpec::default()
            },
        );
        let host = format!("{name}.{DOMAIN}");
        let caller = Caller::new(&self.bundle, self.address, &host, "/", Exchange::Classical, None)?;
        let created = Instant::now();
        self.tunnels.create(&PostParams::default(), &tunnel).await.context("failed to create a Tunnel")?;
        let first_byte = async {
            answer::await_first(&caller, PATIENCE).await?;
            Ok::<_, anyhow::Error>(created.elapsed())
        };
        let ready = async {
            let ready = await_condition(self.tunnels.clone(), name, |tunnel: Option<&Tunnel>| {
                let conditions = tunnel.and_then(|it| it.status.as_ref()).map(|it| &it.conditions);
                conditions.is_some_and(|all| portcullis_api::condition::holds(all, ConditionType::Ready))
            });
            match tokio::time::timeout(PATIENCE, ready).await {
                Ok(seen) => seen.context("the watch broke off")?,
                Err(_) => bail!("{name} is not Ready: {:?}", self.tunnels.get(name).await?.status),
            };
            let ready = created.elapsed();
            Ok((ready, answer::failure(&caller).await))
        };
        let (first_byte, (ready, failure)) = tokio::try_join!(first_byte, ready)?;
        self.tunnels.delete(name, &DeleteParams::default()).await.context("failed to delete a Tunnel")?;
        stop.cancel();
        connector.await?.context("a connector failed")?;
        if let Some(failure) = &failure {
            // Where even that cannot be written, the figure says it.
            let _ =
                writeln!(io::stderr(), "{name} was Ready after {ready:?}, and a visitor was told: {failure}");
        }
        Ok(Life { early: failure.is_some(), first_byte, ready })
    }

    /// What the command would be told.
    async fn connector(&self, name: &str) -> Result<Settings> {
        let told = Told {
            gateway: format!("https://{}", self.address)
                .parse()
                .context("failed to write the gateway's URL")?,
            server_name: Some(format!("{}.{}.svc", self.gateway, self.namespace)),
            credentials: Some(self.bundle.clone()),
            token_file: None,
            endpoint_ca: None,
            websocket: false,
            drain: None,
            offers: vec![((self.namespace.clone(), name.to_owned()), vec![self.endpoint.parse()?])],
        };
        Settings::read(told, Teller::default()).await.context("failed to set up a connector")
    }
}

/// Runs the course.
///
/// # Errors
/// Where a Tunnel never gets there.
pub async fn run(course: Course, count: usize, at_once: usize) -> Result<Figures> {
    let course = &course;
    let lives: Vec<Life> = futures::stream::iter(0..count)
        .map(|number| async move { course.live(&format!("t{number}")).await })
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let percentile = |percent: usize, of: fn(&Life) -> Duration| {
        let mut times: Vec<_> = lives.iter().map(of).collect();
        times.sort_unstable();
        let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(rank).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    Ok(Figures {
        early: lives.iter().filter(|life| life.early).count(),
        first_byte_p50: percentile(50, |life| life.first_byte),
        first_byte_p99: percentile(99, |life| life.first_byte),
        ready_p50: percentile(50, |life| life.ready),
        ready_p99: percentile(99, |life| life.ready),
    })
}

/// Answers everything with a few bytes.
async fn serve(listener: TcpListener) {
    let answer = |_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"portcullis\n"))))
    };
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

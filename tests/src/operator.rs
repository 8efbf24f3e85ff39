//! The operator in-process, with a runtime of its own: it can be stopped politely, or be gone from one moment to the
//! next as after `kill -9`.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use portcullis_operator::clock::{Clock, SystemClock};
use portcullis_operator::options::{LogFormat, Options};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::faults::{Meddler, Script};
use crate::ports;

/// A running operator.
pub struct Operator {
    runtime: Option<Runtime>,
    stop: CancellationToken,
    run: Option<JoinHandle<anyhow::Result<()>>>,
    /// What became of its writes.
    pub script: Arc<Script>,
    /// Where its control channel listens.
    pub control: SocketAddr,
    /// Where /healthz, /readyz and /metrics are.
    pub http: SocketAddr,
}

impl Operator {
    /// Starts one that watches a namespace and keeps its Lease there.
    pub async fn start(namespace: &str) -> Self {
        Self::start_with(namespace, |_| {}, Arc::default(), Arc::new(SystemClock)).await
    }

    /// Starts one whose writes meet what the script says.
    pub async fn start_scripted(namespace: &str, script: Arc<Script>) -> Self {
        Self::start_with(namespace, |_| {}, script, Arc::new(SystemClock)).await
    }

    /// Starts one with other options or another clock.
    pub async fn start_with(
        namespace: &str,
        change: impl FnOnce(&mut Options),
        script: Arc<Script>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::start_as(crate::config().await, namespace, change, script, clock)
    }

    /// Starts one that is somebody else to the API server.
    pub fn start_as(
        config: Config,
        namespace: &str,
        change: impl FnOnce(&mut Options),
        script: Arc<Script>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut options = options(namespace);
        (options.control_listen, options.http_listen) = (ports::free_address(), ports::free_address());
        change(&mut options);
        let (control, http) = (options.control_listen, options.http_listen);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let (token, layer) = (stop.clone(), Meddler(script.clone()));
        let run = runtime.spawn(async move {
            let client = meddled(config, &layer)?;
            portcullis_operator::run(client, options, clock, token).await
        });
        Self { runtime: Some(runtime), stop, run: Some(run), script, control, http }
    }

    /// Stops it politely: it ends what it has begun and gives its lease back.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let run = self.run.take().unwrap();
        tokio::time::timeout(crate::PATIENCE, run).await.expect("it stops in time").unwrap().unwrap();
    }

    /// What one of its pages says, and with which status; waits until it listens.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let began = tokio::time::Instant::now();
        loop {
            match get(self.http, path).await {
                Ok(page) => return page,
                Err(error) => assert!(began.elapsed() < crate::PATIENCE, "{path}: {error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Waits until one of its pages has this line: it tells when it has come that far.
    pub async fn until_line(&self, path: &str, wish: &str) {
        let began = tokio::time::Instant::now();
        loop {
            let (_, text) = self.page(path).await;
            if text.lines().any(|line| line == wish) {
                return;
            }
            assert!(began.elapsed() < crate::PATIENCE, "never {wish}: {text}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// From one moment to the next it is gone.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get(path).header("host", "operator").body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let (status, body) = (answer.status().as_u16(), answer.into_body().collect().await?.to_bytes());
    drop(sender);
    connection.abort();
    Ok((status, String::from_utf8(body.to_vec())?))
}

fn meddled(config: Config, layer: &Meddler) -> anyhow::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(layer).build())
}

fn options(namespace: &str) -> Options {
    let any = "127.0.0.1:0".parse().unwrap();
    Options {
        gateway_image: "localhost/portcullis-gateway:dev".to_owned(),
        connector_image: Some("localhost/portcullis:dev".to_owned()),
        namespace: namespace.to_owned(),
        identity: "operator-0".to_owned(),
        control_endpoint: None,
        control_address: None,
        control_listen: any,
        http_listen: any,
        watch_namespaces: vec![namespace.to_owned()],
        trust_domain: "cluster.local".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        workers: 4,
        log: "info".to_owned(),
        log_format: LogFormat::Text,
        trace_endpoint: None,
        trace_ratio: None,
    }
}

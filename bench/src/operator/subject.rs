//! The operator's process: the real binary, started and stopped as a kubelet would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::process::{self, Memory};
use super::scrape::Metrics;

/// The operator's own namespace.
pub const NAMESPACE: &str = "portcullis-system";
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const CONTROL: &str = "127.0.0.1:9443";
const PATIENCE: Duration = Duration::from_mins(2);

/// The operator, running.
#[derive(Debug)]
pub struct Subject {
    child: Child,
    pid: u32,
}

impl Subject {
    /// Starts it. It ends with this program, however that ends, if this is called on the first thread.
    pub fn start(program: &Path, workers: usize) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["--gateway-image", "localhost/portcullis-gateway:dev", "--namespace", NAMESPACE])
            .args(["--identity", "bench-operator"])
            .args(["--http-listen", &HTTP.to_string(), "--control-listen", CONTROL])
            .args(["--workers", &workers.to_string(), "--log", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn().context("failed to start the operator")?;
        let pid = child.id().context("the operator ended at once")?;
        Ok(Self { child, pid })
    }

    /// Waits until it leads and every list is in.
    pub async fn until_it_leads(&mut self) -> Result<Instant> {
        self.until("it does not lead", |metrics| metrics.sum("portcullis_operator_leading") > 0.0).await?;
        Ok(Instant::now())
    }

    /// Waits until it has made so many visits, none is waiting, and for a while there was no other.
    pub async fn until_it_rests(&mut self, visits: f64) -> Result<()> {
        let rests = |metrics: &Metrics| {
            metrics.sum("portcullis_operator_queue_depth") == 0.0 && self::visits(metrics) >= visits
        };
        loop {
            let before = self::visits(&self.until("it has work to do", rests).await?);
            sleep(Duration::from_millis(500)).await;
            let now = self.metrics().await?.filter(rests);
            if now.is_some_and(|now| self::visits(&now) <= before) {
                return Ok(());
            }
        }
    }

    /// Waits for a wish on its metrics; hands back those that met it.
    pub async fn until(&mut self, otherwise: &str, wish: impl Fn(&Metrics) -> bool) -> Result<Metrics> {
        let began = Instant::now();
        loop {
            if let Some(metrics) = self.metrics().await?.filter(&wish) {
                return Ok(metrics);
            }
            ensure!(began.elapsed() < PATIENCE, "{otherwise} after {} s", PATIENCE.as_secs());
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// What it says of itself; None while it does not listen yet.
    pub async fn metrics(&mut self) -> Result<Option<Metrics>> {
        if let Some(status) = self.child.try_wait().context("failed to look at the operator")? {
            bail!("the operator ended ({status})");
        }
        Metrics::of(HTTP).await
    }

    /// How many writes to the API server succeeded.
    pub async fn writes(&mut self) -> Result<f64> {
        let metrics = self.metrics().await?.context("the operator does not listen any more")?;
        Ok(metrics.sum("portcullis_operator_writes_total"))
    }

    /// Its memory.
    pub fn memory(&self) -> Result<Memory> {
        process::memory(self.pid)
    }

    /// Processor time that it has used, in seconds.
    pub fn processor_time(&self) -> Result<f64> {
        process::processor_time(self.pid)
    }

    /// Stops it politely.
    pub async fn stop(mut self) -> Result<()> {
        let told =
            Command::new("sh").args(["-c", r#"kill -TERM "$0""#, &self.pid.to_string()]).status().await;
        ensure!(told.context("failed to run sh")?.success(), "failed to tell the operator to stop");
        let ended = timeout(PATIENCE, self.child.wait()).await.context("the operator does not stop")??;
        ensure!(ended.success(), "the operator ended ({ended})");
        Ok(())
    }
}

/// Visits to Gateways that it has made.
pub fn visits(metrics: &Metrics) -> f64 {
    metrics.sum("portcullis_operator_reconcile_seconds_count")
}

//! What the operator goes through, phase by phase, and the figures that each leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use kube::api::{DynamicObject, ListParams};
use portcullis_operator::gateway::observe::SETTLING;
use portcullis_operator::names;
use portcullis_operator::world::Kind;
use tokio::time::{Instant, sleep_until};

use super::floor::Sample;
use super::probes::Probes;
use super::sight::Sight;
use super::subject::Subject;
use super::{admin, floor, process};

/// Figures by what they are called.
pub type Figures = BTreeMap<&'static str, f64>;

const CROWD: &str = "crowd";
const SAMPLES: &str = "sample-space";
const LIMIT: Duration = Duration::from_mins(20);
/// New Gateways that the idle time is the median of.
const IDLE: usize = 15;

/// What is measured with what.
#[derive(Debug)]
pub struct Course {
    /// The operator's binary.
    pub operator: PathBuf,
    /// How many Gateways it visits at a time, and how many the plain client writes for.
    pub workers: usize,
    /// How many Gateways are applied at once.
    pub gateways: usize,
    /// How many there are in the end. 0: no more than these.
    pub large: usize,
    /// How often it is restarted to measure a new Gateway during a resync.
    pub restarts: usize,
}

impl Course {
    /// The operator's figures.
    pub async fn ours(&self, client: &Client) -> Result<Figures> {
        let mut figures = Figures::new();
        let mut operator = self.prepared(client).await?;
        self.burst(client, &mut operator, &mut figures).await?;

        let mut probes = Probes::new(client, "probes").await?;
        let idle = median(probes.times(IDLE).await?);
        figures.insert("idleMs", idle);
        operator.stop().await?;
        let writes = self.restarted(self.gateways).await?;
        figures.insert("restartWrites", writes);
        let mut times = Vec::new();
        for _ in 0..self.restarts {
            times.extend(self.resync(&mut probes).await?.0);
        }
        figures.insert("probes", precise(times.len()));
        let during = median(times);
        figures.insert("resyncMs", during);
        figures.insert("resyncRatio", during / idle);
        if self.large > self.gateways {
            self.large(client, &mut probes, &mut figures).await?;
        }
        Ok(figures)
    }

    /// The same by a client that only writes.
    pub async fn floor(&self, client: &Client) -> Result<Figures> {
        let operator = self.prepared(client).await?;
        operator.stop().await?;
        let sample = Sample::of(client, SAMPLES, "sample-door").await?;
        let writes = sample.writes();
        let before = process::processor_time(std::process::id())?;
        let took = floor::run(client, sample, self.workers, CROWD, self.gateways, LIMIT).await?;
        let used = process::processor_time(std::process::id())? - before;
        self.check_children(client).await?;
        Ok(Figures::from([
            ("seconds", took.as_secs_f64()),
            ("processorMs", used * 1e3 / precise(self.gateways)),
            ("writes", precise(writes)),
        ]))
    }

    /// An API server with definitions and namespaces, and an operator that has already made one Gateway.
    async fn prepared(&self, client: &Client) -> Result<Subject> {
        admin::install(client).await?;
        for namespace in [super::subject::NAMESPACE, CROWD, SAMPLES] {
            admin::namespace(client, namespace).await?;
        }
        let mut operator = Subject::start(&self.operator, self.workers)?;
        operator.until_it_leads().await?;
        let mut sight = Sight::of(client, SAMPLES).await?;
        admin::apply(client, SAMPLES, "sample-door").await?;
        sight.one("sample-door", LIMIT).await?;
        operator.until_it_rests(1.0).await?;
        Ok(operator)
    }

    async fn burst(&self, client: &Client, operator: &mut Subject, figures: &mut Figures) -> Result<()> {
        let own = std::process::id();
        let used =
            |operator: &Subject| anyhow::Ok(operator.processor_time()? + process::processor_time(own)?);
        let (writes, before) = (operator.writes().await?, used(operator)?);
        let took = self.add(client, 1..=self.gateways).await?;
        figures.insert("seconds", took.as_secs_f64());
        figures.insert("processorMs", (used(operator)? - before) * 1e3 / precise(self.gateways));
        operator.until_it_rests(precise(self.gateways)).await?;
        figures.insert("writes", (operator.writes().await? - writes) / precise(self.gateways));
        let memory = operator.memory()?;
        figures.insert("memory", memory.now);
        figures.insert("memoryPeak", memory.peak);
        self.check_children(client).await
    }

    /// Applies Gateways at once; says when the last of them had all.
    async fn add(&self, client: &Client, numbers: std::ops::RangeInclusive<usize>) -> Result<Duration> {
        let mut sight = Sight::of(client, CROWD).await?;
        let count = *numbers.end();
        let began = Instant::now();
        let names = numbers.map(|number| format!("door-{number:05}"));
        admin::apply_all(client, CROWD, names, |_| async { Ok(()) }).await?;
        Ok(sight.count(count, LIMIT).await?.saturating_duration_since(began))
    }

    /// Starts the operator with what there is, lets it visit everything, also after it has settled, and stops it; says
    /// how many writes it made.
    async fn restarted(&self, gateways: usize) -> Result<f64> {
        let mut operator = Subject::start(&self.operator, self.workers)?;
        let leads = operator.until_it_leads().await?;
        operator.until_it_rests(precise(gateways)).await?;
        sleep_until(leads + SETTLING + Duration::from_secs(2)).await;
        operator.until_it_rests(precise(2 * gateways)).await?;
        let writes = operator.writes().await?;
        operator.stop().await?;
        Ok(writes)
    }

    /// Starts the operator and measures new Gateways while it visits what there is; its memory, too.
    async fn resync(&self, probes: &mut Probes) -> Result<(Vec<f64>, f64)> {
        let mut operator = Subject::start(&self.operator, self.workers)?;
        let times = probes.times_in_resync(&mut operator).await?;
        operator.until_it_rests(1.0).await?;
        let peak = operator.memory()?.peak;
        operator.stop().await?;
        Ok((times, peak))
    }

    async fn large(&self, client: &Client, probes: &mut Probes, figures: &mut Figures) -> Result<()> {
        let mut operator = Subject::start(&self.operator, self.workers)?;
        operator.until_it_leads().await?;
        let took = self.add(client, self.gateways + 1..=self.large).await?;
        operator.until_it_rests(1.0).await?;
        figures.insert("largeSeconds", took.as_secs_f64());
        let memory = operator.memory()?;
        figures.insert("largeMemory", memory.now);
        let idle = median(probes.times(IDLE).await?);
        operator.stop().await?;
        figures.insert("largeRestartWrites", self.restarted(self.large).await?);
        let (times, restarted_peak) = self.resync(probes).await?;
        figures.insert("largeMemoryPeak", memory.peak.max(restarted_peak));
        figures.insert("largeMemoryPeakRestarted", restarted_peak);
        figures.insert("largeResyncRatio", median(times) / idle);
        Ok(())
    }

    /// Fails unless every Gateway of the crowd has all of its children.
    async fn check_children(&self, client: &Client) -> Result<()> {
        for (kind, each) in Kind::ALL.into_iter().zip([3, 1, 1, 1, 1]) {
            let api: kube::Api<DynamicObject> =
                kube::Api::namespaced_with(client.clone(), CROWD, &kind.resource());
            let params = ListParams::default().labels(names::MANAGED_SELECTOR);
            let there = api.list_metadata(&params).await.context("failed to list children")?.items.len();
            let wanted = each * self.gateways;
            ensure!(there == wanted, "{there} objects of kind {} instead of {wanted}", kind.as_str());
        }
        Ok(())
    }
}

fn precise(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

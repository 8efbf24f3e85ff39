//! One new Gateway after the other: how long until it has its certificates.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Client;
use tokio::time::{Instant, sleep};

use super::admin;
use super::sight::Sight;
use super::subject::{Subject, visits};

const LIMIT: Duration = Duration::from_mins(2);
/// So many during one resync, at most.
const MOST: usize = 10;

/// New Gateways in a namespace of their own.
pub struct Probes {
    client: Client,
    namespace: String,
    sight: Sight,
    made: usize,
}

impl Probes {
    /// None yet.
    pub async fn new(client: &Client, namespace: &str) -> Result<Self> {
        admin::namespace(client, namespace).await?;
        let sight = Sight::of(client, namespace).await?;
        Ok(Self { client: client.clone(), namespace: namespace.to_owned(), sight, made: 0 })
    }

    /// How many there are by now.
    pub fn made(&self) -> usize {
        self.made
    }

    /// So many, one after the other; in milliseconds.
    pub async fn times(&mut self, count: usize) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for _ in 0..count {
            times.push(self.time().await?);
        }
        Ok(times)
    }

    /// As many as fit into the resync that an operator makes at its start; in milliseconds.
    pub async fn times_in_resync(&mut self, operator: &mut Subject) -> Result<Vec<f64>> {
        let mut before = Instant::now();
        loop {
            if operator.metrics().await?.is_some_and(|metrics| visits(&metrics) > 0.0) {
                break;
            }
            before = Instant::now();
            sleep(Duration::from_millis(1)).await;
        }
        let mut times = Vec::new();
        while times.len() < MOST {
            let metrics = operator.metrics().await?.context("the operator does not listen any more")?;
            if metrics.sum("portcullis_operator_queue_depth") == 0.0 {
                break;
            }
            times.push(self.time().await?);
        }
        if times.is_empty() {
            // It was so busy that it did not even answer here: whoever came then has waited for all of it.
            let waited = before.elapsed().as_secs_f64() * 1e3;
            times.push(waited + self.time().await?);
        }
        Ok(times)
    }

    async fn time(&mut self) -> Result<f64> {
        self.made += 1;
        let name = format!("probe-{:05}", self.made);
        let began = Instant::now();
        admin::apply(&self.client, &self.namespace, &name).await?;
        let there = self.sight.one(&name, LIMIT).await?;
        Ok(there.saturating_duration_since(began).as_secs_f64() * 1e3)
    }
}

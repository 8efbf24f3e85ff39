//! Sees which Gateways of a namespace have their certificates, and when that was.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use portcullis_api::Gateway;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// A watch on a namespace's Gateways.
#[derive(Debug)]
pub struct Sight {
    seen: watch::Receiver<Option<HashMap<String, Instant>>>,
    task: JoinHandle<()>,
}

impl Sight {
    /// Begins to look; back once the first list is in.
    pub async fn of(client: &Client, namespace: &str) -> Result<Self> {
        let gateways: Api<Gateway> = Api::namespaced(client.clone(), namespace);
        let (tell, seen) = watch::channel(None);
        let task = tokio::spawn(follow(gateways, tell));
        let mut sight = Self { seen, task };
        sight.until(Duration::from_mins(1), Option::is_some).await.context("failed to watch Gateways")?;
        Ok(sight)
    }

    /// Waits until so many have their certificates; says when the last of them had.
    pub async fn count(&mut self, count: usize, limit: Duration) -> Result<Instant> {
        let waited = self.until(limit, |seen| seen.as_ref().is_some_and(|seen| seen.len() >= count)).await;
        waited.with_context(|| {
            let so_far = self.seen.borrow().as_ref().map_or(0, HashMap::len);
            format!("{so_far} of {count} Gateways have their certificates")
        })?;
        let seen = self.seen.borrow();
        seen.as_ref().and_then(|seen| seen.values().max()).copied().context("no Gateway was waited for")
    }

    /// Waits until this one has its certificates; says when that was.
    pub async fn one(&mut self, name: &str, limit: Duration) -> Result<Instant> {
        let there = |seen: &Option<HashMap<String, Instant>>| seen.as_ref()?.get(name).copied();
        let waited = self.until(limit, |seen| there(seen).is_some()).await;
        waited.with_context(|| format!("Gateway {name} has no certificates"))?;
        there(&self.seen.borrow()).context("seen and forgotten")
    }

    async fn until(
        &mut self,
        limit: Duration,
        wish: impl FnMut(&Option<HashMap<String, Instant>>) -> bool,
    ) -> Result<()> {
        let waited = timeout(limit, self.seen.wait_for(wish)).await;
        waited.with_context(|| format!("not within {} s", limit.as_secs()))?.context("the watch ended")?;
        Ok(())
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(gateways: Api<Gateway>, tell: watch::Sender<Option<HashMap<String, Instant>>>) {
    let mut events = std::pin::pin!(watcher::watcher(gateways, watcher::Config::default()));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::InitDone) => tell.send_modify(|seen| *seen = Some(seen.take().unwrap_or_default())),
            Ok(Event::InitApply(gateway) | Event::Apply(gateway)) if has_certificates(&gateway) => {
                let now = Instant::now();
                tell.send_modify(|seen| {
                    seen.get_or_insert_default().entry(gateway.name_any()).or_insert(now);
                });
            }
            // A watch that breaks is taken up again; what was missed is in the next list.
            _ => {}
        }
    }
}

fn has_certificates(gateway: &Gateway) -> bool {
    let conditions = gateway.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|it| {
        it.type_ == "CertificatesReady"
            && it.status == "True"
            && it.observed_generation == gateway.metadata.generation
    })
}

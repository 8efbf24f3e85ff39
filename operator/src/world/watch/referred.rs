//! Watches of what Gateways name and others write: one an object, by its name, for as long as some Gateway names it.
//! Nothing else of those kinds is read.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Watches, is_forbidden};
use crate::cause::chain;
use crate::queue::Urgency;
use crate::world::referred::{Purpose, Reference, Referred};

impl Watches {
    /// Has what is named looked at, and nothing else.
    pub(super) async fn referred(self: Arc<Self>, tasks: TaskTracker, stop: CancellationToken) {
        let mut wanted = self.wanted.subscribe();
        let mut running: HashMap<Reference, CancellationToken> = HashMap::new();
        loop {
            let now = wanted.borrow_and_update().clone();
            running.retain(|reference, watch| {
                let stays = now.contains(reference);
                if !stays {
                    watch.cancel();
                    self.world.forget_referred(reference);
                    self.progress.listed(&reference.what());
                }
                stays
            });
            for reference in now {
                running.entry(reference).or_insert_with_key(|reference| {
                    let (watches, reference, until) =
                        (Arc::clone(&self), reference.clone(), stop.child_token());
                    let ends = until.clone();
                    tasks.spawn(async move {
                        until.run_until_cancelled(watches.look_at(&reference)).await;
                    });
                    ends
                });
            }
            if wanted.changed().await.is_err() {
                return;
            }
        }
    }

    /// Notes what is named from now on; at the start it is read before anything is decided.
    pub(super) fn want_referred(&self) {
        let revision = self.world.references_revision();
        if self.noted.swap(revision, std::sync::atomic::Ordering::Relaxed) == revision {
            return;
        }
        // Read where nobody else can send: what was read last is what is wanted.
        self.wanted.send_if_modified(|before| {
            let wanted = self.world.references();
            for reference in wanted.difference(before) {
                self.progress.expect_at_start(&reference.what());
            }
            let is_other = *before != wanted;
            *before = wanted;
            is_other
        });
    }

    async fn look_at(&self, reference: &Reference) {
        match reference.purpose {
            Purpose::Authority => {
                let api: Api<Secret> = Api::namespaced(self.client.clone(), &reference.namespace);
                self.see(api, reference, Referred::authority).await;
            }
            Purpose::Certificate => {
                let api: Api<Secret> = Api::namespaced(self.client.clone(), &reference.namespace);
                self.see(api, reference, Referred::certificate).await;
            }
            Purpose::Roots => {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &reference.namespace);
                self.see(api, reference, Referred::data).await;
            }
        }
    }

    async fn see<K>(&self, api: Api<K>, reference: &Reference, read: impl Fn(&K) -> Referred)
    where
        K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    {
        let what = reference.what();
        let sights = watch_object(api, &reference.name).default_backoff();
        pin_mut!(sights);
        while let Some(sight) = sights.next().await {
            let referred = match sight {
                Ok(Some(object)) => read(&object),
                Ok(None) => Referred::Missing,
                Err(error) => {
                    let why = chain(&error);
                    tracing::warn!(what, why, "failed to watch; trying again");
                    self.progress.failed(&what, &why);
                    if !is_forbidden(&error) {
                        continue;
                    }
                    Referred::Forbidden(why)
                }
            };
            for key in self.world.put_referred(reference, referred) {
                self.queue.add(key, Urgency::Changed);
            }
            self.progress.listed(&what);
        }
    }
}

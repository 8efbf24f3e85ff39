//! Fills the world: one watch per kind and namespace. Whatever is news to a Gateway or a Tunnel puts it in its queue.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Debug;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod as LivePod, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use portcullis_api::{Gateway, Tunnel};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::child::{self, Child, Kind};
use super::news::News;
use super::pod::Pod;
use super::{Key, Owner, World, selects};
use crate::cause::chain;
use crate::names;
use crate::queue::{Queue, Urgency};
use crate::world::referred::Reference;

mod referred;
mod requests;

/// Objects in one answer of a first list. After a restart all kinds are listed at once, whole objects, and of each kind
/// one answer is in memory.
const PAGE: u32 = 100;
/// What the watch of namespaces is called where something stands in its way.
const NAMESPACES: &str = "namespaces";

/// Readable kinds.
trait Seen: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + 'static {}
impl<K> Seen for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + 'static
{
}

/// Those that are namespaced.
trait Watched: Seen + Resource<Scope = NamespaceResourceScope> {}
impl<K> Watched for K where K: Seen + Resource<Scope = NamespaceResourceScope> {}

/// Keeps the world up to date.
pub struct Watches {
    client: Client,
    world: Arc<World>,
    queue: Arc<Queue<Key>>,
    tunnels: Arc<Queue<Key>>,
    /// Bumped whenever a pod comes or goes.
    pods: watch::Sender<u64>,
    progress: Arc<Progress>,
    /// Told once a Gateway selects namespaces by their labels; they are not watched before.
    selecting: watch::Sender<bool>,
    /// Told once a Gateway's authority is to be asked for; CertificateRequests, whose kind may not be there, are not watched
    /// before.
    asking: watch::Sender<bool>,
    /// The namespaces that are looked at; None: all of them.
    scopes: Vec<Option<String>>,
    /// What Gateways name and others write, to be looked at.
    wanted: watch::Sender<BTreeSet<Reference>>,
    /// How often that had changed when it was last noted.
    noted: AtomicU64,
}

/// How far the first lists are, and what stands in their way.
#[derive(Debug, Default)]
pub struct Progress {
    waiting: Mutex<BTreeMap<String, Option<String>>>,
    changed: watch::Sender<bool>,
}

impl Progress {
    /// Waits until every kind was listed once.
    pub async fn synced(&self) {
        // The sender lives in `self`, so that the wait cannot fail.
        drop(self.changed.subscribe().wait_for(|synced| *synced).await);
    }

    /// What is still waited for, and why.
    pub fn missing(&self) -> Vec<String> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let say = |(what, why): (&String, &Option<String>)| match why {
            Some(why) => format!("{what}: {why}"),
            None => format!("{what}: listing"),
        };
        waiting.iter().map(say).collect()
    }

    fn expect(&self, what: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned(), None);
    }

    /// Waited for as well, unless all that was to be listed is listed already.
    fn expect_at_start(&self, what: &str) {
        if !*self.changed.borrow() {
            self.expect(what);
        }
    }

    fn failed(&self, what: &str, why: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = waiting.get_mut(what) {
            *slot = Some(why.to_owned());
        }
    }

    fn listed(&self, what: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(what);
        if waiting.is_empty() {
            self.changed.send_replace(true);
        }
    }
}

/// Something that a watch saw.
enum Sight<'a, K> {
    There(&'a K),
    Gone(&'a K),
    /// A fresh list held only these.
    Only(&'a HashSet<(String, String)>),
}

// By hand, since a derive would ask the same of `K`.
impl<K> Clone for Sight<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Sight<'_, K> {}

/// What the API server answered; 0 where it was not the one that did.
fn code(error: &watcher::Error) -> u16 {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status)) | WatchStartFailed(kube::Error::Api(status)) => {
            status.code
        }
        _ => 0,
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    code(error) == 403
}

impl Watches {
    /// Watches nothing yet.
    pub fn new(client: Client, world: Arc<World>, queue: Arc<Queue<Key>>, tunnels: Arc<Queue<Key>>) -> Self {
        Self {
            client,
            world,
            queue,
            tunnels,
            pods: watch::Sender::new(0),
            progress: Arc::default(),
            selecting: watch::Sender::new(false),
            asking: watch::Sender::new(false),
            scopes: Vec::new(),
            wanted: watch::Sender::default(),
            noted: AtomicU64::default(),
        }
    }

    /// How far the first lists are.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Hears of every pod that comes or goes.
    pub fn pods(&self) -> watch::Receiver<u64> {
        self.pods.subscribe()
    }

    /// Watches everything in the namespaces (none: all of them) until stopped.
    pub fn start(mut self, namespaces: &[String], tasks: &TaskTracker, stop: &CancellationToken) {
        let scopes: Vec<Option<String>> = match namespaces {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        };
        self.scopes.clone_from(&scopes);
        let watches = Arc::new(self);
        let all = watcher::Config::default().page_size(PAGE);
        let ours = all.clone().labels(names::MANAGED_SELECTOR);
        let (labels, until) = (Arc::clone(&watches).namespaces(all.clone()), stop.clone());
        tasks.spawn(async move {
            until.run_until_cancelled(labels).await;
        });
        let referred = Arc::clone(&watches).referred(tasks.clone(), stop.clone());
        let until = stop.clone();
        tasks.spawn(async move {
            until.run_until_cancelled(referred).await;
        });
        for scope in scopes {
            let run = Run { scope, tasks, stop };
            watches.run(&run, &all, Self::gateway);
            watches.run(&run, &all, Self::tunnel);
            watches.run(&run, &ours, Self::child_of::<Secret>(Kind::Secret));
            watches.run(&run, &ours, Self::child_of::<ConfigMap>(Kind::ConfigMap));
            watches.run(&run, &ours, Self::child_of::<PodDisruptionBudget>(Kind::PodDisruptionBudget));
            watches.run(&run, &ours, Self::child_of::<Deployment>(Kind::Deployment));
            watches.requests(&run, &ours);
            watches.run(&run, &all, Self::service);
            watches.run(&run, &ours, Self::pod);
        }
    }

    fn run<K: Watched>(
        self: &Arc<Self>,
        run: &Run<'_>,
        config: &watcher::Config,
        take: impl Fn(&Self, Option<&str>, Sight<'_, K>, Urgency) + Send + 'static,
    ) {
        let api: Api<K> = match &run.scope {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let what = match &run.scope {
            Some(namespace) => format!("{} in {namespace}", K::plural(&())),
            None => K::plural(&()).into_owned(),
        };
        self.progress.expect(&what);
        let (watches, scope, stop, config) =
            (self.clone(), run.scope.clone(), run.stop.clone(), config.clone());
        run.tasks.spawn(async move {
            let work = watches.follow(&api, config, &what, scope.as_deref(), take);
            stop.run_until_cancelled(work).await;
        });
    }

    async fn follow<K: Seen>(
        &self,
        api: &Api<K>,
        config: watcher::Config,
        what: &str,
        scope: Option<&str>,
        take: impl Fn(&Self, Option<&str>, Sight<'_, K>, Urgency),
    ) {
        let events = watcher(api.clone(), config).default_backoff();
        pin_mut!(events);
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.insert(child::slot(&object));
                    take(self, scope, Sight::There(&object), Urgency::Routine);
                }
                Ok(Event::InitDone) => {
                    take(self, scope, Sight::Only(&listed), Urgency::Changed);
                    listed = HashSet::new();
                    self.progress.listed(what);
                }
                Ok(Event::Apply(object)) => take(self, scope, Sight::There(&object), Urgency::Changed),
                Ok(Event::Delete(object)) => take(self, scope, Sight::Gone(&object), Urgency::Changed),
                Err(error) => {
                    let why = chain(&error);
                    if self.is_known_of_requests(what, scope, &error, &why) {
                        continue;
                    }
                    tracing::warn!(what, why, "failed to watch; trying again");
                    self.progress.failed(what, &why);
                    if what == NAMESPACES && is_forbidden(&error) {
                        // One that looks after some namespaces may have no right to read their labels. Waiting for them
                        // would stop it for the sake of one Gateway, whose Tunnels are told.
                        self.progress.listed(what);
                    }
                }
            }
        }
    }

    /// Labels of namespaces, from when a Gateway first selects by them.
    async fn namespaces(self: Arc<Self>, config: watcher::Config) {
        // The sender lives in `self`, so that the wait cannot fail.
        drop(self.selecting.subscribe().wait_for(|selecting| *selecting).await);
        let api: Api<Namespace> = Api::all(self.client.clone());
        self.follow(&api, config, NAMESPACES, None, Self::namespace).await;
    }

    fn namespace(&self, _: Option<&str>, sight: Sight<'_, Namespace>, urgency: Urgency) {
        let selecting = match sight {
            Sight::There(it) => self.world.put_namespace(&it.name_any(), Some(it.labels().clone())),
            Sight::Gone(it) => self.world.put_namespace(&it.name_any(), None),
            Sight::Only(seen) => {
                self.world.keep_namespaces(&seen.iter().map(|(_, name)| name.clone()).collect())
            }
        };
        for key in selecting {
            self.news().wake_tunnels(&key, urgency);
            self.queue.add(key, urgency);
        }
    }

    /// What a Gateway selects by must be there before it is decided over.
    fn want_namespaces(&self, gateway: &Gateway) {
        if selects(gateway) && !*self.selecting.borrow() {
            self.progress.expect(NAMESPACES);
            self.selecting.send_replace(true);
        }
    }

    fn gateway(&self, scope: Option<&str>, sight: Sight<'_, Gateway>, urgency: Urgency) {
        match sight {
            Sight::There(gateway) => {
                let seen = gateway.status.as_ref().and_then(|status| status.observed_generation);
                let urgency = if seen == gateway.metadata.generation { urgency } else { Urgency::Changed };
                self.want_namespaces(gateway);
                self.want_requests(gateway);
                self.news().gateway(gateway.clone(), urgency);
                // Whether or not it was news: a write of ours may have brought it back before.
                self.want_referred();
            }
            Sight::Gone(gateway) => {
                let key = Key::of(gateway);
                self.world.remove_gateway(&key);
                self.want_referred();
                self.news().wake_tunnels(&key, urgency);
                self.queue.add(key, urgency);
            }
            Sight::Only(seen) => {
                for key in self.world.keep_gateways(scope, seen) {
                    self.news().wake_tunnels(&key, urgency);
                    self.queue.add(key, urgency);
                }
                self.want_referred();
            }
        }
    }

    fn news(&self) -> News<'_> {
        News { world: &self.world, gateways: &self.queue, tunnels: &self.tunnels }
    }

    fn tunnel(&self, scope: Option<&str>, sight: Sight<'_, Tunnel>, urgency: Urgency) {
        match sight {
            Sight::There(tunnel) => {
                let seen = tunnel.status.as_ref().and_then(|status| status.observed_generation);
                let urgency = if seen == tunnel.metadata.generation { urgency } else { Urgency::Changed };
                self.news().tunnel(tunnel.clone(), urgency);
            }
            Sight::Gone(tunnel) => {
                let key = Key::of(tunnel);
                let gateways: Vec<Key> = self.world.remove_tunnel(&key).into_iter().collect();
                self.news().wake_rivals(&gateways, urgency);
                self.tunnels.add(key, urgency);
                self.add_all(gateways, urgency);
            }
            Sight::Only(seen) => {
                for (tunnel, gateway) in self.world.keep_tunnels(scope, seen) {
                    self.news().wake_rivals(std::slice::from_ref(&gateway), urgency);
                    self.tunnels.add(tunnel, urgency);
                    self.queue.add(gateway, urgency);
                }
            }
        }
    }

    fn child_of<K: Watched>(kind: Kind) -> impl Fn(&Self, Option<&str>, Sight<'_, K>, Urgency) + Copy {
        move |watches, scope, sight, urgency| watches.child(kind, scope, sight, urgency)
    }

    fn child<K: Watched>(&self, kind: Kind, scope: Option<&str>, sight: Sight<'_, K>, urgency: Urgency) {
        match sight {
            Sight::There(object) => {
                if let Some((owner, child)) = Child::read(kind, object)
                    && self.world.put_child(&owner, child)
                {
                    self.wake(owner, urgency);
                }
            }
            Sight::Gone(object) => {
                if let Some(owner) = owner(object)
                    && self.world.remove_child(&owner, kind, &object.name_any())
                {
                    self.wake(owner, urgency);
                }
            }
            Sight::Only(seen) => self.wake_all(self.world.keep_children(kind, scope, seen), urgency),
        }
    }

    /// A Service may be a child, a backend, or both.
    fn service(&self, scope: Option<&str>, sight: Sight<'_, Service>, urgency: Urgency) {
        let ports = |service: &Service| {
            let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
            ports.into_iter().flatten().map(|port| port.port).collect()
        };
        let referrers = match sight {
            Sight::There(service) => {
                let (namespace, name) = child::slot(service);
                self.world.put_service(&namespace, &name, Some(ports(service)))
            }
            Sight::Gone(service) => {
                let (namespace, name) = child::slot(service);
                self.world.put_service(&namespace, &name, None)
            }
            Sight::Only(seen) => self.world.keep_services(scope, seen),
        };
        self.add_all(referrers, urgency);
        self.child(Kind::Service, scope, sight, urgency);
    }

    fn pod(&self, scope: Option<&str>, sight: Sight<'_, LivePod>, urgency: Urgency) {
        let news: Vec<Owner> = match sight {
            Sight::There(pod) => owner(pod)
                .filter(|owner| self.world.put_pod(owner, pod.name_any(), Pod::read(pod)))
                .into_iter()
                .collect(),
            Sight::Gone(pod) => {
                owner(pod).filter(|owner| self.world.remove_pod(owner, &pod.name_any())).into_iter().collect()
            }
            Sight::Only(seen) => self.world.keep_pods(scope, seen),
        };
        if !news.is_empty() {
            self.pods.send_modify(|count| *count = count.wrapping_add(1));
        }
        self.wake_all(news, urgency);
    }

    fn wake(&self, owner: Owner, urgency: Urgency) {
        match owner {
            Owner::Gateway(key) => self.queue.add(key, urgency),
            Owner::Tunnel(key) => self.tunnels.add(key, urgency),
        }
    }

    fn wake_all(&self, owners: Vec<Owner>, urgency: Urgency) {
        for owner in owners {
            self.wake(owner, urgency);
        }
    }

    fn add_all(&self, keys: Vec<Key>, urgency: Urgency) {
        for key in keys {
            self.queue.add(key, urgency);
        }
    }
}

/// Where and how long to watch.
struct Run<'a> {
    scope: Option<String>,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

/// Whose an object says that it is.
fn owner<K: Resource<DynamicType = ()>>(object: &K) -> Option<Owner> {
    let controller = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    let controller = controller.map(|it| [&it.api_version, &it.kind, &it.name].map(String::as_str));
    child::owner(&object.namespace()?, |label| object.labels().get(label).cloned(), controller)
}

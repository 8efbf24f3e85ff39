//! What the operator knows of the cluster: facts boiled down from watch events, small enough for ten thousand Gateways.
//! It is filled by [`watch`] and, so that our own writes are known at once, by the writer. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt as _;
use portcullis_api::{Gateway, NamespacesFrom, Tunnel};
use tokio::sync::watch as channel;

use crate::names;

pub mod child;
pub mod namespaces;
pub mod news;
pub mod owned;
pub mod pod;
pub mod referred;
pub mod request;
pub mod roots;
pub mod watch;

pub use child::{Bundle, Child, Content, Kind, Served};
pub use namespaces::Namespaces;
pub use owned::Digest;
pub use pod::{Failing, Pod, Rollout, failing};
pub use referred::{Purpose, Reference, Referred};
pub use request::{Answer, Asked, Pending, Requests};
pub use roots::{Holders, IssuedBy, Roots};

/// Namespace and name of a Gateway or a Tunnel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace of the resource.
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
}

impl Key {
    /// Both parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Of a Gateway or a Tunnel.
    pub fn of<K: kube::Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }

    /// Of the Gateway that a Tunnel names.
    pub fn of_gateway(tunnel: &Tunnel) -> Self {
        let named = &tunnel.spec.gateway_ref;
        let namespace = named.namespace.clone().or_else(|| tunnel.namespace());
        Self::new(namespace.unwrap_or_default(), &named.name)
    }
}

/// Whose a child or a pod is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A Gateway's.
    Gateway(Key),
    /// A Tunnel's.
    Tunnel(Key),
}

impl Owner {
    /// Namespace and name.
    pub fn key(&self) -> &Key {
        match self {
            Self::Gateway(key) | Self::Tunnel(key) => key,
        }
    }

    /// The kind of resource that it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "Gateway",
            Self::Tunnel(_) => "Tunnel",
        }
    }

    /// The label that names it on what is its own.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Gateway(_) => names::GATEWAY,
            Self::Tunnel(_) => names::TUNNEL,
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub struct World(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    gateways: HashMap<Key, Arc<Gateway>>,
    tunnels: HashMap<Key, Arc<Tunnel>>,
    /// The Tunnels that name a Gateway.
    tunnels_of: HashMap<Key, BTreeSet<Key>>,
    /// Counts changes of a Gateway's spec and of its Tunnels' specs.
    revisions: HashMap<Key, u64>,
    children: HashMap<Owner, BTreeMap<(Kind, String), Arc<Child>>>,
    pods: HashMap<Owner, BTreeMap<String, Arc<Pod>>>,
    /// Labels of namespaces, where some Gateway selects by them.
    namespaces: Namespaces,
    /// Ports of every Service, by namespace and name.
    services: HashMap<(String, String), Vec<i32>>,
    /// What Gateways name and others write.
    referred: referred::Book,
    /// Whether there are CertificateRequests to look at.
    requests: request::Looked,
    /// Which Gateways send to a Service.
    referrers: HashMap<(String, String), BTreeSet<Key>>,
    /// The last good authority of a Gateway, with that Gateway's uid: what a deleted Secret can be restored from.
    authorities: HashMap<Key, (String, Arc<Roots>)>,
    /// Told of every change of a Gateway or of its Tunnels, where somebody listens.
    listeners: HashMap<Key, channel::Sender<()>>,
    /// What a child looked like after we had applied something: normalised values are no drift.
    settled: HashMap<(Owner, Kind, String), (Digest, Digest)>,
}

/// What is known around one Gateway or Tunnel.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Children by kind and name.
    pub children: BTreeMap<(Kind, String), Arc<Child>>,
    /// Pods by name.
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// A Gateway's last good authority, whether or not its Secret is there.
    pub authority: Option<Arc<Roots>>,
    /// Digests of what was applied to a child, and of what was found afterwards.
    pub settled: BTreeMap<(Kind, String), (Digest, Digest)>,
}

impl World {
    /// The Gateway, if there is one.
    pub fn gateway(&self, key: &Key) -> Option<Arc<Gateway>> {
        self.lock().gateways.get(key).cloned()
    }

    /// The Tunnel, if there is one.
    pub fn tunnel(&self, key: &Key) -> Option<Arc<Tunnel>> {
        self.lock().tunnels.get(key).cloned()
    }

    /// Every Gateway.
    pub fn gateways(&self) -> Vec<Arc<Gateway>> {
        self.lock().gateways.values().cloned().collect()
    }

    /// Every Tunnel.
    pub fn tunnels(&self) -> Vec<Arc<Tunnel>> {
        self.lock().tunnels.values().cloned().collect()
    }

    /// Every Tunnel's key.
    pub fn tunnel_keys(&self) -> Vec<Key> {
        self.lock().tunnels.keys().cloned().collect()
    }

    /// The Tunnels that name a Gateway.
    pub fn tunnels_of(&self, gateway: &Key) -> Vec<Arc<Tunnel>> {
        let state = self.lock();
        let keys = state.tunnels_of.get(gateway).into_iter().flatten();
        keys.filter_map(|key| state.tunnels.get(key).cloned()).collect()
    }

    /// Hears of every change of a Gateway or of a Tunnel that names it, status included.
    pub fn listen(&self, gateway: &Key) -> channel::Receiver<()> {
        let mut state = self.lock();
        state.listeners.retain(|_, listener| listener.receiver_count() > 0);
        state.listeners.entry(gateway.clone()).or_default().subscribe()
    }

    /// Changes whenever the Gateway's spec or that of one of its Tunnels does.
    pub fn revision(&self, gateway: &Key) -> u64 {
        self.lock().revisions.get(gateway).copied().unwrap_or_default()
    }

    /// Takes a Tunnel in. None where it is no news; otherwise the Gateways that it means something to.
    pub fn put_tunnel(&self, mut tunnel: Tunnel) -> Option<Vec<Key>> {
        tunnel.metadata.managed_fields = None;
        let (key, gateway) = (Key::of(&tunnel), Key::of_gateway(&tunnel));
        let mut state = self.lock();
        let known = state.tunnels.get(&key).cloned();
        if known.as_ref().is_some_and(|known| {
            known.uid() == tunnel.uid()
                && !is_newer(
                    tunnel.metadata.resource_version.as_deref(),
                    known.metadata.resource_version.as_deref(),
                )
        }) {
            return None;
        }
        let same_spec = known.as_ref().is_some_and(|known| {
            known.uid() == tunnel.uid()
                && known.metadata.generation == tunnel.metadata.generation
                && known.metadata.deletion_timestamp.is_some() == tunnel.metadata.deletion_timestamp.is_some()
        });
        let mut gateways = Vec::new();
        if !same_spec {
            gateways.extend(known.map(|known| Key::of_gateway(&known)).filter(|former| *former != gateway));
            gateways.push(gateway.clone());
            for former in &gateways {
                state.leave(former, &key);
                state.revise(former);
            }
            state.tunnels_of.entry(gateway.clone()).or_default().insert(key.clone());
        }
        state.tell(&gateway);
        for former in &gateways {
            state.tell(former);
        }
        state.tunnels.insert(key, Arc::new(tunnel));
        Some(gateways)
    }

    /// Forgets a Tunnel; says which Gateway it named.
    pub fn remove_tunnel(&self, key: &Key) -> Option<Key> {
        let mut state = self.lock();
        let gateway = Key::of_gateway(state.tunnels.remove(key)?.as_ref());
        state.leave(&gateway, key);
        state.revise(&gateway);
        state.tell(&gateway);
        for (kind, name) in [Kind::Secret, Kind::PodDisruptionBudget, Kind::Deployment]
            .map(|kind| (kind, names::connector(&key.name)))
        {
            state.settled.remove(&(Owner::Tunnel(key.clone()), kind, name));
        }
        Some(gateway)
    }

    /// Forgets the Tunnels that a fresh list no longer holds; says which, with their Gateways.
    pub fn keep_tunnels(&self, scope: Option<&str>, seen: &HashSet<(String, String)>) -> Vec<(Key, Key)> {
        let gone: Vec<Key> =
            self.tunnel_keys().into_iter().filter(|key| is_gone(key, &key.name, scope, seen)).collect();
        gone.into_iter().filter_map(|key| Some((key.clone(), self.remove_tunnel(&key)?))).collect()
    }

    /// Labels of namespaces.
    pub fn namespaces(&self) -> Namespaces {
        self.lock().namespaces.clone()
    }

    /// Takes a namespace's labels in (none: it is gone), and says which Gateways select by them if that is news.
    pub fn put_namespace(&self, namespace: &str, labels: Option<BTreeMap<String, String>>) -> Vec<Key> {
        let mut state = self.lock();
        if state.namespaces.put(namespace, labels) { state.revise_selecting() } else { Vec::new() }
    }

    /// Forgets the namespaces that a fresh list no longer holds; says which Gateways select by labels if that is news.
    pub fn keep_namespaces(&self, seen: &HashSet<String>) -> Vec<Key> {
        let mut state = self.lock();
        if state.namespaces.keep(seen) { state.revise_selecting() } else { Vec::new() }
    }

    /// Every Gateway's key.
    pub fn keys(&self) -> Vec<Key> {
        self.lock().gateways.keys().cloned().collect()
    }

    /// What is known around a Gateway or a Tunnel, known by its uid: what one of the same name left behind is not among it.
    pub fn surroundings(&self, owner: &Owner, uid: &str) -> Surroundings {
        let state = self.lock();
        let is_its = |child: &Child| child.owner.as_deref().is_none_or(|owner| owner == uid);
        let children = state.children.get(owner).into_iter().flatten().filter(|(_, child)| is_its(child));
        let children: BTreeMap<_, _> = children.map(|(slot, child)| (slot.clone(), child.clone())).collect();
        let settled = children
            .keys()
            .filter_map(|(kind, name)| {
                let digests = state.settled.get(&(owner.clone(), *kind, name.clone()))?;
                Some(((*kind, name.clone()), *digests))
            })
            .collect();
        let authority = match owner {
            Owner::Gateway(key) => state.authorities.get(key),
            Owner::Tunnel(_) => None,
        };
        Surroundings {
            children,
            pods: state.pods.get(owner).cloned().unwrap_or_default(),
            authority: authority.filter(|(of, _)| of == uid).map(|(_, authority)| authority.clone()),
            settled,
        }
    }

    /// The authority in a Gateway's Secret, if it can be used.
    pub fn stored_authority(&self, gateway: &Key) -> Option<Arc<Roots>> {
        let state = self.lock();
        let slot = (Kind::Secret, names::authority_secret(&gateway.name));
        match &state.children.get(&Owner::Gateway(gateway.clone()))?.get(&slot)?.content {
            Content::Authority(Ok(authority)) => Some(authority.clone()),
            _ => None,
        }
    }

    /// The ports of a Service, if there is one.
    pub fn service_ports(&self, namespace: &str, name: &str) -> Option<Vec<i32>> {
        self.lock().services.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// What was seen of all that a Gateway names; None while something of it is still to be looked at.
    pub fn referred(&self, gateway: &Gateway) -> Option<BTreeMap<(Purpose, String), Arc<Referred>>> {
        let (state, named) = (self.lock(), referred::references(gateway));
        (!state.referred.is_unread(&named)).then(|| state.referred.seen(named))
    }

    /// Takes in what was seen of something that Gateways name; says which it means something to.
    pub fn put_referred(&self, reference: &Reference, referred: Referred) -> Vec<Key> {
        self.lock().referred.put(reference, referred)
    }

    /// Forgets what nobody looks at any more.
    pub fn forget_referred(&self, reference: &Reference) {
        self.lock().referred.forget(reference);
    }

    /// All that Gateways name.
    pub fn references(&self) -> BTreeSet<Reference> {
        self.lock().referred.wanted()
    }

    /// Changes whenever that does.
    pub fn references_revision(&self) -> u64 {
        self.lock().referred.revision()
    }

    /// Whether there are CertificateRequests to look at, in a Gateway's namespace.
    pub fn requests(&self, gateway: &Key) -> Requests {
        self.lock().requests.at(&gateway.namespace)
    }

    /// Whether that is what is known of them.
    pub fn requests_are(&self, scope: Option<&str>, requests: &Requests) -> bool {
        self.lock().requests.holds(scope, requests)
    }

    /// Takes in whether there are; says which Gateways ask for authorities if that is news.
    pub fn put_requests(&self, scope: Option<&str>, requests: Requests) -> Vec<Key> {
        let mut state = self.lock();
        if !state.requests.put(scope, requests) {
            return Vec::new();
        }
        let asking = state
            .gateways
            .iter()
            .filter(|(key, gateway)| asks(gateway) && scope.is_none_or(|scope| scope == key.namespace));
        asking.map(|(key, _)| key.clone()).collect()
    }

    /// Whether a pod of that name belongs to the Gateway.
    pub fn has_pod(&self, key: &Key, pod: &str) -> bool {
        let pods = Owner::Gateway(key.clone());
        self.lock().pods.get(&pods).is_some_and(|pods| pods.contains_key(pod))
    }

    /// Takes a Gateway in. False where it is no news.
    pub fn put_gateway(&self, mut gateway: Gateway) -> bool {
        gateway.metadata.managed_fields = None;
        let key = Key::of(&gateway);
        let mut state = self.lock();
        if state.gateways.get(&key).is_some_and(|known| {
            known.uid() == gateway.uid()
                && !is_newer(
                    gateway.metadata.resource_version.as_deref(),
                    known.metadata.resource_version.as_deref(),
                )
        }) {
            return false;
        }
        if state.gateways.get(&key).is_none_or(|known| known.spec != gateway.spec) {
            state.revise(&key);
        }
        state.forget_references(&key);
        state.referred.note(&key, &referred::references(&gateway));
        for target in gateway.spec.backends.iter().filter_map(|backend| backend.service.as_ref()) {
            let service = (key.namespace.clone(), target.name.clone());
            state.referrers.entry(service).or_default().insert(key.clone());
        }
        state.tell(&key);
        state.gateways.insert(key, Arc::new(gateway));
        true
    }

    /// Forgets a Gateway, and what only mattered to it.
    pub fn remove_gateway(&self, key: &Key) {
        let mut state = self.lock();
        state.forget_references(key);
        state.referred.note(key, &[]);
        state.gateways.remove(key);
        state.revise(key);
        state.tell(key);
        state.authorities.remove(key);
        let gone = Owner::Gateway(key.clone());
        state.settled.retain(|(owner, ..), _| *owner != gone);
    }

    /// Takes a child in. False where it is no news.
    pub fn put_child(&self, owner: &Owner, child: Child) -> bool {
        let mut state = self.lock();
        let known = state.children.entry(owner.clone()).or_default();
        let slot = (child.kind, child.name.clone());
        if known.get(&slot).is_some_and(|known| known.uid == child.uid && known.version >= child.version) {
            return false;
        }
        let authority = match (&child.content, &child.owner, owner) {
            (Content::Authority(Ok(authority)), Some(uid), Owner::Gateway(key)) => {
                Some((key, uid.clone(), authority.clone()))
            }
            _ => None,
        };
        known.insert(slot, Arc::new(child));
        if let Some((key, uid, authority)) = authority
            && state.authorities.get(key).is_none_or(|(of, known)| *of != uid || succeeds(&authority, known))
        {
            state.authorities.insert(key.clone(), (uid, authority));
        }
        true
    }

    /// Forgets a child. False where it was not known.
    pub fn remove_child(&self, owner: &Owner, kind: Kind, name: &str) -> bool {
        let mut state = self.lock();
        state.settled.remove(&(owner.clone(), kind, name.to_owned()));
        let Some(children) = state.children.get_mut(owner) else { return false };
        let removed = children.remove(&(kind, name.to_owned())).is_some();
        if children.is_empty() {
            state.children.remove(owner);
        }
        removed
    }

    /// Remembers what a child looked like after `applied` had been applied.
    pub fn settle(&self, owner: &Owner, kind: Kind, name: &str, applied: Digest, found: Digest) {
        if applied != found {
            self.lock().settled.insert((owner.clone(), kind, name.to_owned()), (applied, found));
        }
    }

    /// Takes a pod in. False where it is no news.
    pub fn put_pod(&self, owner: &Owner, name: String, pod: Pod) -> bool {
        let mut state = self.lock();
        let pods = state.pods.entry(owner.clone()).or_default();
        if pods.get(&name).is_some_and(|known| **known == pod) {
            return false;
        }
        pods.insert(name, Arc::new(pod));
        true
    }

    /// Forgets a pod. False where it was not known.
    pub fn remove_pod(&self, owner: &Owner, name: &str) -> bool {
        let mut state = self.lock();
        let Some(pods) = state.pods.get_mut(owner) else { return false };
        let removed = pods.remove(name).is_some();
        if pods.is_empty() {
            state.pods.remove(owner);
        }
        removed
    }

    /// Takes a Service's ports in (none: it is gone), and says which Gateways send to it if that is news to them.
    pub fn put_service(&self, namespace: &str, name: &str, ports: Option<Vec<i32>>) -> Vec<Key> {
        let mut state = self.lock();
        let slot = (namespace.to_owned(), name.to_owned());
        if state.services.get(&slot) == ports.as_ref() {
            return Vec::new();
        }
        match ports {
            Some(ports) => state.services.insert(slot.clone(), ports),
            None => state.services.remove(&slot),
        };
        state.referrers.get(&slot).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Forgets what a fresh list of Gateways no longer holds; says which.
    pub fn keep_gateways(&self, scope: Option<&str>, seen: &HashSet<(String, String)>) -> Vec<Key> {
        let gone: Vec<Key> =
            self.keys().into_iter().filter(|key| is_gone(key, &key.name, scope, seen)).collect();
        for key in &gone {
            self.remove_gateway(key);
        }
        gone
    }

    /// Forgets the children of one kind that a fresh list no longer holds; says whose they were.
    pub fn keep_children(
        &self,
        kind: Kind,
        scope: Option<&str>,
        seen: &HashSet<(String, String)>,
    ) -> Vec<Owner> {
        let gone: Vec<(Owner, String)> = {
            let state = self.lock();
            let all = state
                .children
                .iter()
                .flat_map(|(owner, children)| children.keys().map(move |slot| (owner, slot)));
            all.filter(|(owner, (of, name))| *of == kind && is_gone(owner.key(), name, scope, seen))
                .map(|(owner, (_, name))| (owner.clone(), name.clone()))
                .collect()
        };
        for (owner, name) in &gone {
            self.remove_child(owner, kind, name);
        }
        gone.into_iter().map(|(owner, _)| owner).collect()
    }

    /// Forgets the pods that a fresh list no longer holds; says whose they were.
    pub fn keep_pods(&self, scope: Option<&str>, seen: &HashSet<(String, String)>) -> Vec<Owner> {
        let gone: Vec<(Owner, String)> = {
            let state = self.lock();
            let all = state.pods.iter().flat_map(|(owner, pods)| pods.keys().map(move |name| (owner, name)));
            all.filter(|(owner, name)| is_gone(owner.key(), name, scope, seen))
                .map(|(owner, name)| (owner.clone(), name.clone()))
                .collect()
        };
        for (owner, name) in &gone {
            self.remove_pod(owner, name);
        }
        gone.into_iter().map(|(owner, _)| owner).collect()
    }

    /// Forgets the Services that a fresh list no longer holds; says who sends to them.
    pub fn keep_services(&self, scope: Option<&str>, seen: &HashSet<(String, String)>) -> Vec<Key> {
        let gone: Vec<(String, String)> = {
            let state = self.lock();
            let in_scope = |slot: &&(String, String)| scope.is_none_or(|scope| scope == slot.0);
            state.services.keys().filter(in_scope).filter(|slot| !seen.contains(*slot)).cloned().collect()
        };
        gone.iter().flat_map(|(namespace, name)| self.put_service(namespace, name, None)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn revise(&mut self, gateway: &Key) {
        *self.revisions.entry(gateway.clone()).or_default() += 1;
    }

    /// Gateways that select by labels must be decided over again.
    fn revise_selecting(&mut self) -> Vec<Key> {
        let selecting = self.gateways.iter().filter(|(_, gateway)| selects(gateway));
        let selecting: Vec<Key> = selecting.map(|(key, _)| key.clone()).collect();
        for key in &selecting {
            self.revise(key);
        }
        selecting
    }

    /// Whoever listens looks when the lock is free again.
    fn tell(&self, gateway: &Key) {
        if let Some(listener) = self.listeners.get(gateway) {
            listener.send_replace(());
        }
    }

    fn leave(&mut self, gateway: &Key, tunnel: &Key) {
        if let Some(tunnels) = self.tunnels_of.get_mut(gateway) {
            tunnels.remove(tunnel);
            if tunnels.is_empty() {
                self.tunnels_of.remove(gateway);
            }
        }
    }

    fn forget_references(&mut self, key: &Key) {
        let Some(gateway) = self.gateways.get(key).cloned() else { return };
        for target in gateway.spec.backends.iter().filter_map(|backend| backend.service.as_ref()) {
            let service = (key.namespace.clone(), target.name.clone());
            if let Some(keys) = self.referrers.get_mut(&service) {
                keys.remove(key);
                if keys.is_empty() {
                    self.referrers.remove(&service);
                }
            }
        }
    }
}

/// Whether an authority is the one that is known, a step further: what stands in its place by mistake is not remembered.
fn succeeds(authority: &Roots, known: &Roots) -> bool {
    authority.knows(&known.signing.facts.fingerprint) && authority.course != known.course
}

fn is_gone(key: &Key, name: &str, scope: Option<&str>, seen: &HashSet<(String, String)>) -> bool {
    scope.is_none_or(|scope| scope == key.namespace)
        && !seen.contains(&(key.namespace.clone(), name.to_owned()))
}

/// Whether a Gateway takes Tunnels by the labels of their namespaces.
pub fn selects(gateway: &Gateway) -> bool {
    gateway.spec.tunnels.as_ref().is_some_and(|it| it.allowed_namespaces.from == NamespacesFrom::Selector)
}

/// Whether cert-manager is asked for a Gateway's authority, or was asked for the one that it has.
pub fn asks(gateway: &Gateway) -> bool {
    let ca = gateway.status.as_ref().and_then(|status| status.ca.as_ref());
    gateway.spec.pki.ca.issuer_ref.is_some()
        || ca.is_some_and(|ca| ca.brought.as_ref().is_some_and(|brought| brought.request.is_some()))
}

/// Whether a resource version is later than another. They are numbers that grow (KEP-5504); one that is none counts as
/// news.
fn is_newer(version: Option<&str>, than: Option<&str>) -> bool {
    version_number(version) > version_number(than) || version_number(version) == 0
}

/// A resource version as a number; 0 for one that is none.
pub fn version_number(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

//! Two replicas, three connectors and two services, with a relay on every way between a connector or a replica and a
//! replica. What can be done to them is here; when it is done is in `schedule`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_contract::snapshot::{Snapshot, version};
use portcullis_pki::Leaf;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::book::{Book, Which};
use super::endpoint::Endpoint;
use super::visitor::{Errand, Town, Visit};
use crate::support::door::{Plan, client};
use crate::support::relay::{End, Line, Relay};
use crate::support::tunnel::{Connector, certificate, http, plan, settings, tunnel};
use crate::support::{Door, pki};

/// A runtime that is gone, with all that runs on it, when this is dropped.
pub(super) struct Machine(Option<Runtime>);

impl Machine {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(Some(builder.worker_threads(1).enable_all().build().unwrap()))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().unwrap()
    }

    /// As `kill -9` ends it.
    async fn kill(mut self) {
        let runtime = self.0.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(5))).await.unwrap();
    }

    /// Tasks that have not ended.
    pub(super) fn tasks(&self) -> usize {
        self.runtime().metrics().num_alive_tasks()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A replica, on a machine of its own.
pub(super) struct Replica {
    plan: Plan,
    /// Where the replicas are, in their order.
    peers: Vec<String>,
    pub(super) door: Door,
    pub(super) machine: Machine,
}

impl Replica {
    async fn start(plan: Plan, peers: Vec<String>) -> Self {
        let machine = Machine::new();
        let starting = plan.again();
        let door = machine.runtime().spawn(async move { starting.start().await }).await.unwrap();
        Self { plan, peers, door, machine }
    }
}

/// Where a connector runs, or does not just now.
pub(super) struct Place {
    pub(super) which: Which,
    shown: Leaf,
    relay: Relay,
    connector: Option<Connector>,
}

pub(super) struct Stage {
    pub(super) replicas: Vec<Replica>,
    pub(super) places: Vec<Place>,
    /// From each replica to the other one.
    peers: Vec<Relay>,
    /// Two of the first tunnel, which moves from one to the other, and one of the second.
    pub(super) endpoints: Vec<Endpoint>,
    /// Where connectors run.
    pub(super) connectors: Machine,
    pub(super) town: Arc<Town>,
    pub(super) book: Arc<Book>,
    /// Tasks of each replica before any connector came.
    pub(super) at_first: Vec<usize>,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let book = Arc::new(Book::new());
        let mut endpoints = Vec::new();
        for which in [Which::Web, Which::Web, Which::Lab] {
            endpoints.push(Endpoint::new(which, Arc::clone(&book)).await);
        }
        let mut plan = plan(vec![tunnel("web", &at(&endpoints[0])), tunnel("lab", &at(&endpoints[2]))]);
        plan.snapshot.clients.push(client("dev"));
        plan.options.drain_timeout = Duration::from_secs(3);
        let mut sibling = plan.sibling();
        let mut peers = Vec::new();
        for (own, other) in [(&mut plan, 1), (&mut sibling, 0)] {
            let addresses = own.snapshot.tunnels.as_mut().unwrap();
            let relay = Relay::new(&[addresses.peers[other].parse().unwrap()]).await;
            addresses.peers[other] = relay.address.to_string();
            peers.push(relay);
        }
        let known = |plan: &Plan| plan.snapshot.tunnels.as_ref().unwrap().peers.clone();
        let (of_first, of_second) = (known(&plan), known(&sibling));
        let (first, second) =
            tokio::join!(Replica::start(plan, of_first), Replica::start(sibling, of_second));
        let replicas = vec![first, second];
        let addresses = [replicas[0].door.address, replicas[1].door.address];
        let authority = &replicas[0].door.client_ca;
        let shown =
            [(Which::Web, certificate(authority, "web")), (Which::Web, certificate(authority, "web"))];
        let mut places = Vec::new();
        for (which, shown) in shown.into_iter().chain([(Which::Lab, pki::client(authority, "dev"))]) {
            places.push(Place { which, shown, relay: Relay::new(&addresses).await, connector: None });
        }
        let public = |alpn| Arc::new(pki::client_config(&replicas[0].door.server_ca, None, alpn));
        let town = Town {
            addresses: addresses.map(Mutex::new),
            http1: public("http/1.1"),
            http2: public("h2"),
            book: Arc::clone(&book),
        };
        let at_first = replicas.iter().map(|it| it.machine.tasks()).collect();
        let mut stage = Self {
            places,
            peers,
            endpoints,
            connectors: Machine::new(),
            town: Arc::new(town),
            book,
            at_first,
            replicas,
        };
        for place in 0..stage.places.len() {
            stage.start_connector(place).await;
        }
        stage
    }

    /// Every way that can break: of each connector to each replica, and of each replica to the other one.
    pub(super) fn lines(&self) -> Vec<Arc<Line>> {
        self.places
            .iter()
            .map(|place| &place.relay)
            .chain(&self.peers)
            .flat_map(|it| it.lines.clone())
            .collect()
    }

    /// The ways between connectors of a tunnel and replicas.
    pub(super) fn lines_of(&self, which: Which) -> Vec<Arc<Line>> {
        self.places.iter().filter(|it| it.which == which).flat_map(|it| it.relay.lines.clone()).collect()
    }

    /// Visitors of a tunnel who will never be answered, one each way.
    pub(super) fn hang(&self, of: Which) -> Vec<JoinHandle<Option<()>>> {
        let ways = all_ways().into_iter().filter(|(_, which, _)| *which == of);
        let visits = ways.map(|(replica, which, over_http2)| {
            let visit = Visit { replica, which, errand: Errand::Hang, over_http2, length: 1 };
            let town = Arc::clone(&self.town);
            tokio::spawn(async move { town.visit(visit).await })
        });
        visits.collect()
    }

    /// Those of them whom an endpoint knows of.
    pub(super) fn hanging(&self) -> usize {
        self.endpoints.iter().map(|it| it.hanging.load(Ordering::SeqCst)).sum()
    }

    pub(super) fn end_all(&self, which: Which, end: End) {
        for line in self.lines_of(which) {
            line.end(end);
        }
    }

    pub(super) async fn start_connector(&mut self, place: usize) {
        let it = &mut self.places[place];
        if it.connector.is_some() {
            return;
        }
        let name = it.which.name();
        let (mut settings, directory) =
            settings(&self.replicas[0].door, name, &at(&self.endpoints[2]), &it.shown).await;
        settings.gateway = format!("https://localhost:{}", it.relay.address.port()).parse().unwrap();
        settings.drain = Duration::from_secs(2);
        if it.which == Which::Web {
            settings.offers[0].endpoints = self.endpoints[..2].iter().map(at).collect();
        }
        let _on_its_machine = self.connectors.runtime().enter();
        it.connector = Some(Connector::run(settings, directory));
    }

    /// The polite end.
    pub(super) async fn stop_connector(&mut self, place: usize) {
        if let Some(connector) = self.places[place].connector.take() {
            connector.finish().await;
        }
    }

    pub(super) fn drop_connector(&mut self, place: usize) {
        self.places[place].connector = None;
    }

    /// Changes what both replicas are told, and waits until both have applied it.
    pub(super) async fn tell(&mut self, change: impl Fn(&mut Snapshot, &[Endpoint])) {
        for replica in &mut self.replicas {
            change(&mut replica.plan.snapshot, &self.endpoints);
            replica.door.snapshot = replica.plan.snapshot.clone();
            replica.door.write_snapshot();
        }
        for replica in &self.replicas {
            let version = version(replica.door.snapshot.to_json().unwrap().as_ref());
            let metric = format!("portcullis_gateway_snapshot_info{{version=\"{version}\"}}");
            replica.door.counted(&metric, 1.0).await;
        }
    }

    /// The replicas are told of each other, or of themselves alone.
    pub(super) async fn acquaint(&mut self, with_each_other: bool) {
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            let all = replica.peers.iter().enumerate();
            let told = all.filter(|(of, _)| with_each_other || *of == index).map(|(_, peer)| peer.clone());
            replica.plan.snapshot.tunnels.as_mut().unwrap().peers = told.collect();
        }
        self.tell(|_, _| ()).await;
    }

    /// Another process instead of this one: the old one finishes politely, or is killed.
    pub(super) async fn restart(&mut self, index: usize, politely: bool) {
        let old = self.replicas.remove(index);
        let Replica { plan, peers, door, machine } = old;
        if politely {
            door.close().await;
        }
        machine.kill().await;
        let replica = Replica::start(plan, peers).await;
        let address = replica.door.address;
        self.replicas.insert(index, replica);
        *self.town.addresses[index].lock().unwrap() = address;
        for place in &self.places {
            place.relay.lines[index].lead_to(address);
        }
    }

    /// Waits for this, and says what the run did if it does not come to be.
    pub(super) async fn within<F: Future<Output = bool>>(
        &self,
        time: Duration,
        what: &str,
        mut is_so: impl FnMut() -> F,
    ) {
        let (began, mut ticks) = (Instant::now(), tokio::time::interval(Duration::from_millis(20)));
        while !is_so().await {
            if began.elapsed() > time {
                return self.book.violation(what, format!("not within {time:?}"));
            }
            ticks.tick().await;
        }
    }
}

fn at(endpoint: &Endpoint) -> String {
    http(endpoint.backend.address)
}

/// Where the endpoint of a tunnel is, as snapshots name it.
pub(super) fn address(endpoints: &[Endpoint], index: usize) -> String {
    at(&endpoints[index])
}

/// Each replica, tunnel and version of HTTP.
pub(super) fn all_ways() -> Vec<(usize, Which, bool)> {
    let mut ways = Vec::new();
    for replica in 0..2 {
        for which in Which::ALL {
            ways.extend([(replica, which, false), (replica, which, true)]);
        }
    }
    ways
}

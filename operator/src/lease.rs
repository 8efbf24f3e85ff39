//! Who leads: one operator holds the Lease, renews it, and steps down by itself before another may take it. Observed
//! changes are timed by the own monotonic clock, so that clocks that disagree do no harm.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cause::chain;
use crate::clock::Clock;
use crate::names;

/// How long a lease holds without being renewed.
pub const DURATION: Duration = Duration::from_secs(11);
/// How often it is renewed, and how often others look at it.
pub const PERIOD: Duration = Duration::from_millis(1500);
/// How long a renewal may take: one that takes longer could end after the lease has.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the holder writes without having renewed it: shorter, since a write that is on its way must have ended
/// before another takes over.
const HOLD: Duration = Duration::from_secs(6);
/// No write may take longer than this: one that began at the last moment ends before another leads.
pub const WRITE: Duration = Duration::from_secs(5);
/// How long giving it back may take, all attempts together: after that, another takes it without being asked to. With what
/// workers and a last renewal may take before, it is within the thirty seconds that a pod is given to end.
const GIVE_BACK: Duration = DURATION;
/// After an attempt to give it back that failed.
const AGAIN: Duration = Duration::from_millis(300);
/// Annotation with the address of the leader's control channel.
const ADDRESS: &str = "portcullis.dev/control-address";

/// What is known of who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// We do, until then.
    until: Option<Instant>,
    /// And have since then.
    since: Option<Instant>,
    /// Where the leader's control channel is, if somebody else leads.
    leader: Option<String>,
}

/// Tells whether this operator leads.
#[derive(Clone, Debug)]
pub struct Leadership {
    identity: Arc<str>,
    standing: watch::Sender<Standing>,
}

impl Leadership {
    /// Of the operator that goes by this identity; it does not lead yet.
    pub fn new(identity: &str) -> Self {
        Self { identity: identity.into(), standing: watch::Sender::default() }
    }

    /// What this operator goes by.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether it leads now.
    pub fn leads(&self) -> bool {
        self.standing.borrow().until.is_some_and(|until| Instant::now() < until)
    }

    /// For how long it has led; zero where it does not.
    pub fn led_for(&self) -> Duration {
        self.standing.borrow().since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Where the leader's control channel is, if somebody else leads.
    pub fn leader(&self) -> Option<String> {
        self.standing.borrow().leader.clone()
    }

    /// Waits until it leads.
    pub async fn gained(&self) {
        // The sender lives in `self`, so that the wait cannot fail.
        drop(
            self.standing
                .subscribe()
                .wait_for(|standing| standing.until.is_some_and(|until| Instant::now() < until))
                .await,
        );
    }

    /// Waits until it does not lead any more.
    pub async fn lost(&self) {
        let mut standing = self.standing.subscribe();
        loop {
            let until = standing.borrow_and_update().until;
            let Some(until) = until.filter(|until| Instant::now() < *until) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                // The sender lives in `self`.
                _ = standing.changed() => {}
            }
        }
    }

    fn set(&self, standing: Standing) {
        self.standing.send_if_modified(|now| {
            let modified = *now != standing;
            *now = standing;
            modified
        });
    }
}

/// Takes part in the election until stopped; gives the lease back then.
pub struct Election {
    /// Reads and writes the Lease.
    pub leases: Api<Lease>,
    /// Told how it went.
    pub leadership: Leadership,
    /// Where this operator's control channel is.
    pub address: String,
    /// For the times in the Lease, which people read.
    pub clock: Arc<dyn Clock>,
}

/// Another holder's lease, and since when it has stood as it is.
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Election {
    /// For the Lease in the operator's namespace.
    pub fn new(
        client: Client,
        namespace: &str,
        leadership: Leadership,
        address: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { leases: Api::namespaced(client, namespace), leadership, address, clock }
    }

    /// Runs until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let (mut seen, mut held): (Option<Seen>, Option<Lease>) = (None, None);
        while !stop.is_cancelled() {
            let started = Instant::now();
            match timeout(PATIENCE, self.round(&mut seen, started)).await {
                Ok(Ok(lease)) => held = lease,
                Ok(Err(error)) => {
                    tracing::warn!(error = chain(&error), "failed to renew or read the Lease");
                }
                Err(_) => tracing::warn!("failed to renew or read the Lease in time"),
            }
            if !self.leadership.leads() && self.leadership.standing.borrow().until.is_some() {
                tracing::warn!("lost the lease");
                self.leadership.set(Standing::default());
            }
            stop.run_until_cancelled(sleep(PERIOD)).await;
        }
        self.give_back(held).await;
    }

    /// Takes or renews it; returns it where it is ours.
    async fn round(&self, seen: &mut Option<Seen>, started: Instant) -> Result<Option<Lease>, kube::Error> {
        let Some(lease) = self.leases.get_opt(names::LEASE).await? else {
            let lease = self.leases.create(&PostParams::default(), &self.written(None)).await?;
            self.won(started);
            return Ok(Some(lease));
        };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        if holder != *self.leadership.identity && !holder.is_empty() && !is_stale(&lease, seen) {
            let leader = lease.annotations().get(ADDRESS).cloned();
            self.leadership.set(Standing { leader, ..Standing::default() });
            return Ok(None);
        }
        // The resource version makes sure that nobody else took it meanwhile.
        let lease =
            self.leases.replace(names::LEASE, &PostParams::default(), &self.written(Some(lease))).await?;
        self.won(started);
        Ok(Some(lease))
    }

    fn won(&self, started: Instant) {
        let leads = self.leadership.leads();
        if !leads {
            tracing::info!(identity = self.leadership.identity(), "leading");
        }
        let since = self.leadership.standing.borrow().since.filter(|_| leads).unwrap_or(started);
        self.leadership.set(Standing { until: Some(started + HOLD), since: Some(since), leader: None });
    }

    fn written(&self, before: Option<Lease>) -> Lease {
        let now = micro_time(self.clock.now());
        let (metadata, spec) =
            before.map(|lease| (lease.metadata, lease.spec.unwrap_or_default())).unwrap_or_default();
        let holder = Some(self.leadership.identity().to_owned());
        let taken = spec.holder_identity != holder;
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.insert(ADDRESS.to_owned(), self.address.clone());
        Lease {
            metadata: ObjectMeta {
                name: Some(names::LEASE.to_owned()),
                annotations: Some(annotations),
                resource_version: metadata.resource_version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                acquire_time: if taken { now.clone() } else { spec.acquire_time },
                renew_time: now,
                holder_identity: holder,
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + i32::from(taken)),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Lets another take over at once. `held` is the lease as we wrote it last: where nobody has changed it since, one request
    /// is enough.
    async fn give_back(&self, mut held: Option<Lease>) {
        let led = self.leadership.leads();
        self.leadership.set(Standing::default());
        if !led {
            return;
        }
        let giving = async {
            loop {
                match self.give(held.take()).await {
                    Ok(given) => return given,
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "failed to give the lease back; trying again");
                    }
                }
                sleep(AGAIN).await;
            }
        };
        match timeout(GIVE_BACK, giving).await {
            Ok(true) => tracing::info!("gave the lease back"),
            Ok(false) => tracing::info!("another has the lease already"),
            Err(_) => tracing::warn!("failed to give the lease back in time: another takes it once it ends"),
        }
    }

    /// False where it is not ours to give.
    async fn give(&self, held: Option<Lease>) -> Result<bool, kube::Error> {
        let lease = match held {
            Some(lease) => Some(lease),
            None => self.leases.get_opt(names::LEASE).await?,
        };
        let Some(mut lease) = lease else { return Ok(false) };
        let Some(spec) = lease.spec.as_mut() else { return Ok(false) };
        if spec.holder_identity.as_deref() != Some(self.leadership.identity()) {
            return Ok(false);
        }
        spec.holder_identity = Some(String::new());
        lease.metadata.managed_fields = None;
        // The resource version makes sure that it is nobody else's by now.
        self.leases.replace(names::LEASE, &PostParams::default(), &lease).await.map(|_| true)
    }
}

/// Whether another's lease has stood unchanged for as long as it holds.
fn is_stale(lease: &Lease, seen: &mut Option<Seen>) -> bool {
    let version = lease.resource_version();
    match seen {
        Some(seen) if seen.version == version => seen.since.elapsed() >= DURATION,
        _ => {
            *seen = Some(Seen { version, since: Instant::now() });
            false
        }
    }
}

fn micro_time(now: OffsetDateTime) -> Option<MicroTime> {
    crate::moment::timestamp(now).map(MicroTime)
}

//! What all rooms of one replica share: the configuration that it serves, and whether it is ready.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use portcullis_contract::control::{self, Surroundings};
use tokio::sync::{Notify, Semaphore, watch};

use crate::backend::Dialer;
use crate::config::{Config, Outside};
use crate::control::Calls;
use crate::limits::Limits;
use crate::listener::Certificates;
use crate::login::Codes;
use crate::metrics::Metrics;
use crate::peer::Peers;
use crate::rounds::Rounds;
use crate::seen::Seen;
use crate::shutdown::Lifeline;
use crate::tunnel::{Passes, Probes, Sessions};
use crate::{api, driver, issuer, logging};
use portcullis_protocol::clock::Clock;

/// One replica.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) lifeline: Lifeline,
    pub(crate) certificates: Certificates,
    /// Seals what a login hands to a program.
    pub(crate) codes: Arc<Codes>,
    outside: Outside,
    pub(crate) pod: String,
    pub(crate) api: api::Api,
    /// Of connections that are open at once.
    pub(crate) places: Arc<Semaphore>,
    /// What callers of the API wait for.
    pub(crate) calls: Arc<Calls>,
    /// Clients that were let in.
    pub(crate) seen: Seen,
    /// Connectors that are connected.
    pub(crate) sessions: Sessions,
    /// Other replicas.
    pub(crate) peers: Peers,
    /// What probes of tunnels have found.
    pub(crate) probes: Probes,
    /// What they show.
    pub(crate) passes: Arc<Passes>,
    /// Where the server's certificate and its roots are.
    pub(crate) tls_dir: PathBuf,
    /// Wakes whoever reads the certificate files.
    pub(crate) reread: Notify,
    config: ArcSwapOption<Config>,
    /// Which configuration connections were held against.
    pub(crate) rounds: Rounds,
    /// Counts applied snapshots and other news, so that connections notice.
    changes: Arc<watch::Sender<u64>>,
    listening: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        limits: Limits,
        metrics: Arc<Metrics>,
        lifeline: Lifeline,
        pod: String,
        tls_dir: PathBuf,
    ) -> Self {
        let changes = Arc::new(watch::Sender::new(0));
        let (tasks, stop) = (lifeline.tasks.clone(), lifeline.cut.clone());
        let (codes, passes) = (Arc::<Codes>::default(), Arc::<Passes>::default());
        Self {
            certificates: Certificates::new(Arc::clone(&metrics), Arc::clone(&codes), Arc::clone(&passes)),
            outside: Outside {
                dialer: Dialer::new(lifeline.clone(), limits.clone(), Arc::clone(&metrics)),
                issuers: issuer::Starter::new(tasks.clone(), stop.clone(), Arc::clone(&changes), &limits),
                drivers: driver::Starter::new(tasks, stop, Arc::clone(&changes)),
            },
            codes,
            api: api::Api::new(),
            places: Arc::new(Semaphore::new(limits.connections)),
            calls: Arc::default(),
            seen: Seen::default(),
            sessions: Sessions::default(),
            peers: Peers::default(),
            probes: Probes::default(),
            passes,
            tls_dir,
            reread: Notify::new(),
            config: ArcSwapOption::empty(),
            rounds: Rounds::default(),
            changes,
            listening: AtomicBool::new(false),
            clock,
            limits,
            metrics,
            lifeline,
            pod,
        }
    }

    /// The configuration that requests are judged by now.
    pub(crate) fn config(&self) -> arc_swap::Guard<Option<Arc<Config>>> {
        self.config.load()
    }

    /// Hears of every applied snapshot, of every change of an issuer's keys, of drivers that come and go.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Serves a document from now on, or says why it cannot and goes on with the one before.
    pub(crate) fn apply(&self, version: String, json: &[u8]) -> Result<(), String> {
        let previous = self.config.load_full();
        let applied = Config::read(version, json, previous.as_deref(), &self.outside).and_then(|config| {
            self.certificates.trust(&config)?;
            Ok(Arc::new(config))
        });
        let config = applied.inspect_err(|reason| {
            self.metrics.snapshots_rejected.inc();
            tracing::warn!(%reason, "snapshot rejected");
        })?;
        logging::set_level(config.log_level);
        if self.certificates.served_fingerprint().as_deref() != Some(&config.server_fingerprint) {
            self.reread.notify_one();
        }
        self.metrics.serving(&config.version);
        tracing::info!(version = %config.version, "snapshot applied");
        self.config.store(Some(config));
        self.rounds.next();
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// How many replicas there are, as far as this one knows.
    pub(crate) fn replicas(&self) -> u32 {
        self.config.load().as_ref().and_then(|config| config.tunnels.as_ref()).map_or(1, |it| it.replicas)
    }

    /// How it gets on with the issuers and drivers of its configuration; None without one.
    pub(crate) fn surroundings(&self) -> Option<Surroundings> {
        let config = self.config.load();
        let config = config.as_ref()?;
        let issuers = config.issuers().map(|(kind, issuer)| control::Issuer {
            kind: kind.to_owned(),
            keys: issuer.has_keys(),
            trouble: issuer.trouble(),
        });
        // One that was not tried yet is not spoken of.
        let drivers = config.drivers.iter().filter_map(|driver| {
            Some(control::Driver { kind: driver.kind().as_str().to_owned(), trouble: driver.trouble()? })
        });
        Some(Surroundings { issuers: issuers.collect(), drivers: drivers.collect() })
    }

    pub(crate) fn set_listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
        self.changes.send_modify(|count| *count += 1);
    }

    fn seeks_peers(&self) -> bool {
        let config = self.config.load();
        config.as_ref().and_then(|config| config.tunnels.as_ref()).is_some_and(|it| !it.peers.is_empty())
    }

    /// Whether callers should be sent here; otherwise, what is missing.
    pub(crate) fn readiness(&self) -> Result<(), &'static str> {
        if self.lifeline.stop.is_cancelled() {
            Err("draining")
        } else if self.config.load().is_none() {
            Err("no snapshot yet")
        } else if self.certificates.served_fingerprint().is_none() {
            Err("no server certificate yet")
        } else if !self.peers.are_settled() && self.seeks_peers() {
            Err("looking for the other replicas")
        } else if !self.listening.load(Ordering::Relaxed) {
            Err("not listening yet")
        } else {
            Ok(())
        }
    }
}

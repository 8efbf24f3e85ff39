//! One call of `Control/Attach`, from Hello to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_contract::control::control_client::ControlClient;
use portcullis_contract::control::instruction::Instruction as Told;
use portcullis_contract::control::report::Report as Word;
use portcullis_contract::control::{
    Acknowledged, ClientsSeen, Hello, Instruction, Rejected, Report, Snapshot, Surroundings, TunnelReport,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::dial::{Operator, chain};
use crate::listener::Served;
use crate::seen::Known;
use crate::shared::Shared;
use crate::tunnel;

/// Reports that wait to be sent.
const REPORTS: usize = 8;
/// How long the operator may take to answer the call: longer than the 10 s that it waits for our pod to appear in its
/// watch, or a slow watch would be cut off just before it lets us in.
const ATTACH_TIME: Duration = Duration::from_secs(15);
/// A snapshot holds trust, clients and backends; one this large is a mistake.
const LARGEST_SNAPSHOT: usize = 16 * 1024 * 1024;

/// How a session ended.
pub(super) enum Ended {
    /// Another operator leads.
    Redirected(String),
    /// It was attached, and no longer is.
    Detached(String),
    /// It never was.
    Unreachable(String),
}

/// Attaches, and stays until the operator goes or points elsewhere.
pub(super) async fn run(operator: &Operator, leader: Option<&String>, shared: &Arc<Shared>) -> Ended {
    let channel = match operator.dial(leader).await {
        Ok(channel) => channel,
        Err(error) => return Ended::Unreachable(error.to_string()),
    };
    let (reports, outgoing) = mpsc::channel(REPORTS);
    let hello = Hello { pod: shared.pod.clone(), binary_version: env!("CARGO_PKG_VERSION").to_owned() };
    if reports.send(Report { report: Some(Word::Hello(hello)) }).await.is_err() {
        return Ended::Unreachable("the channel closed".to_owned());
    }
    let mut client = ControlClient::new(channel).max_decoding_message_size(LARGEST_SNAPSHOT);
    let attaching = tokio::time::timeout(ATTACH_TIME, client.attach(ReceiverStream::new(outgoing)));
    let instructions = match attaching.await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Ended::Unreachable(chain(&status)),
        Err(_) => return Ended::Unreachable("the operator does not answer".to_owned()),
    };
    tracing::info!("attached to the operator");
    let _attached = shared.calls.attach(reports.clone());
    shared.metrics.control_connected.set(1);
    let (served, changes) = (shared.certificates.served(), shared.changes());
    let (sessions, probes) = (shared.sessions.changes(), shared.probes.changes());
    let peers = shared.peers.changes();
    let mut seen = shared.seen.changes();
    // Whoever is attached to is told of all.
    seen.mark_changed();
    let session = Session {
        shared,
        reports,
        served,
        changes,
        sessions,
        probes,
        peers,
        acknowledged: None,
        applied: None,
        told: None,
        tunnels: HashMap::new(),
        seen,
        clients: Known::new(),
    };
    session.converse(instructions).await
}

struct Session<'a> {
    shared: &'a Arc<Shared>,
    reports: mpsc::Sender<Report>,
    served: watch::Receiver<Option<Arc<Served>>>,
    /// Bumped where an issuer or a driver comes or goes.
    changes: watch::Receiver<u64>,
    /// What the operator was told last: of what is served, and of what the replica depends on.
    acknowledged: Option<Acknowledged>,
    /// A version that is served, and that not every connection has been held against yet.
    applied: Option<String>,
    told: Option<Surroundings>,
    /// Bumped where a connector comes or goes, and where a probe has found something.
    sessions: watch::Receiver<u64>,
    probes: watch::Receiver<u64>,
    /// Bumped where another replica comes, or holds other tunnels.
    peers: watch::Receiver<u64>,
    /// What the operator was told last of each tunnel, by uid.
    tunnels: HashMap<String, TunnelReport>,
    /// Changes where a client was let in that was not for a while.
    seen: watch::Receiver<()>,
    /// What the operator was told last of each client.
    clients: Known,
}

impl Session<'_> {
    async fn converse(mut self, mut instructions: Streaming<Instruction>) -> Ended {
        loop {
            let applied = self.applied.is_some();
            let sent = tokio::select! {
                () = self.shared.rounds.caught_up(), if applied => self.acknowledge_applied().await,
                told = instructions.message() => match told {
                    Ok(Some(Instruction { instruction: Some(Told::Snapshot(snapshot)) })) => self.apply(snapshot).await,
                    Ok(Some(Instruction { instruction: Some(Told::Redirect(redirect)) })) => {
                        return Ended::Redirected(redirect.address);
                    }
                    Ok(Some(Instruction { instruction: Some(Told::Answer(answer)) })) => {
                        self.shared.calls.answered(answer);
                        Ok(())
                    }
                    // An instruction of a later version of the protocol.
                    Ok(Some(Instruction { instruction: None })) => Ok(()),
                    Ok(None) => return Ended::Detached("the operator ended the call".to_owned()),
                    Err(status) => return Ended::Detached(chain(&status)),
                },
                changed = self.served.changed() => match changed {
                    Ok(()) => self.acknowledge_again().await,
                    Err(_) => return Ended::Detached("the replica stops".to_owned()),
                },
                changed = self.changes.changed() => match changed {
                    Ok(()) => match self.tell_surroundings().await {
                        Ok(()) => self.tell_tunnels().await,
                        gone => gone,
                    },
                    Err(_) => return Ended::Detached("the replica stops".to_owned()),
                },
                _ = self.sessions.changed() => self.tell_tunnels().await,
                _ = self.probes.changed() => self.tell_tunnels().await,
                _ = self.peers.changed() => self.tell_tunnels().await,
                _ = self.seen.changed() => self.tell_clients().await,
                () = self.shared.calls.given_up() => self.cancel_calls().await,
            };
            if sent.is_err() {
                return Ended::Detached("the operator no longer listens".to_owned());
            }
        }
    }

    async fn apply(&mut self, snapshot: Snapshot) -> Result<(), Gone> {
        let Snapshot { version, json } = snapshot;
        match self.shared.apply(version.clone(), &json) {
            Ok(()) => {
                self.acknowledged = None;
                self.applied = Some(version);
                Ok(())
            }
            Err(reason) => self.say(Word::Rejected(Rejected { version, reason })).await,
        }
    }

    /// What it revokes is cut: every connection that is left was held against it.
    async fn acknowledge_applied(&mut self) -> Result<(), Gone> {
        let Some(version) = self.applied.take() else { return Ok(()) };
        // First what this version depends on, so that nobody takes word of the one before for it.
        self.tell_surroundings().await?;
        self.acknowledge(version).await?;
        self.tell_tunnels().await
    }

    /// The served certificate may have changed: says so, if it has, of the version that is served.
    async fn acknowledge_again(&mut self) -> Result<(), Gone> {
        match &self.acknowledged {
            Some(last) => self.acknowledge(last.version.clone()).await,
            None => Ok(()),
        }
    }

    async fn acknowledge(&mut self, version: String) -> Result<(), Gone> {
        let served = self.served.borrow_and_update().as_ref().map(|served| served.fingerprint.clone());
        let word = Acknowledged { version, served_fingerprint: served.unwrap_or_default() };
        if self.acknowledged.as_ref() == Some(&word) {
            return Ok(());
        }
        self.acknowledged = Some(word.clone());
        self.say(Word::Acknowledged(word)).await
    }

    /// How the replica gets on with issuers and drivers: says so, if that has changed.
    async fn tell_surroundings(&mut self) -> Result<(), Gone> {
        let Some(now) = self.shared.surroundings() else { return Ok(()) };
        // Whoever depends on nothing has nothing to tell.
        if self.told.as_ref().unwrap_or(&Surroundings::default()) == &now {
            return Ok(());
        }
        self.told = Some(now.clone());
        self.say(Word::Surroundings(now)).await
    }

    /// What is known of each tunnel, where that has changed. One of which there never was anything to tell is not spoken of.
    async fn tell_tunnels(&mut self) -> Result<(), Gone> {
        let reports = tunnel::reports(self.shared);
        let mut told = std::mem::take(&mut self.tunnels);
        for report in reports {
            let before = told.remove(&report.uid);
            let is_news = match &before {
                Some(before) => *before != report,
                None => !report.connections.is_empty() || report.probe.is_some() || report.carried,
            };
            if is_news {
                self.say(Word::Tunnel(report.clone())).await?;
            }
            if is_news || before.is_some() {
                self.tunnels.insert(report.uid.clone(), report);
            }
        }
        Ok(())
    }

    /// Whoever was let in since the last time.
    async fn tell_clients(&mut self) -> Result<(), Gone> {
        let clients = self.shared.seen.untold(&mut self.clients);
        if clients.is_empty() {
            return Ok(());
        }
        self.say(Word::ClientsSeen(ClientsSeen { clients })).await
    }

    /// Nobody reads these any more.
    async fn cancel_calls(&mut self) -> Result<(), Gone> {
        for cancel in self.shared.calls.cancels() {
            self.say(cancel).await?;
        }
        Ok(())
    }

    async fn say(&self, word: Word) -> Result<(), Gone> {
        self.reports.send(Report { report: Some(word) }).await.map_err(|_| Gone)
    }
}

/// The operator no longer takes reports.
struct Gone;

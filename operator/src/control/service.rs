//! One call per replica: who it is, what it is told, and what it says.

use std::sync::Arc;
use std::time::Duration;

use portcullis_contract::control::control_server::Control as ControlApi;
use portcullis_contract::control::instruction::Instruction as Told;
use portcullis_contract::control::report::Report as Said;
use portcullis_contract::control::{
    ClientsSeen, Hello, Instruction, Redirect, Report, Snapshot, TunnelReport,
};
use portcullis_contract::identity::{Holder, Identity};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Request, Response, Status, Streaming};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::Control;
use super::calls::{Calls, Desk};
use super::seen::last;
use crate::gateway::plan::rotation::unused;
use crate::gateway::status::seen::is_news;
use crate::lease::Leadership;
use crate::queue::{Queue, Urgency};
use crate::world::{Key, World};

/// How long a replica may take to say Hello, and its pod to show up in the watch.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a replica that was lost may take to come back before its Gateway's status speaks of it.
const COMEBACK: Duration = Duration::from_secs(5);
/// Instructions that wait for a slow replica: answers, and a snapshot that the next one replaces until it is sent.
const BACKLOG: usize = 2;

/// Serves `portcullis.control.v1.Control`.
#[derive(Clone)]
pub struct ControlService {
    /// What replicas are told, and what they say.
    pub control: Arc<Control>,
    /// Knows the pods.
    pub world: Arc<World>,
    /// Wakes the reconciler.
    pub queue: Arc<Queue<Key>>,
    /// Wakes the Tunnels' reconciler.
    pub tunnels: Arc<Queue<Key>>,
    /// Hears of pods that come.
    pub pods: watch::Receiver<u64>,
    /// Who leads.
    pub leadership: Leadership,
    /// Trust domain of the identities.
    pub trust_domain: String,
    /// Every call is one of these.
    pub tasks: TaskTracker,
    /// Ends every call.
    pub stop: CancellationToken,
    /// Carries out what callers of a Gateway's API ask.
    pub desk: Desk,
}

#[tonic::async_trait]
impl ControlApi for ControlService {
    type AttachStream = ReceiverStream<Result<Instruction, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<Report>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let key = self.identify(&request)?;
        let mut reports = request.into_inner();
        let (instructions, stream) = mpsc::channel(BACKLOG);
        let hello = tokio::time::timeout(PATIENCE, reports.message()).await;
        let first = hello.map_err(|_| Status::deadline_exceeded("say Hello first"))??;
        let Some(Report { report: Some(Said::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("the first report must be Hello"));
        };
        if !self.leadership.leads() {
            let address =
                self.leadership.leader().ok_or_else(|| Status::unavailable("nobody leads at the moment"))?;
            let redirect = Instruction { instruction: Some(Told::Redirect(Redirect { address })) };
            // The channel is empty, and its receiver is here.
            drop(instructions.try_send(Ok(redirect)));
            return Ok(Response::new(ReceiverStream::new(stream)));
        }
        self.await_pod(&key, &hello).await?;
        let call = Call { service: self.clone(), key, pod: hello.pod };
        self.tasks.spawn(async move { call.run(reports, instructions).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl ControlService {
    /// The Gateway that the certificate speaks for.
    fn identify(&self, request: &Request<Streaming<Report>>) -> Result<Key, Status> {
        let connection = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates = connection.and_then(TlsConnectInfo::peer_certs);
        let certificates = certificates.ok_or_else(|| Status::unauthenticated("no client certificate"))?;
        let leaf = certificates.first().ok_or_else(|| Status::unauthenticated("no client certificate"))?;
        let identity =
            identity(leaf).ok_or_else(|| Status::unauthenticated("the certificate names no Gateway"))?;
        if identity.trust_domain != self.trust_domain || identity.holder != Holder::Replica {
            return Err(Status::permission_denied("the certificate names no Gateway of this operator"));
        }
        Ok(Key::new(identity.namespace, identity.gateway))
    }

    /// The pod must be one of the Gateway's; the watch may learn of it a moment later than the pod itself.
    async fn await_pod(&self, key: &Key, hello: &Hello) -> Result<(), Status> {
        let mut pods = self.pods.clone();
        let known = pods.wait_for(|_| self.world.has_pod(key, &hello.pod));
        match tokio::time::timeout(PATIENCE, known).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Status::permission_denied(format!("{:?} is no pod of Gateway {key}", hello.pod))),
        }
    }
}

/// The identity in a certificate's SAN URI.
fn identity(der: &[u8]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.parse().ok(),
        _ => None,
    })
}

/// An open call.
struct Call {
    service: ControlService,
    key: Key,
    pod: String,
}

impl Call {
    async fn run(
        self,
        mut reports: Streaming<Report>,
        instructions: mpsc::Sender<Result<Instruction, Status>>,
    ) {
        let control = &self.service.control;
        let number = control.attach(&self.key, &self.pod);
        tracing::info!(gateway = %self.key, pod = self.pod, "replica attached");
        let calls =
            Calls::new(self.service.desk.clone(), self.key.clone(), self.pod.clone(), instructions.clone());
        let mut snapshots = control.subscribe(&self.key);
        snapshots.mark_changed();
        let mut waiting = None;
        let why = loop {
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() { break "the Gateway is gone".to_owned() }
                    waiting.clone_from(&snapshots.borrow_and_update());
                }
                // What it says is read meanwhile: a replica that waits to be heard may not read.
                room = instructions.reserve(), if waiting.is_some() => {
                    let Ok(room) = room else { break "the replica hung up".to_owned() };
                    let told = waiting.take().map(|snapshot| Told::Snapshot(Snapshot { version: snapshot.version.clone(), json: snapshot.json.clone().into_bytes() }));
                    room.send(Ok(Instruction { instruction: told }));
                }
                report = reports.message() => match report {
                    Ok(Some(Report { report: Some(Said::Call(call)) })) => calls.begin(call),
                    Ok(Some(Report { report: Some(Said::Cancel(cancel)) })) => calls.cancel(cancel.id),
                    Ok(Some(report)) => self.heard(number, report),
                    Ok(None) => break "the replica hung up".to_owned(),
                    Err(status) => break status.message().to_owned(),
                },
                () = self.service.leadership.lost() => {
                    // The replica dials again and is led to whoever leads by then.
                    drop(instructions.try_send(Err(Status::unavailable("this operator does not lead any more"))));
                    break "leadership lost".to_owned();
                }
                () = self.service.stop.cancelled() => break "shutting down".to_owned(),
            }
        };
        tracing::info!(gateway = %self.key, pod = self.pod, why, "replica detached");
        let spoken_of = control.spoken_of(&self.key, &self.pod);
        if control.detach(&self.key, &self.pod, number) {
            for tunnel in spoken_of {
                self.service.tunnels.add_after(tunnel, COMEBACK + Duration::from_millis(100));
            }
            // It may only have lost the line: what its status says of it changes if it does not come back.
            self.service.queue.add_after(self.key.clone(), COMEBACK);
        }
    }

    /// What is said of a tunnel is news to that Tunnel, and to the Gateway's count of those that are connected.
    fn heard_of(&self, number: u64, report: TunnelReport) {
        let tunnel = Key::new(&report.namespace, &report.name);
        let Some(moved) = self.service.control.heard_of(&self.key, &self.pod, number, report) else { return };
        self.service.tunnels.add(tunnel, Urgency::Changed);
        if moved {
            self.service.queue.add(self.key.clone(), Urgency::Routine);
        }
    }

    /// Nobody is visited for what the status would not tell anew.
    fn saw(&self, seen: ClientsSeen) {
        let (control, key) = (&self.service.control, &self.key);
        control.saw(key, seen.clients);
        let Some(gateway) = self.service.world.gateway(key) else { return };
        let sights = control.seen(key);
        let mut clients = gateway.status.iter().flat_map(|status| &status.clients);
        let is_told =
            clients.any(|client| last(&sights, &client.name).is_some_and(|it| is_news(Some(client), it)));
        let counts = gateway.spec.pki.ca.retire_unused_after.is_some();
        let roots = self.service.world.stored_authority(key).filter(|_| counts);
        let is_noted = || roots.is_some_and(|roots| unused::is_news(&roots, &sights));
        if is_told || is_noted() {
            self.service.queue.add(key.clone(), Urgency::Routine);
        }
    }

    fn heard(&self, number: u64, report: Report) {
        if let Some(Said::Tunnel(report)) = report.report {
            return self.heard_of(number, report);
        }
        if let Some(Said::ClientsSeen(seen)) = report.report {
            return self.saw(seen);
        }
        let news = self.service.control.heard(&self.key, &self.pod, number, |session| match report.report {
            Some(Said::Acknowledged(it)) => {
                if session.rejected.as_ref().is_some_and(|(version, _)| *version == it.version) {
                    session.rejected = None;
                }
                session.acknowledged = Some((it.version, it.served_fingerprint));
            }
            Some(Said::Rejected(it)) => session.rejected = Some((it.version, it.reason)),
            Some(Said::Surroundings(it)) => session.surroundings = Some(it.into()),
            Some(
                Said::Tunnel(_) | Said::ClientsSeen(_) | Said::Hello(_) | Said::Call(_) | Said::Cancel(_),
            )
            | None => {}
        });
        if news {
            self.service.queue.add(self.key.clone(), Urgency::Changed);
        }
    }
}

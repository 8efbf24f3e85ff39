//! A connector's place among the sessions: taken when it is let in, kept up to date with the configuration, given back
//! when dropped.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::client::conn::http2::SendRequest;
use tokio_util::sync::CancellationToken;

use super::admission::Admitted;
use super::outbound::Outbound;
use super::session::{Facts, Session};
use crate::shared::Shared;

/// A connector that is connected.
pub(crate) struct Attached {
    session: Arc<Session>,
    shared: Arc<Shared>,
    ended: CancellationToken,
}

impl Attached {
    /// Takes its place. `ended` ends the connection; it is cancelled when this is dropped, too.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        admitted: Admitted,
        remote: IpAddr,
        transport: &'static str,
        sender: SendRequest<Outbound>,
        ended: CancellationToken,
    ) -> Self {
        let Admitted { hello, principal, .. } = admitted;
        let facts = Facts {
            connector: hello.connector,
            identity: principal
                .certificate
                .as_ref()
                .map_or_else(|| principal.user.clone(), |proved| proved.identity.clone()),
            fingerprint: principal.certificate.as_ref().map(|it| it.fingerprint.clone()).unwrap_or_default(),
            remote: remote.to_canonical().to_string(),
            transport,
            since_ms: shared.clock.now_ms(),
            version: hello.binary_version.chars().take(64).collect(),
        };
        tracing::info!(connector = %facts.connector, identity = %facts.identity, remote = %facts.remote, transport, "connector connected");
        shared.metrics.connectors.inc();
        let config = shared.config();
        let tunnels = config.as_ref().and_then(|config| config.tunnels.as_deref());
        let (session, told) = shared.sessions.enter(facts, hello.offers, sender, ended.clone(), tunnels);
        drop(config);
        let tasks = &shared.lifeline.tasks;
        tasks.spawn(Arc::clone(&session).attend(told));
        tasks.spawn(follow(Arc::clone(&session), Arc::clone(shared), ended.clone()));
        Self { session, shared: Arc::clone(shared), ended }
    }

    /// Tells the connector to go elsewhere, and lets it go when nothing has come for it for a while.
    pub(crate) fn drain(&self) {
        self.session.drain();
        let (session, ended) = (Arc::clone(&self.session), self.ended.clone());
        self.shared.lifeline.tasks.spawn(async move {
            ended.run_until_cancelled(session.quiet()).await;
            ended.cancel();
        });
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.ended.cancel();
        self.shared.sessions.leave(&self.session);
        self.shared.metrics.connectors.dec();
        tracing::info!(connector = %self.session.facts.connector, "connector gone");
    }
}

/// Hears of each new configuration. A connector that has nothing to serve any more is let go, and told why when it comes
/// again.
async fn follow(session: Arc<Session>, shared: Arc<Shared>, ended: CancellationToken) {
    let mut changes = shared.changes();
    changes.mark_changed();
    loop {
        tokio::select! {
            biased;
            () = ended.cancelled() => return,
            heard = changes.changed() => if heard.is_err() { return },
        }
        let config = shared.config();
        let tunnels = config.as_ref().and_then(|config| config.tunnels.as_deref());
        if !shared.sessions.serve(&session, tunnels) {
            tracing::info!(connector = %session.facts.connector, "cut: none of its tunnels is there any more");
            return ended.cancel();
        }
    }
}

//! Who takes a request to the service: a connector of ours, or another replica that has one.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::fault::TunnelFault;
use super::names::Tunnel;
use super::outbound::Outbound;
use super::session::Session;
use crate::backend::Place;
use crate::peer::Peer;
use crate::shared::Shared;

/// How long a visitor waits for a connector that is just being connected: a rolling update, a reconnect.
const COMEBACK: Duration = Duration::from_secs(1);

/// Sends it through the least busy connector; where that turns out to be gone and nothing was sent, through another one.
pub(super) async fn send(
    shared: &Shared,
    tunnel: &Tunnel,
    mut request: Request<Outbound>,
) -> Result<(Response<Incoming>, Place), TunnelFault> {
    let mut carrier = carrier(shared, tunnel).await?;
    loop {
        match carrier.send(request).await {
            Ok(sent) => return Ok(sent),
            Err(mut failed) => {
                let Some(unsent) = failed.take_message() else {
                    let error = failed.into_error();
                    tracing::info!(tunnel = %tunnel.label, error = &error as &dyn std::error::Error, "a connector broke off");
                    return Err(match carrier {
                        Carrier::Session(_) => TunnelFault::Lost,
                        Carrier::Peer(_) => TunnelFault::Peer,
                    });
                };
                request = unsent;
            }
        }
        carrier = self::carrier(shared, tunnel).await?;
    }
}

enum Carrier {
    /// A connector of ours.
    Session(Arc<Session>),
    /// Another replica, which has one.
    Peer(Arc<Peer>),
}

impl Carrier {
    fn pick(shared: &Shared, uid: &str) -> Option<Self> {
        let session = shared.sessions.pick(uid).map(Self::Session);
        session.or_else(|| shared.peers.pick(uid).map(Self::Peer))
    }

    async fn send(
        &self,
        request: Request<Outbound>,
    ) -> Result<(Response<Incoming>, Place), TrySendError<Request<Outbound>>> {
        match self {
            Self::Session(session) => session.send(request).await,
            Self::Peer(peer) => peer.send(request).await,
        }
    }
}

/// Who takes the next request.
async fn carrier(shared: &Shared, tunnel: &Tunnel) -> Result<Carrier, TunnelFault> {
    if let Some(carrier) = Carrier::pick(shared, &tunnel.uid) {
        return Ok(carrier);
    }
    let (mut sessions, mut peers) = (shared.sessions.changes(), shared.peers.changes());
    let coming = async {
        loop {
            if let Some(carrier) = Carrier::pick(shared, &tunnel.uid) {
                return carrier;
            }
            // Neither sender is dropped before the replica is.
            tokio::select! {
                _ = sessions.changed() => {}
                _ = peers.changed() => {}
            }
        }
    };
    let full = !shared.sessions.of(&tunnel.uid).is_empty();
    match tokio::time::timeout(COMEBACK, coming).await {
        Ok(carrier) => Ok(carrier),
        Err(_) if full => Err(TunnelFault::Full),
        Err(_) => Err(TunnelFault::Offline),
    }
}

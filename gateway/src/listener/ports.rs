//! Ports of their own that tunnels hold: listened on for as long as they do.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::accept::{accept, bind, is_introduced};
use super::proxy;
use crate::shared::Shared;
use crate::tunnel::{self, Visitor};

/// How long until a port that cannot be listened on is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Listens on them until the replica stops.
pub(crate) async fn serve(address: IpAddr, shared: Arc<Shared>) {
    let stop = shared.lifeline.stop.clone();
    stop.run_until_cancelled(follow(address, &shared)).await;
}

async fn follow(address: IpAddr, shared: &Arc<Shared>) {
    let mut changes = shared.changes();
    // None: it cannot be listened on, which was said.
    let mut held: BTreeMap<u16, Option<DropGuard>> = BTreeMap::new();
    loop {
        let ports = shared.config().as_ref().and_then(|it| Some(it.tunnels.as_ref()?.ports()));
        let ports = ports.unwrap_or_default();
        held.retain(|port, _| ports.contains(port));
        for port in ports {
            let known = held.entry(port).or_default();
            if known.is_none() {
                *known = open(SocketAddr::new(address, port), shared);
            }
        }
        let missing = held.values().any(Option::is_none);
        tokio::select! {
            heard = changes.changed() => if heard.is_err() { return },
            () = tokio::time::sleep(AGAIN), if missing => {}
        }
    }
}

/// Listens there until what is returned is dropped.
fn open(address: SocketAddr, shared: &Arc<Shared>) -> Option<DropGuard> {
    let listener = match bind(address) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%address, %error, "failed to listen on a tunnel's port; trying again");
            return None;
        }
    };
    let released = shared.lifeline.stop.child_token();
    let (shared, until) = (Arc::clone(shared), released.clone());
    shared.lifeline.tasks.clone().spawn(async move {
        tracing::info!(%address, "listening for a tunnel");
        until.run_until_cancelled(take(&listener, address.port(), &shared)).await;
    });
    Some(CancellationToken::drop_guard(released))
}

async fn take(listener: &TcpListener, port: u16, shared: &Arc<Shared>) {
    let taking = Arc::clone(shared);
    accept(listener, shared, &[], |stream, peer| {
        let shared = Arc::clone(&taking);
        async move { admit(stream, peer, port, &shared).await }
    })
    .await;
}

async fn admit(mut stream: TcpStream, peer: SocketAddr, port: u16, shared: &Arc<Shared>) {
    let Some(config) = shared.config().clone() else { return };
    let Some(tunnel) = config.tunnels.as_ref().and_then(|tunnels| tunnels.on_port(port)) else { return };
    let mut address = peer.ip();
    if is_introduced(Some(&config), peer) {
        let read = tokio::time::timeout(shared.limits.handshake_time, proxy::read(&mut stream)).await;
        let Ok(Ok(on_behalf_of)) = read else { return };
        address = on_behalf_of.map_or(address, |caller| caller.ip());
    }
    let visitor = Visitor { stream, seen: Bytes::new(), alpn: Vec::new(), address };
    tunnel::pass_on(shared, tunnel, visitor).await;
}

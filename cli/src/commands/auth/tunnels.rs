//! Tunnels that are up while somebody leaves.

use std::time::Duration;

use portcullis_contract::gateway::ListTunnelsRequest;
use portcullis_contract::gateway::tunnels_client::TunnelsClient;

use crate::context::Context;
use crate::gateways::Resolved;

/// Nobody waits longer to be warned.
const PATIENCE: Duration = Duration::from_secs(5);

/// Warns of tunnels that are connected. Where the gateway does not say, there is nothing to warn of.
pub(super) async fn warn(context: &Context, gateway: &Resolved) {
    let Ok(Some(names)) = tokio::time::timeout(PATIENCE, connected(context, gateway)).await else { return };
    if !names.is_empty() {
        context.say.warn(format!(
            "tunnels that you may see here are connected: {}; their connectors go on with the tokens that they have, and cannot get new ones",
            names.join(", ")
        ));
    }
}

async fn connected(context: &Context, gateway: &Resolved) -> Option<Vec<String>> {
    let channel = context.channel(gateway).await.ok()?;
    let answer =
        TunnelsClient::new(channel.service()).list_tunnels(ListTunnelsRequest::default()).await.ok()?;
    let tunnels = answer.into_inner().tunnels.into_iter().filter(|it| it.connected > 0);
    Some(tunnels.map(|it| format!("{}/{}", it.namespace, it.name)).collect())
}

//! Changing and deleting a Tunnel, and what is told of every change: an Event beside the Tunnel, and a line in the log.

use kube::ResourceExt as _;
use portcullis_api::{Authorization, Tunnel};
use portcullis_contract::gateway::{
    self as api, DeleteTunnelRequest, DeleteTunnelResponse, UpdateTunnelRequest,
};
use tonic::Code;

use super::caller::Verb;
use super::refused::{Refused, refused};
use super::rights::Rights;
use super::{CATCH_UP, in_time, told};
use crate::cause::chain;
use crate::moment;
use crate::world::{Key, version_number};
use crate::writer;

/// What a caller did.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    Created,
    Changed,
    Deleted,
}

impl News {
    fn reason(self) -> &'static str {
        match self {
            Self::Created => "CreatedByUser",
            Self::Changed => "ChangedByUser",
            Self::Deleted => "DeletedByUser",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
        }
    }
}

pub(super) async fn update(
    rights: &Rights<'_>,
    request: &UpdateTunnelRequest,
) -> Result<api::Tunnel, Refused> {
    let tunnel = in_time(rights.tunnel(Verb::Update, &request.namespace, &request.name)).await??;
    let (_, tunnels) = rights.gateway()?;
    let moves = request.endpoint.as_ref().is_some_and(|endpoint| *endpoint != tunnel.spec.endpoint);
    // A connector of this cluster reaches what its user could not. By RBAC, who may change the Tunnel may change that.
    if moves
        && tunnel.spec.connector.is_some()
        && tunnels.authorization == Authorization::Gateway
        && !rights.caller.is_admin()
    {
        return refused(
            Code::PermissionDenied,
            "the Tunnel's connector runs in the cluster, so that only an admin may send it elsewhere",
        );
    }
    let key = Key::of(&*tunnel);
    let uid = tunnel.uid().unwrap_or_default();
    let written = rights.desk.ctx.writer.change_tunnel(&key, &uid, told::changed(request)).await?;
    if written.resource_version() != tunnel.resource_version() {
        caught_up(rights, &written).await;
        if written.metadata.generation != tunnel.metadata.generation {
            tell(rights, &written, News::Changed).await;
        }
    }
    Ok(told::tunnel(&written))
}

pub(super) async fn delete(
    rights: &Rights<'_>,
    request: &DeleteTunnelRequest,
) -> Result<DeleteTunnelResponse, Refused> {
    let tunnel = in_time(rights.tunnel(Verb::Delete, &request.namespace, &request.name)).await??;
    let (key, uid) = (Key::of(&*tunnel), tunnel.uid());
    rights.desk.ctx.writer.delete_tunnel(&key, uid.as_deref().unwrap_or_default()).await?;
    until(rights, || {
        let there = rights.desk.ctx.world.tunnel(&key);
        there.is_none_or(|it| it.uid() != uid || it.metadata.deletion_timestamp.is_some())
    })
    .await;
    tell(rights, &tunnel, News::Deleted).await;
    Ok(DeleteTunnelResponse {})
}

/// Waits until the watch has brought what was written, so that whoever looks next sees it.
pub(super) async fn caught_up(rights: &Rights<'_>, written: &Tunnel) {
    let version = version_number(written.metadata.resource_version.as_deref());
    until(rights, || {
        let there = rights.desk.ctx.world.tunnel(&Key::of(written));
        there.is_some_and(|it| version_number(it.metadata.resource_version.as_deref()) >= version)
    })
    .await;
}

async fn until(rights: &Rights<'_>, is_so: impl Fn() -> bool) {
    let mut news = rights.desk.ctx.world.listen(rights.gateway);
    // Not within `wait_for`: whoever tells of news holds the world's lock and waits for the channel's, and what is looked at
    // here needs them the other way round.
    let looking = async { while !is_so() && news.changed().await.is_ok() {} };
    // A watch that lags only means that the next look may come too soon.
    drop(tokio::time::timeout(CATCH_UP, looking).await);
}

/// Who did what, for whoever looks at the Tunnel or into the log.
pub(super) async fn tell(rights: &Rights<'_>, tunnel: &Tunnel, news: News) {
    let (gateway, user, key) = (rights.gateway, &rights.caller.user, Key::of(tunnel));
    tracing::info!(%gateway, user, tunnel = %key, "tunnel {} by a caller of the API", news.verb());
    let event = writer::News {
        warning: false,
        reason: news.reason().to_owned(),
        message: format!("{} by {user} through Gateway {gateway}", news.verb()),
    };
    let ctx = &rights.desk.ctx;
    let now = moment::timestamp(ctx.clock.now()).unwrap_or_default();
    if let Err(error) = ctx.writer.event(tunnel, &event, now).await {
        tracing::warn!(error = chain(&error), "failed to tell what a caller did; the log says it");
    }
}

//! What there is to know of one Tunnel before anything is said of it. All of it comes from memory.

use std::sync::Arc;

use kube::ResourceExt as _;
use portcullis_api::Tunnel;
use portcullis_contract::snapshot;

use crate::context::Context;
use crate::control::tunnels::Evidence;
use crate::gateway::observe::SETTLING;
use crate::gateway::validate::Rejected;
use crate::world::Key;

/// What there is to know of one Tunnel.
#[derive(Debug)]
pub struct Observed {
    /// Whether it is accepted, and with what.
    pub verdict: Option<Result<snapshot::Tunnel, Rejected>>,
    /// What the Gateway's replicas are to serve of it; None: nothing yet.
    pub published: Option<snapshot::Tunnel>,
    /// Ready replicas of the Gateway, and whether each has acknowledged all that it is to serve.
    pub replicas: Vec<(String, bool)>,
    /// What attached replicas said of it, by pod.
    pub evidence: Vec<(String, Arc<Evidence>)>,
    /// This operator has only just begun to lead: replicas may not have found it yet.
    pub settling: bool,
    /// The port that visitors of the Gateway use, and whether they speak TLS to it.
    pub door: Option<(i32, bool)>,
}

/// Gathers it.
pub fn observe(ctx: &Context, tunnel: &Tunnel) -> Observed {
    let (gateway, uid) = (Key::of_gateway(tunnel), tunnel.uid().unwrap_or_default());
    let resource = ctx.world.gateway(&gateway);
    let published = ctx.control.published(&gateway);
    let sessions = ctx.control.sessions(&gateway);
    let acknowledged = |pod: &str| {
        let said = sessions.get(pod).and_then(|session| session.acknowledged.as_ref());
        said.is_some_and(|(version, _)| published.as_ref().is_some_and(|it| it.version == *version))
    };
    let gateway_uid = resource.as_ref().and_then(|it| it.uid()).unwrap_or_default();
    let pods = ctx.world.surroundings(&gateway, &gateway_uid).pods;
    let ready = pods.iter().filter(|(_, pod)| pod.ready);
    Observed {
        verdict: ctx.claims.at(&ctx.world, &gateway).verdict(&uid).cloned(),
        published: published.as_ref().and_then(|it| it.tunnels.get(&uid).cloned()),
        replicas: ready.map(|(pod, _)| (pod.clone(), acknowledged(pod))).collect(),
        evidence: ctx.control.evidence(&gateway, &uid),
        settling: ctx.leadership.led_for() < SETTLING,
        door: resource.map(|it| (it.spec.service.port, it.spec.access.mode.scheme() == "https")),
    }
}

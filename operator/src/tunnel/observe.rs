//! What there is to know of one Tunnel before anything is said of it. All of it comes from memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt as _;
use portcullis_api::{Gateway, Tunnel};
use portcullis_contract::hostname::Hostname;
use portcullis_contract::snapshot;

use crate::children::Slot;
use crate::context::Context;
use crate::control::tunnels::Evidence;
use crate::gateway::observe::SETTLING;
use crate::gateway::validate::Rejected;
use crate::names;
use crate::world::{Bundle, Child, Content, Digest, Failing, Key, Kind, Owner, Pod, Roots, failing};

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
    /// How the Gateway is come in by.
    pub door: Option<Door>,
    /// Children by kind and name: what there is of a connector in this cluster.
    pub children: BTreeMap<Slot, Arc<Child>>,
    /// Digests of what was applied to a child and of what was found afterwards.
    pub settled: BTreeMap<Slot, (Digest, Digest)>,
    /// Pods of that connector, by name.
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// The Gateway's authority, where it is the one that the Gateway's status speaks of.
    pub authority: Option<Arc<Roots>>,
}

/// How a Gateway is come in by.
#[derive(Clone, Debug)]
pub struct Door {
    /// The Service's port.
    pub port: i32,
    /// Whether TLS is spoken to it.
    pub tls: bool,
    /// What its public names are below, in canonical form.
    pub domain: String,
}

impl Door {
    /// The door of a Gateway.
    pub fn of(gateway: &Gateway) -> Self {
        let domain = gateway.spec.tunnels.as_ref().and_then(|it| it.domain.parse().ok());
        Self {
            port: gateway.spec.service.port,
            tls: gateway.spec.access.mode.scheme() == "https",
            domain: domain.map(|domain: Hostname| domain.to_string()).unwrap_or_default(),
        }
    }
}

impl Observed {
    /// What is in the connector's Secret, if there is one.
    pub fn bundle(&self, tunnel: &str) -> Option<&Bundle> {
        match self.child(Kind::Secret, tunnel)? {
            Content::Bundle(bundle) => Some(bundle),
            _ => None,
        }
    }

    /// What keeps pods of the connector from coming up, if something does.
    pub fn failing(&self, tunnel: &str) -> Option<Failing> {
        let rollout = match self.child(Kind::Deployment, tunnel) {
            Some(Content::Deployment(rollout)) => Some(rollout),
            _ => None,
        };
        failing(rollout, &self.pods)
    }

    fn child(&self, kind: Kind, tunnel: &str) -> Option<&Content> {
        Some(&self.children.get(&(kind, names::connector(tunnel)))?.content)
    }
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
    let pods = ctx.world.surroundings(&Owner::Gateway(gateway.clone()), &gateway_uid).pods;
    let around = ctx.world.surroundings(&Owner::Tunnel(Key::of(tunnel)), &uid);
    let ready = pods.iter().filter(|(_, pod)| pod.ready);
    Observed {
        verdict: ctx.claims.at(&ctx.world, &gateway).verdict(&uid).cloned(),
        published: published.as_ref().and_then(|it| it.tunnels.get(&uid).cloned()),
        replicas: ready.map(|(pod, _)| (pod.clone(), acknowledged(pod))).collect(),
        evidence: ctx.control.evidence(&gateway, &uid),
        settling: ctx.leadership.led_for() < SETTLING,
        authority: resource.as_deref().and_then(|it| authority(ctx, it)),
        door: resource.as_deref().map(Door::of),
        children: around.children,
        settled: around.settled,
        pods: around.pods,
    }
}

/// Nothing is signed by an authority that is not the one which clients know.
fn authority(ctx: &Context, gateway: &Gateway) -> Option<Arc<Roots>> {
    let recorded = &gateway.status.as_ref()?.ca.as_ref()?.fingerprint;
    let stored = ctx.world.stored_authority(&Key::of(gateway))?;
    stored.knows(recorded).then_some(stored)
}

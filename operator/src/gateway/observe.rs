//! What there is to know before anything is decided. All of it comes from memory: the watches keep it there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_api::{Gateway, RotationPhase};
use portcullis_pki::Authority;

use crate::context::Context;
use crate::control::Session;
use crate::control::renewals::Asked;
use crate::control::seen::Sights;
use crate::names;
use crate::tunnel::claims::Claims;
use crate::world::{
    Bundle, Child, Content, Digest, Failing, Key, Kind, Owner, Pod, Purpose, Referred, Requests, Roots,
    Served, failing,
};

/// How long replicas may take to find an operator that has begun to lead.
pub const SETTLING: Duration = Duration::from_secs(30);

/// What there is around one Gateway.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Children by kind and name.
    pub children: BTreeMap<(Kind, String), Arc<Child>>,
    /// Digests of what was applied to a child and of what was found afterwards.
    pub settled: BTreeMap<(Kind, String), (Digest, Digest)>,
    /// Pods by name.
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// Ports of the Services that the backends name; None: there is no such Service.
    pub services: BTreeMap<String, Option<Vec<i32>>>,
    /// What was seen of all that it names and others write.
    pub referred: BTreeMap<(Purpose, String), Arc<Referred>>,
    /// Whether there are CertificateRequests to look at.
    pub requests: Requests,
    /// The last good authority, whether or not its Secret is there.
    pub remembered_authority: Option<Arc<Roots>>,
    /// What the replicas said on the control channel, by pod.
    pub sessions: BTreeMap<String, Session>,
    /// This operator has only just begun to lead: replicas may not have found it yet.
    pub settling: bool,
    /// Who is accepted of the Tunnels that name it.
    pub claims: Option<Arc<Claims>>,
    /// Pods that have a connector of a tunnel, by the tunnel's uid.
    pub connected: BTreeMap<String, Vec<String>>,
    /// While the authority is on its way: bundles of connectors that run in this cluster for its Tunnels.
    pub connectors: BTreeMap<Key, Arc<Child>>,
    /// When replicas have let clients in.
    pub seen: Sights,
    /// Certificates that clients ask for.
    pub renewals: Vec<Arc<Asked>>,
    /// Signs the control channel's certificates.
    pub control_authority: Option<Arc<Authority>>,
}

/// Gathers what there is around a Gateway. None while something that it names was not looked at yet: whoever took that for
/// missing would cut who comes in by it.
pub fn observe(ctx: &Context, gateway: &Gateway) -> Option<Observed> {
    let key = Key::of(gateway);
    let targets = gateway.spec.backends.iter().filter_map(|backend| backend.service.as_ref());
    let services = targets
        .map(|target| (target.name.clone(), ctx.world.service_ports(&key.namespace, &target.name)))
        .collect();
    let around = ctx
        .world
        .surroundings(&Owner::Gateway(key.clone()), gateway.metadata.uid.as_deref().unwrap_or_default());
    let referred = ctx.world.referred(gateway)?;
    let requests = ctx.world.requests(&key);
    if gateway.spec.pki.ca.issuer_ref.is_some() && requests == Requests::Unread {
        return None;
    }
    let claims = gateway.spec.tunnels.is_some().then(|| ctx.claims.at(&ctx.world, &key));
    Some(Observed {
        referred,
        requests,
        connectors: claims.as_deref().map(|claims| connectors(ctx, &key, claims)).unwrap_or_default(),
        children: around.children,
        settled: around.settled,
        pods: around.pods,
        services,
        remembered_authority: around.authority,
        sessions: ctx.control.sessions(&key),
        settling: ctx.leadership.led_for() < SETTLING,
        claims,
        connected: ctx.control.connected(&key),
        seen: ctx.control.seen(&key),
        renewals: ctx.renewals.waiting(&key),
        control_authority: ctx.control.authority(),
    })
}

/// Those of Tunnels that are accepted: what a Tunnel that is not has of a connector stays as it is.
fn connectors(ctx: &Context, key: &Key, claims: &Claims) -> BTreeMap<Key, Arc<Child>> {
    let authority = ctx.world.stored_authority(key);
    if authority.is_none_or(|it| it.course.phase == RotationPhase::Stable) {
        return BTreeMap::new();
    }
    let tunnels = ctx.world.tunnels_of(key).into_iter().filter(|tunnel| tunnel.spec.connector.is_some());
    let bundle = |tunnel: Arc<portcullis_api::Tunnel>| {
        let (key, uid) = (Key::of(&*tunnel), tunnel.metadata.uid.clone().unwrap_or_default());
        claims.verdict(&uid).filter(|verdict| verdict.is_ok())?;
        let slot = (Kind::Secret, names::connector(&key.name));
        let around = ctx.world.surroundings(&Owner::Tunnel(key.clone()), &uid);
        Some((key, around.children.get(&slot)?.clone()))
    };
    tunnels.filter_map(bundle).collect()
}

impl Observed {
    fn content(&self, kind: Kind, name: String) -> Option<&Content> {
        self.children.get(&(kind, name)).map(|child| &child.content)
    }

    /// What is in the server Secret, if there is one.
    pub fn served(&self, gateway: &str) -> Option<&Served> {
        match self.content(Kind::Secret, names::server_secret(gateway)) {
            Some(Content::Server(served)) => Some(served),
            _ => None,
        }
    }

    /// What is in a client's bundle, if there is one.
    pub fn bundle(&self, gateway: &str, client: &str) -> Option<&Bundle> {
        match self.content(Kind::Secret, names::bundle_secret(gateway, client)) {
            Some(Content::Bundle(bundle)) => Some(bundle),
            _ => None,
        }
    }

    /// What is in the authority's Secret, if there is one.
    pub fn stored_authority(&self, gateway: &str) -> Option<&Content> {
        self.content(Kind::Secret, names::authority_secret(gateway))
    }

    /// Where a load balancer answers for the Service.
    pub fn load_balancer(&self, gateway: &str) -> Option<&str> {
        match self.content(Kind::Service, gateway.to_owned()) {
            Some(Content::Service(Some(address))) => Some(address),
            _ => None,
        }
    }

    /// What keeps pods from coming up, if something does.
    pub fn failing(&self, gateway: &str) -> Option<Failing> {
        let rollout = match self.content(Kind::Deployment, gateway.to_owned()) {
            Some(Content::Deployment(rollout)) => Some(rollout),
            _ => None,
        };
        failing(rollout, &self.pods)
    }
}

//! Takes a Gateway or a Tunnel into the world, and puts whomever it is news to in the queue: what a watch has seen, and what
//! came back from a write of ours, where somebody else had changed the object by then. The watch says nothing of that
//! change any more: what came back is newer.

use kube::{Resource, ResourceExt as _};
use portcullis_api::condition::{ConditionType, holds};
use portcullis_api::{Gateway, Tunnel};

use super::{Key, World};
use crate::queue::{Queue, Urgency};

/// The world, and the queues of those who are visited.
#[derive(Clone, Copy)]
pub struct News<'a> {
    /// What is known of the cluster.
    pub world: &'a World,
    /// Gateways that wait for a visit.
    pub gateways: &'a Queue<Key>,
    /// Tunnels that wait for a visit.
    pub tunnels: &'a Queue<Key>,
}

impl News<'_> {
    /// A Gateway as it is now.
    pub fn gateway(self, gateway: Gateway, urgency: Urgency) {
        let key = Key::of(&gateway);
        let before = self.world.revision(&key);
        if self.world.put_gateway(gateway) {
            if self.world.revision(&key) != before {
                self.wake_tunnels(&key, urgency);
            }
            self.gateways.add(key, urgency);
        }
    }

    /// A Tunnel as it is now: it means something to its Gateway, and to the others that want the same name.
    pub fn tunnel(self, tunnel: Tunnel, urgency: Urgency) {
        let key = Key::of(&tunnel);
        if let Some(gateways) = self.world.put_tunnel(tunnel) {
            self.wake_rivals(&gateways, urgency);
            self.tunnels.add(key, urgency);
            for gateway in gateways {
                self.gateways.add(gateway, urgency);
            }
        }
    }

    /// What came back when a Gateway's status was written, after a visit that saw it as it was before.
    pub fn gateway_written(self, visited: &Gateway, written: Gateway) {
        if is_other(visited, &written) {
            self.gateway(written, Urgency::Changed);
        } else {
            self.world.put_gateway(written);
        }
    }

    /// What came back when a Tunnel's status was written, after a visit that saw it as it was before.
    pub fn tunnel_written(self, visited: &Tunnel, written: Tunnel) {
        if is_other(visited, &written) {
            self.tunnel(written, Urgency::Changed);
        } else {
            self.world.put_tunnel(written);
        }
    }

    /// Tunnels of a Gateway that has changed.
    pub fn wake_tunnels(self, gateway: &Key, urgency: Urgency) {
        for tunnel in self.world.tunnels_of(gateway) {
            self.tunnels.add(Key::of(&*tunnel), urgency);
        }
    }

    /// Those that were not accepted: a name or a place may be free by now.
    pub fn wake_rivals(self, gateways: &[Key], urgency: Urgency) {
        for tunnel in gateways.iter().flat_map(|gateway| self.world.tunnels_of(gateway)) {
            if !tunnel.status.as_ref().is_some_and(|it| holds(&it.conditions, ConditionType::Accepted)) {
                self.tunnels.add(Key::of(&*tunnel), urgency);
            }
        }
    }
}

/// Whether anything but the status is other than it was.
fn is_other<K: Resource>(before: &K, now: &K) -> bool {
    let (was, is) = (before.meta(), now.meta());
    was.generation != is.generation
        || before.annotations() != now.annotations()
        || before.labels() != now.labels()
        || was.deletion_timestamp.is_some() != is.deletion_timestamp.is_some()
}

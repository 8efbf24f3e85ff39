//! Whether a Gateway takes Tunnels of a namespace.

use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};
use portcullis_api::condition::{ConditionType, Reason, holds};
use portcullis_api::{NamespacesFrom, Tunnel, Tunnels};

use super::rejected;
use crate::gateway::validate::Rejected;
use crate::world::{Key, Namespaces};

/// Whether a Gateway takes this Tunnel. While labels are not known, those that were accepted stay so.
pub(super) fn allowed(
    key: &Key,
    tunnels: &Tunnels,
    tunnel: &Tunnel,
    namespaces: &Namespaces,
) -> Result<(), Rejected> {
    let namespace = tunnel.namespace().unwrap_or_default();
    let selects = tunnels.allowed_namespaces.from == NamespacesFrom::Selector;
    let accepted = tunnel.status.as_ref().is_some_and(|it| holds(&it.conditions, ConditionType::Accepted));
    if selects && accepted && namespaces.labels(&namespace).is_none() {
        return Ok(());
    }
    takes(key, tunnels, &namespace, namespaces)
}

/// The one place where that is decided; otherwise, what to do.
///
/// # Errors
/// Where it does not, or cannot say yet.
pub fn takes(key: &Key, tunnels: &Tunnels, namespace: &str, namespaces: &Namespaces) -> Result<(), Rejected> {
    let allowed = &tunnels.allowed_namespaces;
    let no = |message: String| Err(rejected(Reason::NotAllowed, message));
    match allowed.from {
        NamespacesFrom::All => Ok(()),
        NamespacesFrom::Same if namespace == key.namespace => Ok(()),
        NamespacesFrom::Same => no(format!(
            "Gateway {key} takes Tunnels of its own namespace only: move the Tunnel there, or set the Gateway's spec.tunnels.allowedNamespaces.from to All or Selector"
        )),
        NamespacesFrom::Selector => {
            let selector = allowed.selector.clone().unwrap_or_default();
            let selector: Selector = selector.try_into().map_err(|error| {
                rejected(
                    Reason::Invalid,
                    format!("the Gateway's spec.tunnels.allowedNamespaces.selector: {error}"),
                )
            })?;
            match namespaces.labels(namespace) {
                Some(labels) if selector.matches(&labels) => Ok(()),
                Some(_) => no(format!(
                    "Gateway {key} takes Tunnels of namespaces with the labels {selector}, and {namespace} has others: label it, or change the Gateway's spec.tunnels.allowedNamespaces"
                )),
                None => no(format!(
                    "Gateway {key} takes Tunnels by the labels of their namespaces, which the operator does not know yet: if it stays, look at its /readyz; one that looks after some namespaces only may not read them"
                )),
            }
        }
    }
}

//! Values that shells complete: asked for while somebody types, so nothing here waits or prints.

use clap_complete::CompletionCandidate;

use crate::accounts::Accounts;
use crate::background::Unit;
use crate::store::Store;

/// Names of stored gateways, with where they are.
pub fn gateways() -> Vec<CompletionCandidate> {
    let entries = Store::from_environment().entries().unwrap_or_default();
    let shown = entries.into_iter().map(|entry| {
        let help = entry.metadata.ok().map(|it| it.endpoint.into());
        CompletionCandidate::new(entry.name.as_str()).help(help)
    });
    shown.collect()
}

/// Tunnels that are installed as services.
pub fn services() -> Vec<CompletionCandidate> {
    let units = Unit::all().unwrap_or_default();
    units.iter().map(|unit| CompletionCandidate::new(unit.key().to_owned())).collect()
}

/// Who could be switched to, at which gateway.
pub fn accounts() -> Vec<CompletionCandidate> {
    let store = Store::from_environment();
    let entries = store.entries().unwrap_or_default();
    let others = entries.into_iter().flat_map(|entry| {
        let kept = Accounts::of(&store, entry.place, &entry.name).read().unwrap_or_default();
        let at = format!("at {}", entry.name);
        kept.others
            .into_iter()
            .map(move |it| CompletionCandidate::new(it.name().to_owned()).help(Some(at.clone().into())))
    });
    others.collect()
}

//! Values that shells complete: asked for while somebody types, so nothing here waits or prints.

use clap_complete::CompletionCandidate;

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

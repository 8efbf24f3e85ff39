//! Without an operator, the snapshot file is the configuration: read again when it changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_contract::snapshot;

use crate::shared::Shared;

const INTERVAL: Duration = Duration::from_secs(1);

/// Reads the file each second until the replica stops.
pub(crate) async fn watch(path: PathBuf, shared: Arc<Shared>) {
    let mut seen = shared.config().as_ref().map(|config| config.version.clone());
    loop {
        tokio::select! {
            () = shared.lifeline.stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let Ok(json) = tokio::fs::read(&path).await else { continue };
        let version = snapshot::version(&json);
        if seen.as_ref() != Some(&version) {
            // A rejection is counted and logged where it happens; the same file is not tried again.
            let _ = shared.apply(version.clone(), &json);
            seen = Some(version);
        }
    }
}

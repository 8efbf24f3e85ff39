//! The server's certificate and key on disk. A mounted Secret changes by a symlink's swap, which file notifications
//! miss: contents are compared instead. A pair that does not match is half-written, and waited for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_contract::files::{SERVER_CERTIFICATE, SERVER_KEY};
use sha2::{Digest as _, Sha256};

use super::certificates::KeyPair;
use crate::shared::Shared;

const INTERVAL: Duration = Duration::from_secs(1);

/// Reads the files each second, and at once when a snapshot names another certificate, until the replica stops.
pub(crate) async fn watch(directory: PathBuf, shared: Arc<Shared>) {
    let mut files = Files { directory, seen: Seen::Nothing };
    loop {
        files.refresh(&shared).await;
        tokio::select! {
            () = shared.lifeline.cut.cancelled() => return,
            () = shared.reread.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Reads the certificate for public names, where the configuration names one, in the same way. Until there is one, visitors
/// are shown the server's own.
pub(crate) async fn watch_public(shared: Arc<Shared>) {
    let mut changes = shared.changes();
    let (mut shown, mut complained) = (None, false);
    loop {
        changes.mark_unchanged();
        let directory =
            shared.config().as_ref().and_then(|config| config.tunnels.as_ref()?.certificate_dir.clone());
        let contents = match &directory {
            Some(directory) => read(Path::new(directory)).await.map(Some),
            None => Ok(None),
        };
        match contents {
            Ok(contents) if contents != shown => {
                let pair =
                    contents.as_ref().map(|(certificate, key)| KeyPair::read(certificate, key)).transpose();
                match pair
                    .map_err(|error| error.to_string())
                    .and_then(|pair| shared.certificates.present_public(pair))
                {
                    Ok(()) => tracing::info!("certificate for public names loaded"),
                    Err(error) => tracing::warn!(%error, "the certificate for public names is ignored"),
                }
                shown = contents;
            }
            Ok(_) => complained = false,
            Err(error) if !complained => {
                tracing::warn!(%error, directory, "failed to read the certificate for public names");
                complained = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = shared.lifeline.cut.cancelled() => return,
            heard = changes.changed() => if heard.is_err() { return },
            () = tokio::time::sleep(INTERVAL), if directory.is_some() => {}
        }
    }
}

/// What was read last, so that the same is neither loaded nor complained of twice.
#[derive(PartialEq, Eq)]
enum Seen {
    Nothing,
    Unreadable,
    /// Digest of both.
    Contents([u8; 32]),
}

struct Files {
    directory: PathBuf,
    seen: Seen,
}

impl Files {
    async fn refresh(&mut self, shared: &Shared) {
        let (certificate, key) = match read(&self.directory).await {
            Ok(contents) => contents,
            Err(error) => {
                if self.seen != Seen::Unreadable {
                    let directory = self.directory.display();
                    tracing::warn!(%error, %directory, "failed to read the server's certificate and key");
                }
                self.seen = Seen::Unreadable;
                return;
            }
        };
        let seen =
            Seen::Contents(Sha256::new().chain_update(&certificate).chain_update(&key).finalize().into());
        if self.seen == seen {
            return;
        }
        match KeyPair::read(&certificate, &key) {
            Ok(pair) => {
                let fingerprint = pair.fingerprint.clone();
                match shared.certificates.present(pair) {
                    Ok(()) => tracing::info!(%fingerprint, "server certificate loaded"),
                    Err(error) => tracing::error!(%error, %fingerprint, "failed to serve the certificate"),
                }
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, %source, "certificate and key on disk are ignored until they match");
            }
        }
        self.seen = seen;
    }
}

async fn read(directory: &Path) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    Ok((
        tokio::fs::read(directory.join(SERVER_CERTIFICATE)).await?,
        tokio::fs::read(directory.join(SERVER_KEY)).await?,
    ))
}

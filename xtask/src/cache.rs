//! Where things are kept that are built once: outside the checkout, in folders named after all that went into them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// The cache's folder: `PORTCULLIS_CACHE`, else the user's own.
pub(crate) fn folder() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("PORTCULLIS_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|home| home.join("portcullis")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/portcullis")))
        .context("no place for a cache: set PORTCULLIS_CACHE")?;
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    folder.canonicalize().with_context(|| format!("failed to find {}", folder.display()))
}

/// A short name for all that goes into something that is built.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    hex(&digest.finalize()[..8])
}

/// The SHA-256 of a file's bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A folder of the cache, built if it is not there yet. Whoever comes second waits for the first; whoever is killed leaves
/// nothing that the next one would take for finished.
pub(crate) fn built(name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = folder()?;
    let wanted = cache.join(name);
    if wanted.is_dir() {
        return Ok(wanted);
    }
    let guard = File::create(cache.join(format!("{name}.lock"))).context("failed to make a lock file")?;
    guard.lock().context("failed to lock the cache")?;
    if wanted.is_dir() {
        return Ok(wanted);
    }
    let half = cache.join(format!("{name}.half"));
    remove(&half)?;
    fs::create_dir_all(&half).with_context(|| format!("failed to make {}", half.display()))?;
    build(&half)?;
    fs::rename(&half, &wanted).with_context(|| format!("failed to rename to {}", wanted.display()))?;
    Ok(wanted)
}

/// Removes a folder and all in it; that there is none is as good.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_apart_what_concatenation_would_not() {
        assert_ne!(key([b"ab".as_slice(), b"c"]), key([b"a".as_slice(), b"bc"]));
        assert_eq!(key([b"a".as_slice()]).len(), 16);
    }
}

//! Files that are read again when they change. A mounted Secret changes by a symlink's swap, which file notifications miss:
//! contents are compared instead.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// Files, and what was in them when somebody looked.
#[derive(Debug, Default)]
pub struct Watched(BTreeMap<PathBuf, Option<u64>>);

impl Watched {
    /// Watches these too, from what is in them now. To be called before they are read: what changes meanwhile is noticed.
    pub async fn see(&mut self, paths: impl Iterator<Item = &PathBuf>) {
        for path in paths {
            self.0.insert(path.clone(), digest(path).await);
        }
    }

    /// Looks again: what is in them now is no news.
    pub async fn look(&mut self) {
        for (path, seen) in &mut self.0 {
            *seen = digest(path).await;
        }
    }

    /// Waits until one of them is another than it was.
    pub async fn changed(&self) -> PathBuf {
        loop {
            tokio::time::sleep(INTERVAL).await;
            for (path, seen) in &self.0 {
                if digest(path).await != *seen {
                    return path.clone();
                }
            }
        }
    }
}

/// None where it cannot be read. It tells contents apart, and keeps none of them.
async fn digest(path: &Path) -> Option<u64> {
    let contents = Zeroizing::new(tokio::fs::read(path).await.ok()?);
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_that_points_elsewhere_is_a_change_and_the_same_contents_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("one", "a"), ("same", "a"), ("other", "b")] {
            fs::write(at(name), text).unwrap();
        }
        let point = |to: &str| {
            symlink(at(to), at("next")).unwrap();
            fs::rename(at("next"), at("link")).unwrap();
        };
        point("one");
        let mut watched = Watched::default();
        watched.see([at("link"), at("missing")].iter()).await;
        point("same");
        let waited = tokio::time::timeout(10 * INTERVAL, watched.changed()).await;
        assert!(waited.is_err(), "{waited:?}");
        point("other");
        assert_eq!(watched.changed().await, at("link"));
        watched.look().await;
        fs::write(at("missing"), "").unwrap();
        assert_eq!(watched.changed().await, at("missing"));
    }
}

//! A lock between commands that run at once. It ends with whoever holds it, however that ends.

use std::fs::File;
use std::io;

use super::Error;
use super::folder::Folder;

/// Held until dropped.
#[derive(Debug)]
#[must_use]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds it.
    pub(super) fn take(folder: &Folder, name: &str) -> Result<Self, Error> {
        let file = folder.open_lock(name)?;
        file.lock().map_err(|error| failed(folder, name, error))?;
        Ok(Self { _file: file })
    }
}

fn failed(folder: &Folder, name: &str, source: io::Error) -> Error {
    Error::System { verb: "lock", path: folder.path(name), source }
}

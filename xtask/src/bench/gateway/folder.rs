//! A folder for this run only.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command;

/// Gone when dropped.
pub(in crate::bench) struct Folder(PathBuf);

impl Folder {
    pub(in crate::bench) fn made() -> Result<Self> {
        let made =
            command::output(Command::new("mktemp").args(["-d", "--tmpdir", "portcullis-bench.XXXXXXXX"]))?;
        Ok(Self(PathBuf::from(made.trim())))
    }

    pub(in crate::bench) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

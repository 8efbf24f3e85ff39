//! A home for one test, and the command in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A home that nobody else has.
pub(crate) struct Home {
    folder: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A file or folder in it.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// A file or folder of the configuration.
    pub(crate) fn config(&self, inside: &str) -> PathBuf {
        let folder = self.path("config/portcullis");
        if inside.is_empty() { folder } else { folder.join(inside) }
    }

    /// Writes a file, with what leads to it.
    pub(crate) fn put(&self, inside: &str, text: &str) -> PathBuf {
        let at = self.path(inside);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, text).unwrap();
        at
    }

    /// An executable script. Another process writes it: what this one has written cannot be run while a program that
    /// another thread has just started still has it open.
    pub(crate) fn script(&self, inside: &str, text: &str) -> PathBuf {
        let (source, at) = (self.put(&format!("{inside}.txt"), text), self.path(inside));
        assert!(Command::new("install").args(["-m", "755"]).arg(source).arg(&at).status().unwrap().success());
        at
    }

    /// A gateway as if it had been added.
    pub(crate) fn stored(&self, name: &str, metadata: &str) {
        self.put(&format!("config/portcullis/gateways/{name}/metadata.json"), metadata);
    }

    /// The command, with nothing of this machine's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).env_clear().env("HOME", self.path("")).stdin(Stdio::null());
        command.env("XDG_CONFIG_HOME", self.path("config"));
        command
    }

    /// Runs it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        Told::of(&self.command(arguments).output().unwrap())
    }

    /// Runs it; it must go well.
    pub(crate) fn well(&self, arguments: &[&str]) -> Told {
        let told = self.run(arguments);
        assert_eq!(told.code, Some(0), "{arguments:?}: {told:?}");
        told
    }
}

impl Told {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Whether a folder holds this file.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

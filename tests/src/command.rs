//! The real command line in a home of its own. End-to-end tests only.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::door::text;

/// A home that nobody else has, on a machine that knows nothing but a kubeconfig.
#[derive(Debug)]
pub struct Home(TempDir);

impl Home {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A file or folder in it.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    /// Writes a file, with what leads to it.
    pub fn put(&self, inside: &str, bytes: &[u8]) -> PathBuf {
        let at = self.path(inside);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(&at, bytes).unwrap();
        at
    }

    /// `portcullis` with these arguments.
    pub fn portcullis(&self, arguments: &[&str]) -> Command {
        let binary =
            std::env::var("PORTCULLIS_CLI_BIN").expect("cargo xtask test says where our binaries are");
        self.program(Path::new(&binary), arguments)
    }

    /// Another program in this home.
    pub fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("HOME", self.0.path()).env("XDG_CONFIG_HOME", self.path(".config"));
        command.env_remove("PORTCULLIS_GATEWAY").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs it.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.portcullis(arguments).output().await.unwrap()
    }

    /// Runs it; what it prints. Fails the test where it fails.
    pub async fn well(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {} {}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// The same, as JSON.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let out = self.well(&[arguments, &["-o", "json"]].concat()).await;
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Runs it; it must end with this code. What it says on standard error.
    pub async fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments).await;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out} {err}");
        err
    }
}

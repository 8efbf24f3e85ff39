//! Chromium, walked by npm playwright-core: what a person does, and what they see.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{contained, folder, roots, sources};
use crate::door::text;

/// A home for a browser, in which the parts' authority is trusted.
pub struct Browser {
    folder: TempDir,
    resolve: Value,
}

/// What became of a walk.
#[derive(Debug, Deserialize)]
pub struct Walk {
    /// Where the program listened that waits for the one-time code.
    pub port: u16,
    /// The pages that were looked at.
    pub seen: Vec<Seen>,
    /// What came to the program.
    pub calls: Vec<Call>,
    /// What the browser's console said.
    pub complaints: Vec<String>,
    /// The step that could not be done, if one could not.
    pub failed: Option<Value>,
}

/// A page that was looked at.
#[derive(Debug, Deserialize)]
pub struct Seen {
    /// What the walk calls it.
    #[serde(rename = "as")]
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its text, as it is shown.
    pub text: String,
    /// What stands on its buttons.
    pub buttons: Vec<String>,
    /// The texts of the frames in it.
    pub frames: Vec<String>,
    /// Its address.
    pub url: String,
    /// Its status.
    pub status: Option<u16>,
    /// Its picture.
    pub file: PathBuf,
    /// The share of pixels that differ from the picture that it was compared with.
    pub difference: Option<f64>,
}

/// A request to the program that waits for the one-time code.
#[derive(Debug, Deserialize)]
pub struct Call {
    /// Its method.
    pub method: String,
    /// Its query.
    pub query: std::collections::BTreeMap<String, String>,
    /// Where it says that it comes from.
    pub referer: Option<String>,
}

impl Browser {
    /// One that finds these names at these addresses.
    pub async fn new(resolve: &[(String, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut home = Command::new("bash");
        home.arg(sources().join("browser/home.sh")).arg(folder.path()).arg(roots());
        let output = home.output().await.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let resolve = resolve.iter().map(|(name, address)| (name.clone(), json!(address))).collect();
        Self { folder, resolve: Value::Object(resolve) }
    }

    /// Walks; `walk.mjs` says which steps there are.
    pub async fn walk(&self, java_script: bool, steps: &Value) -> Walk {
        let walk = json!({
            "chromium": "/usr/bin/chromium", "folder": self.folder.path(), "resolve": self.resolve,
            "javaScript": java_script, "steps": steps,
        });
        let mut node = contained("node");
        node.arg(folder().join("browser/walk.mjs"));
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = node.spawn().unwrap();
        child.stdin.take().unwrap().write_all(walk.to_string().as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        let walk = serde_json::from_slice::<Walk>(&output.stdout);
        let walk =
            walk.unwrap_or_else(|error| panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr)));
        self.keep_pictures(&walk);
        assert_eq!(walk.failed, None, "a step failed; seen before: {:#?}", walk.seen);
        walk
    }

    /// Keeps the pictures where whoever ran the tests can look at them.
    fn keep_pictures(&self, walk: &Walk) {
        let Some(kept) = std::env::var_os("PORTCULLIS_TEST_PICTURES") else { return };
        std::fs::create_dir_all(&kept).unwrap();
        let files =
            walk.seen.iter().map(|seen| seen.file.clone()).chain([self.folder.path().join("failed.png")]);
        for file in files.filter(|file| file.exists()) {
            std::fs::copy(&file, Path::new(&kept).join(file.file_name().unwrap())).unwrap();
        }
    }
}

impl Walk {
    /// The page that the walk called so.
    pub fn page(&self, name: &str) -> &Seen {
        self.seen
            .iter()
            .find(|seen| seen.name == name)
            .unwrap_or_else(|| panic!("{name} was not seen: {:#?}", self.seen))
    }
}

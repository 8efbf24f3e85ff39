//! The chart, as Helm renders it: the newest Helm and the one before it.
//!
//! What must not live here: what is expected of it; tests say that.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde::Deserialize as _;
use serde_json::Value;

use crate::door::{fed, text, tool};

/// A Helm, by its program's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helm(&'static str);

/// Helm 4.
pub const HELM: Helm = Helm("helm");
/// Helm 3, then Helm 4.
pub const HELMS: [Helm; 2] = [Helm("helm3"), HELM];

impl Helm {
    /// A subcommand of a release in a namespace, with these values as YAML; says how it went.
    pub async fn run(self, namespace: &str, arguments: &[&str], values: &str) -> Output {
        let mut helm = tool(self.0);
        helm.args(["--namespace", namespace]).args(arguments);
        if matches!(arguments[0], "install" | "upgrade" | "template" | "lint") {
            helm.arg(folder()).args(["--values", "-"]);
        }
        fed(&mut helm, Some(values)).await
    }

    /// The same; fails the test where it fails. Returns what it prints.
    pub async fn done(self, namespace: &str, arguments: &[&str], values: &str) -> String {
        let output = self.run(namespace, arguments, values).await;
        assert!(output.status.success(), "{self:?} {arguments:?} {values}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What the chart renders to, without what is for `helm test`.
    pub async fn template(self, namespace: &str, values: &str) -> String {
        self.done(namespace, &["template", "portcullis", "--skip-tests"], values).await
    }
}

/// The chart's folder.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/portcullis")
}

/// Every document of a YAML stream that is not empty.
pub fn objects(stream: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(stream);
    let documents = documents.map(|it| Value::deserialize(it).expect("it is YAML"));
    documents.filter(|it| !it.is_null()).collect()
}

/// The one object of a kind and name.
pub fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

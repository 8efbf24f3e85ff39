//! What GitOps tools make of an object, said by their own code: kstatus, by which Flux goes, and Argo CD's engine with the
//! health checks that our example gives it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::chart::objects;
use crate::door::{run, tool};

/// The folder with the examples for them.
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/examples/gitops")
}

/// What kstatus says of an object, given as JSON: `Current`, `InProgress`, `Failed`, …
pub async fn kstatus(object: &str) -> String {
    run(&mut tool("kstatus"), Some(object)).await.trim().to_owned()
}

/// What Argo CD says of an object, given as JSON: `Healthy`, `Progressing`, `Degraded`, `Suspended`, …, and why.
pub async fn argo_health(object: &str) -> (String, String) {
    let configuration = std::fs::read_to_string(examples().join("argocd-cm.yaml")).unwrap();
    let configuration = objects(&configuration).remove(0);
    let kind = serde_json::from_str::<Value>(object).unwrap()["kind"].as_str().unwrap().to_owned();
    let check = &configuration["data"][format!("resource.customizations.health.portcullis.dev_{kind}")];
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&script, check.as_str().unwrap()).unwrap();
    let said = run(tool("argo").arg(script.path()), Some(object)).await;
    let (status, message) = said.trim().split_once(' ').unwrap_or((said.trim(), ""));
    (status.to_owned(), message.to_owned())
}

//! GitOps pipelines: our examples for them, against the definitions that Argo CD and Flux publish, and what both tools make
//! of every state that a Gateway or a Tunnel can be in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portcullis_tests::chart::{HELM, object, objects};
use portcullis_tests::gitops::{argo_health, examples, kstatus};
use portcullis_tests::{apply_strictly, client, install_definitions, namespace};
use serde_json::{Value, json};

const DEFINITIONS: [&str; 5] = [
    "application-crd.yaml",
    "appproject-crd.yaml",
    "source.toolkit.fluxcd.io_gitrepositories.yaml",
    "kustomize.toolkit.fluxcd.io_kustomizations.yaml",
    "helm.toolkit.fluxcd.io_helmreleases.yaml",
];

#[tokio::test]
async fn argo_cd_and_flux_take_the_examples_as_they_stand_and_another_apply_changes_nothing() {
    let client = client().await;
    let namespace = namespace(&client).await;
    install_definitions(&client, &DEFINITIONS).await;
    let mut kinds = BTreeMap::new();
    for file in ["argocd.yaml", "argocd-cm.yaml", "flux.yaml"] {
        for document in objects(&std::fs::read_to_string(examples().join(file)).unwrap()) {
            let mut versions = Vec::new();
            // Flux's definitions have a default of the status, which is kept with the first change: from then on, nothing is.
            for _ in 0..3 {
                let taken = apply_strictly(&client, &namespace, &document).await;
                let taken = taken.unwrap_or_else(|error| panic!("{file}: {error}\n{document}"));
                let taken = serde_json::to_value(taken).unwrap();
                assert!(holds(&taken["spec"], &document["spec"]), "{file}: not all of it was kept: {taken}");
                versions.push(taken["metadata"]["resourceVersion"].clone());
            }
            assert_eq!(versions[1], versions[2], "{file}: {document}");
            *kinds.entry(document["kind"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
    }
    let wanted = ["AppProject", "Application", "ConfigMap", "GitRepository", "HelmRelease", "Kustomization"];
    assert_eq!(kinds.keys().map(String::as_str).collect::<Vec<_>>(), wanted);
    let typo = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": { "name": "typo" },
        "spec": { "project": "default", "destinations": {} },
    });
    let refused = apply_strictly(&client, &namespace, &typo).await.unwrap_err().to_string();
    assert!(refused.contains("spec.destinations"), "{refused}");
}

#[tokio::test]
async fn argo_cds_project_allows_what_the_chart_makes_and_no_more() {
    let documents = objects(&std::fs::read_to_string(examples().join("argocd.yaml")).unwrap());
    let project = object(&documents, "AppProject", "portcullis");
    let allowed = project["spec"]["clusterResourceWhitelist"].as_array().unwrap();
    let allowed = allowed
        .iter()
        .map(|it| format!("{}/{}", it["group"].as_str().unwrap(), it["kind"].as_str().unwrap()));
    let mut made: BTreeSet<String> = ["/Namespace".to_owned()].into();
    let values = "{admissionPolicy: {enabled: true}}";
    for made_of in objects(&HELM.template("portcullis-system", values).await) {
        if made_of["metadata"]["namespace"].is_null() {
            let (group, kind) = (made_of["apiVersion"].as_str().unwrap(), made_of["kind"].as_str().unwrap());
            made.insert(format!("{}/{kind}", group.rsplit_once('/').map_or("", |it| it.0)));
        }
    }
    assert_eq!(allowed.collect::<BTreeSet<_>>(), made);
    for application in documents.iter().filter(|it| it["kind"] == "Application") {
        let (spec, allowed) = (&application["spec"], &project["spec"]);
        assert_eq!(spec["project"], "portcullis");
        assert!(allowed["sourceRepos"].as_array().unwrap().contains(&spec["source"]["repoURL"]), "{spec}");
        assert!(allowed["destinations"].as_array().unwrap().contains(&spec["destination"]), "{spec}");
    }
}

/// Whether all that is wanted is there; defaults may stand beside it.
fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| there.get(name).is_some_and(|it| holds(it, value)))
        }
        (there, wanted) => there == wanted,
    }
}

/// Every state that the golden plans know, by its case: the object with its status.
fn states(kind: &str, room: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../operator/src").join(room).join("snapshots");
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let state = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().split('@').nth(1).unwrap().to_owned();
        // What insta notes of a snapshot is a document of its own.
        let status = objects(&text).remove(1)["status"].take();
        let object = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": kind,
            "metadata": { "name": "it", "namespace": "shop", "generation": status["observedGeneration"] },
            "status": status,
        });
        (name, object)
    };
    files.filter(|it| it.extension().is_some_and(|end| end == "snap")).map(state).collect()
}

/// Status and reason of a condition.
fn condition<'a>(object: &'a Value, kind: &str) -> Option<(&'a str, &'a str)> {
    let condition = object["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == kind)?;
    Some((condition["status"].as_str()?, condition["reason"].as_str()?))
}

#[tokio::test]
async fn argo_cd_and_kstatus_say_of_every_state_what_its_conditions_say() {
    let mut seen = BTreeMap::new();
    for (case, state) in [states("Gateway", "gateway"), states("Tunnel", "tunnel")].concat() {
        let text = state.to_string();
        let ((argo, why), flux) = (argo_health(&text).await, kstatus(&text).await);
        let ready = condition(&state, "Ready");
        let stalled = condition(&state, "Stalled").is_some_and(|it| it.0 == "True");
        let off = condition(&state, "Accepted").is_some_and(|it| it.1 == "Suspended")
            || ready.is_some_and(|it| it.1 == "Disabled" || it.1 == "NoReplicas");
        let wanted = match ready {
            _ if off => "Suspended",
            Some(("True", _)) => "Healthy",
            _ if stalled => "Degraded",
            _ => "Progressing",
        };
        assert_eq!(argo, wanted, "{case}: {why} {state:#}");
        // What is switched off is no failure to Flux, whether it waits or goes on.
        let wanted = match ready {
            _ if off && flux != "Failed" => flux.as_str(),
            Some(("True", _)) => "Current",
            _ if stalled => "Failed",
            _ => "InProgress",
        };
        assert_eq!(flux, wanted, "{case}: {state:#}");
        assert!(!why.is_empty(), "{case}: Argo CD shows no words");
        *seen.entry(format!("{} {argo}", state["kind"].as_str().unwrap())).or_insert(0) += 1;
        // Of an earlier generation, nothing is said by either.
        let mut newer = state;
        newer["metadata"]["generation"] = 9.into();
        let newer = newer.to_string();
        let said = (kstatus(&newer).await, argo_health(&newer).await.0);
        assert_eq!(said.0, "InProgress", "{case}");
        assert!(off || said.1 == "Progressing", "{case}: {said:?}");
    }
    let states = ["Degraded", "Healthy", "Progressing", "Suspended"];
    let all = ["Gateway", "Tunnel"].iter().flat_map(|kind| states.map(|state| format!("{kind} {state}")));
    assert_eq!(seen.keys().cloned().collect::<Vec<_>>(), all.collect::<Vec<_>>(), "{seen:?}");
}

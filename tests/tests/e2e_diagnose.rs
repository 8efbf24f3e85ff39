//! What `portcullis diagnose` packs of a cluster in which something is broken: all that is needed, and no secret.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use portcullis_tests::command::Home;
use portcullis_tests::door::{Door, run, text};
use portcullis_tests::{PATIENCE, tunnel};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

const SECRET: &str = "hunter2-of-the-tests";

fn spec() -> String {
    format!(
        "
replicas: 1
tunnels: {{domain: t.example.com}}
clients: [{{name: alice, user: alice@example.com}}]
podTemplate: {{spec: {{containers: [{{name: gateway, env: [{{name: SHOP_PASSWORD, value: {SECRET}}}]}}]}}}}
"
    )
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_for_support_has_what_is_broken_and_no_secret() {
    let door = Door::ready(&spec()).await;
    tunnel::apply(
        &door.client,
        &door.namespace,
        "web",
        "{gatewayRef: {name: door}, label: web, endpoint: 'http://localhost:1', access: {auth: None}}",
    )
    .await;
    tunnel::until(&door.client, &door.namespace, "web", ["Ready", "False", "NoConnector"]).await;

    let home = Home::new();
    let (of, well) = (format!("tunnel {}/web", door.namespace), format!("gateway {}/door", door.namespace));
    // The Gateway may still be told that its replica has taken over the Tunnel.
    let began = Instant::now();
    let (file, told) = loop {
        let file = home.path(&format!("all-{}.tar.gz", began.elapsed().as_millis()));
        let arguments = ["diagnose", "-n", &door.namespace, "--file", file.to_str().unwrap()];
        let told = home.json(&arguments).await;
        if !told["broken"].as_array().unwrap().iter().any(|it| it["of"] == well) {
            break (file, told);
        }
        assert!(began.elapsed() < PATIENCE, "{told:#}");
        sleep(Duration::from_millis(500)).await;
    };
    let arguments = ["diagnose", "-n", &door.namespace, "--file", file.to_str().unwrap()];
    let broken = told["broken"].as_array().unwrap();
    assert!(broken.iter().any(|it| it["of"] == of && it["reason"] == "NoConnector"), "{told:#}");
    assert_eq!(
        (&told["gateways"], &told["tunnels"], &told["notRead"]),
        (&1.into(), &1.into(), &serde_json::json!([]))
    );
    // Nothing is overwritten, and people are told in words.
    assert!(home.fails(&arguments, 7).await.contains("--file"));
    let words =
        home.well(&["diagnose", "-n", &door.namespace, "--file", home.path("again").to_str().unwrap()]).await;
    assert!(words.contains("NoConnector") && words.contains("Broken:"), "{words}");

    let folder = tempfile::tempdir().unwrap();
    run(Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(folder.path()), None).await;
    let files = files(folder.path());
    let find = |ending: &str| {
        let found = files.iter().filter(|(path, _)| path.to_str().unwrap().contains(ending));
        found.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n")
    };
    let ours = format!("namespaces/{}", door.namespace);
    for (file, wanted) in [
        (format!("{ours}/gateways/door.yaml"), "alice@example.com"),
        (format!("{ours}/tunnels/web.yaml"), "NoConnector"),
        (format!("{ours}/deployments/door.yaml"), "SHOP_PASSWORD"),
        (format!("{ours}/configmaps/door-config.yaml"), "data:"),
        (format!("{ours}/services/"), "clusterIP"),
        (format!("{ours}/pods/"), "containerStatuses"),
        (format!("{ours}/logs/"), "\"level\""),
        (format!("{ours}/events.txt"), "Gateway door"),
        (format!("{ours}/secrets.yaml"), "door-client-alice"),
        (format!("{ours}/secrets.yaml"), "notAfter"),
        ("namespaces/portcullis-system/logs/".to_owned(), "\"level\""),
        ("namespaces/portcullis-system/leases/".to_owned(), "holderIdentity"),
        ("versions.yaml".to_owned(), "kubernetes: v1."),
        ("definitions.yaml".to_owned(), "tunnels.portcullis.dev"),
        ("broken.txt".to_owned(), "NoConnector"),
    ] {
        let text = find(&file);
        assert!(text.contains(wanted), "{wanted} is not in {file}: {text}");
    }

    // Nothing that is secret in these namespaces, in any form that it could have.
    let mut hidden = vec![SECRET.to_owned(), "PRIVATE KEY-----".to_owned()];
    for namespace in [door.namespace.as_str(), "portcullis-system"] {
        let secrets: Api<Secret> = Api::namespaced(door.client.clone(), namespace);
        for secret in secrets.list(&ListParams::default()).await.unwrap().items {
            for value in secret.data.unwrap_or_default().into_values() {
                if text(&value.0).contains("PRIVATE KEY") {
                    hidden.push(STANDARD.encode(&value.0));
                    hidden.extend(text(&value.0).lines().filter(|it| it.len() > 30).map(str::to_owned));
                }
            }
        }
    }
    assert!(hidden.len() > 8, "{}", hidden.len());
    for (path, text) in &files {
        for it in &hidden {
            assert!(!text.contains(it.as_str()), "{} has {it}", path.display());
        }
    }
}

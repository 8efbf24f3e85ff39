//! OpenShell's own Python SDK, from PyPI, through our mutual TLS, with a configuration directory that our command line wrote.

use std::fs;
use std::process::Stdio;

use portcullis_tests::command::Home;
use portcullis_tests::door::{Door, text};
use portcullis_tests::ports;
use portcullis_tests::real::{NODE, folder, sources};
use portcullis_tests::tunnel::Running;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn openshell_s_own_sdk_comes_in_with_a_directory_that_was_exported() {
    let python = folder().join("openshell/bin/python");
    // A backend outside of the cluster, which pods reach by the machine's address.
    let port = ports::free(NODE);
    let mut server = Command::new(&python);
    server.arg(sources().join("openshell/server.py")).arg(format!("{NODE}:{port}"));
    server.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = Running(server.spawn().unwrap());
    let told = server.0.stdout.take().unwrap();
    let line = BufReader::new(told).lines().next_line().await.unwrap();
    assert_eq!(line.as_deref(), Some("listening"));

    let door = Door::site().await;
    let outside = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "openshell" },
          "spec": { "ports": [{ "name": "grpc", "port": 80, "targetPort": port }] } },
        { "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
          "metadata": { "name": "openshell", "labels": { "kubernetes.io/service-name": "openshell" } },
          "addressType": "IPv4", "ports": [{ "name": "grpc", "port": port }],
          "endpoints": [{ "addresses": [NODE] }] },
    ] });
    door.kubectl(&["apply", "-f", "-"], Some(&outside.to_string())).await;
    let mut spec = json!({
        "clients": [{ "name": "laptop", "user": "alice" }],
        "backends": [{
            "name": "openshell", "match": { "grpcService": "openshell.v1.OpenShell" },
            "service": { "name": "openshell", "port": 80 }, "protocol": "H2C",
        }],
    });
    door.apply(&spec.to_string()).await;
    door.until_ready().await;
    // The SDK looks for the endpoint's own host in the certificate, and this machine knows no names of the cluster.
    let address = door.address().await;
    spec["pki"] = json!({ "server": { "ipAddresses": [address] } });
    door.apply(&spec.to_string()).await;
    door.until_ready().await;

    let home = Home::new();
    home.well(&["gateway", "add", "--from-kube", &format!("{}/door", door.namespace), "--name", "shop"])
        .await;
    let folder = home.path(".config/openshell");
    home.well(&["gateway", "export", folder.to_str().unwrap(), "--form", "openshell"]).await;
    let client = sources().join("openshell/client.py");
    let told = home.program(&python, &[client.to_str().unwrap()]).output().await.unwrap();
    assert!(told.status.success(), "{}", text(&told.stderr));
    assert_eq!(text(&told.stdout), "1 alice\n", "healthy, and the backend is told who is asking");

    // Without its key it does not come in.
    fs::remove_file(folder.join("gateways/shop/mtls/tls.key")).unwrap();
    let refused = home.program(&python, &[client.to_str().unwrap()]).output().await.unwrap();
    assert!(!refused.status.success(), "{}", text(&refused.stdout));
}

//! Tunnels by the gateway's API, with grpcurl: without an account in the cluster, and with one's own Tunnels only.

use std::path::Path;
use std::process::Output;

use portcullis_tests::door::{Door, json_of, text};
use portcullis_tests::tunnel::{code, connector, service, until};
use serde_json::{Value, json};

const SPEC: &str = "
tunnels: {domain: t.example.com, maxTunnelsPerUser: 2}
clients:
  - {name: alice, user: alice@example.com, roles: [user], scopes: ['tunnel:read', 'tunnel:write', 'project:read']}
  - {name: bob, user: bob@example.com, roles: [user], scopes: ['tunnel:read', 'tunnel:write']}
  - {name: carol, user: carol@example.com, roles: [user], scopes: ['tunnel:read']}
";

async fn call(door: &Door, who: &Path, method: &str, request: Value) -> Output {
    door.grpcurl_with(who, &format!("portcullis.gateway.v1.{method}"), &request.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_use_the_gateway_creates_tunnels_by_its_api_and_manages_their_own() {
    let door = Door::ready(SPEC).await;
    let (alice, bob, carol) =
        (door.bundle("alice").await, door.bundle("bob").await, door.bundle("carol").await);
    door.until_code(&alice, "/healthz", "200").await;
    let logs = tempfile::tempdir().unwrap();
    let (_httpbin, port) = service().await;
    let endpoint = format!("http://localhost:{port}");
    let projects = json_of(&call(&door, &alice, "Projects/ListProjects", json!({})).await);
    assert_eq!(projects["projects"][0]["name"], json!(door.namespace));

    let wanted =
        json!({ "endpoint": endpoint, "connector": "laptop", "access": { "auth": "VISITOR_AUTH_NONE" } });
    let created = json_of(&call(&door, &alice, "Tunnels/CreateTunnel", wanted.clone()).await);
    assert_eq!(created["created"], json!(true), "{created}");
    assert_eq!(created["tunnel"]["createdBy"], json!("alice@example.com"));
    let name = created["tunnel"]["name"].as_str().unwrap().to_owned();
    let again = json_of(&call(&door, &alice, "Tunnels/CreateTunnel", wanted.clone()).await);
    assert_eq!((again.get("created"), &again["tunnel"]["name"]), (None, &json!(name)), "not another one");

    let _running = connector(&door, &name, &alice, &endpoint, &logs.path().join("log")).await;
    until(&door.client, &door.namespace, &name, ["Ready", "True", "Ready"]).await;
    let mine = json_of(&call(&door, &alice, "Tunnels/GetTunnel", json!({ "name": name })).await);
    let host = mine["url"].as_str().unwrap().strip_prefix("https://").unwrap();
    let ready = mine["conditions"].as_array().unwrap().iter().find(|it| it["type"] == "Ready").unwrap();
    assert_eq!(ready["status"], "True", "{mine}");
    assert_eq!(code(&door, &alice, host, "/status/200").await, "200");
    let described = door.kubectl(&["describe", "tunnel", &name], None).await;
    assert!(described.contains("CreatedByUser") && described.contains("alice@example.com"), "{described}");

    // What is somebody else's is not there, and who may only look changes nothing.
    let refused = [
        (&bob, "Tunnels/DeleteTunnel", json!({ "name": name }), "NotFound"),
        (&carol, "Tunnels/CreateTunnel", wanted, "PermissionDenied"),
        (&bob, "Tunnels/CreateTunnel", json!({ "endpoint": "ftp://localhost:21" }), "InvalidArgument"),
    ];
    for (who, method, request, code) in refused {
        let said = text(&call(&door, who, method, request).await.stderr);
        assert!(said.contains(code), "{method}: {said}");
    }
    let none = json_of(&call(&door, &bob, "Tunnels/ListTunnels", json!({})).await);
    assert_eq!(none, json!({}));

    let off = call(&door, &alice, "Tunnels/UpdateTunnel", json!({ "name": name, "enabled": false })).await;
    assert!(off.status.success(), "{}", text(&off.stderr));
    until(&door.client, &door.namespace, &name, ["Ready", "False", "Disabled"]).await;
    assert_eq!(code(&door, &alice, host, "/").await, "503");
    let gone = call(&door, &alice, "Tunnels/DeleteTunnel", json!({ "name": name })).await;
    assert!(gone.status.success(), "{}", text(&gone.stderr));
    door.kubectl(&["wait", "--for=delete", &format!("tunnel/{name}"), "--timeout=180s"], None).await;
}

//! Tunnels to services outside of the cluster: applied with kubectl, connected by the real connector, visited with curl.

use portcullis_tests::door::{Door, json_of, text};
use portcullis_tests::ports;
use portcullis_tests::tunnel::{self, SPEC, code, connector, connector_with, service, until, visit};
use tokio::time::Instant;

const WEB: &str = "web.t.example.com";

fn web(port: u16, more: &str) -> String {
    format!(
        "{{apiVersion: portcullis.dev/v1alpha1, kind: Tunnel, metadata: {{name: web}}, spec: {{gatewayRef: {{name: door}}, label: web, endpoint: 'http://127.0.0.1:{port}', access: {{auth: None}}{more}}}}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_s_service_outside_answers_on_its_public_name_and_the_status_is_proof() {
    let door = Door::ready(SPEC).await;
    let (bundle, logs) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    let (mut httpbin, port) = service().await;
    let mut running =
        connector(&door, "web", &bundle, &format!("http://localhost:{port}"), &logs.path().join("log")).await;
    let applied = Instant::now();
    door.kubectl(&["apply", "-f", "-"], Some(&web(port, ""))).await;
    let ready = until(&door.client, &door.namespace, "web", ["Ready", "True", "Ready"]).await;
    println!(
        "from apply to Ready: {:?}; {:?}",
        applied.elapsed(),
        ready.status.as_ref().unwrap().time_to_first_byte
    );
    // Ready is never before reachable.
    assert_eq!(code(&door, &bundle, WEB, "/status/200").await, "200");

    let answer =
        json_of(&visit(&door, &bundle, WEB, "/get?x=1&x=2", &["--header", "X-Portcullis-User: root"]).await);
    assert_eq!(answer["args"], serde_json::json!({ "x": ["1", "2"] }));
    assert_eq!(answer["headers"]["Host"], serde_json::json!([WEB]));
    assert!(answer["headers"].get("X-Portcullis-User").is_none(), "{answer}");
    for version in ["--http1.1", "--http2"] {
        let body = "x".repeat(100_000);
        let posted = visit(&door, &bundle, WEB, "/post", &[version, "--data-binary", &body]).await;
        assert!(text(&posted.stdout).contains(&body), "{}", text(&posted.stderr));
    }
    // No certificate is asked for on a public name, and none of the gateway's own names answers there.
    let own = visit(
        &door,
        &bundle,
        WEB,
        "/",
        &["--header", &format!("Host: {}", door.host()), "--http1.1", "--write-out", "%{http_code}"],
    )
    .await;
    assert!(text(&own.stdout).ends_with("421"), "{}", text(&own.stdout));

    let table = door.kubectl(&["get", "tunnels", "-o", "wide"], None).await;
    assert!(
        table.contains("https://web.t.example.com") && table.contains("door") && table.contains("True"),
        "{table}"
    );
    let status = ready.status.unwrap();
    assert_eq!(status.connections[0].transport, "tls");
    assert!(
        status.connections[0].identity.ends_with("/gateway/door/client/connector"),
        "{:?}",
        status.connections
    );

    // The endpoint goes: the status says which hop broke, and visitors are told too.
    httpbin.0.kill().await.unwrap();
    drop(httpbin);
    assert_eq!(code(&door, &bundle, WEB, "/").await, "502");
    let broken = until(&door.client, &door.namespace, "web", ["Reachable", "False", "ProbeFailed"]).await;
    assert!(tunnel::condition(&broken, "Ready").unwrap().message.starts_with("at the endpoint: "));
    // A probe that was under way when it went says so; the next one knows what to do.
    tunnel::until_said(&door.client, &door.namespace, "web", "Ready", "start the service").await;
    let described = door.kubectl(&["describe", "tunnel", "web"], None).await;
    assert!(described.contains("at the endpoint"), "{described}");

    // The connector goes, from one moment to the next.
    running.0.kill().await.unwrap();
    let gone = until(&door.client, &door.namespace, "web", ["Connected", "False", "NoConnector"]).await;
    assert!(tunnel::condition(&gone, "Ready").unwrap().message.contains("portcullis connector"));
    assert_eq!(code(&door, &bundle, WEB, "/").await, "503");
    let log = std::fs::read_to_string(logs.path().join("log")).unwrap();
    assert!(log.contains("serving") && log.contains("connected") && !log.contains("PRIVATE"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_is_switched_off_says_so_and_a_name_that_is_taken_is_refused() {
    let door = Door::ready(SPEC).await;
    let (bundle, logs) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    let (_httpbin, port) = service().await;
    let _running =
        connector(&door, "web", &bundle, &format!("http://localhost:{port}"), &logs.path().join("log")).await;
    door.kubectl(&["apply", "-f", "-"], Some(&web(port, ", enabled: false"))).await;
    until(&door.client, &door.namespace, "web", ["Ready", "False", "Disabled"]).await;
    assert_eq!(code(&door, &bundle, WEB, "/").await, "503");
    let page = text(&visit(&door, &bundle, WEB, "/", &["--header", "Accept: text/html"]).await.stdout);
    assert!(page.contains("switched off"), "{page}");
    door.kubectl(
        &["patch", "tunnel", "web", "--type=merge", "--patch", r#"{"spec":{"enabled":true}}"#],
        None,
    )
    .await;
    until(&door.client, &door.namespace, "web", ["Ready", "True", "Ready"]).await;
    assert_eq!(code(&door, &bundle, WEB, "/status/200").await, "200");

    let rival = web(port, "")
        .replace("name: web}", "name: rival}")
        .replace("label: web", "hostnames: [WEB.t.example.com]");
    door.kubectl(&["apply", "-f", "-"], Some(&rival)).await;
    let refused =
        until(&door.client, &door.namespace, "rival", ["Accepted", "False", "HostnameConflict"]).await;
    assert!(tunnel::condition(&refused, "Accepted").unwrap().message.contains("/web"), "{refused:?}");
    // Released, the name goes to who waits for it.
    door.kubectl(&["delete", "tunnel", "web"], None).await;
    until(&door.client, &door.namespace, "rival", ["Accepted", "True", "Accepted"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_through_a_tunnel_do_not_wait_for_each_other() {
    let door = Door::ready(SPEC).await;
    let (bundle, logs) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    let (_httpbin, port) = service().await;
    let _running =
        connector(&door, "web", &bundle, &format!("http://localhost:{port}"), &logs.path().join("log")).await;
    door.kubectl(&["apply", "-f", "-"], Some(&web(port, ""))).await;
    until(&door.client, &door.namespace, "web", ["Ready", "True", "Ready"]).await;
    let path = "/stream-bytes/100000?chunk_size=10000";
    let more = ["--output", "/dev/null", "--write-out", "%{size_download}"];
    assert_eq!(text(&visit(&door, &bundle, WEB, path, &more).await.stdout), "100000");
    let many: Vec<_> = (0..50).map(|_| code(&door, &bundle, WEB, "/delay/1")).collect();
    let began = Instant::now();
    let codes = futures::future::join_all(many).await;
    assert!(codes.iter().all(|code| code == "200"), "{codes:?}");
    // One after the other, they would take fifty seconds at least.
    assert!(began.elapsed().as_secs() < 45, "requests wait for each other: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_s_connector_runs_in_the_cluster_where_that_is_asked_for() {
    let door = Door::ready(SPEC).await;
    let bundle = door.bundle("connector").await;
    let inside = format!(
        "{{apiVersion: portcullis.dev/v1alpha1, kind: Tunnel, metadata: {{name: web}}, spec: {{gatewayRef: {{name: door}}, label: web, endpoint: 'http://httpbin.{}.svc:80', access: {{auth: None}}, connector: {{replicas: 2}}}}}}",
        door.namespace
    );
    door.kubectl(&["apply", "-f", "-"], Some(&inside)).await;
    let ready = until(&door.client, &door.namespace, "web", ["Ready", "True", "Ready"]).await;
    assert_eq!(code(&door, &bundle, WEB, "/status/200").await, "200");
    let identity = &ready.status.unwrap().connections[0].identity;
    assert!(identity.ends_with(&format!("/gateway/door/tunnel/{}/web", door.namespace)), "{identity}");
    // Its pods hold no credential of the cluster.
    let pods = door
        .kubectl(&["get", "deployment", "web-connector", "-o", "jsonpath={.spec.template.spec}"], None)
        .await;
    assert!(pods.contains("\"automountServiceAccountToken\":false"), "{pods}");
    door.kubectl(&["delete", "tunnel", "web"], None).await;
    door.kubectl(&["wait", "--for=delete", "deployment/web-connector", "--timeout=180s"], None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_takes_up_what_its_file_says_and_what_is_under_way_is_not_cut() {
    let door = Door::ready(SPEC).await;
    let (bundle, folder) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    let (_httpbin, port) = service().await;
    let endpoint = format!("http://localhost:{port}");
    let metrics = ports::free("127.0.0.1");
    let offered = |name: &str| format!("- {{name: {}/{name}, endpoints: ['{endpoint}']}}\n", door.namespace);
    let told = |tunnels: &str| format!("metricsListen: 127.0.0.1:{metrics}\ntunnels:\n{tunnels}");
    let config = folder.path().join("connector.yaml");
    // As a whole: what is half written would be read as what it is by then.
    let write = |text: &str| {
        std::fs::write(folder.path().join("half"), text).unwrap();
        std::fs::rename(folder.path().join("half"), &config).unwrap();
    };
    write(&told(&offered("web")));
    let arguments = ["--config", config.to_str().unwrap()];
    let mut running = connector_with(&door, &bundle, &folder.path().join("log"), &arguments).await;
    tunnel::ready_web(&door, &endpoint, "").await;

    // Underway for longer than it takes to go over to what is new.
    let slow = ["--write-out", "%{http_code}"];
    let path = "/drip?duration=8&numbytes=8&code=200&delay=0";
    let changing = async {
        write(&told(&(offered("web") + &offered("api"))));
        let spec = format!(
            "{{gatewayRef: {{name: door}}, label: api, endpoint: '{endpoint}', access: {{auth: None}}}}"
        );
        tunnel::apply(&door.client, &door.namespace, "api", &spec).await;
        until(&door.client, &door.namespace, "api", ["Ready", "True", "Ready"]).await;
    };
    let (slow, ()) = tokio::join!(visit(&door, &bundle, WEB, path, &slow), changing);
    assert_eq!(text(&slow.stdout), "********200", "{}", text(&slow.stderr));

    // What cannot be read replaces nothing.
    write("tunnels: [");
    let page = || async {
        let url = format!("http://127.0.0.1:{metrics}/metrics");
        let mut curl = tokio::process::Command::new("curl");
        text(&curl.args(["--silent", "--fail", &url]).output().await.unwrap().stdout)
    };
    let counts = async |line: &str| {
        let began = Instant::now();
        while !page().await.lines().any(|it| it == line) {
            assert!(began.elapsed() < portcullis_tests::PATIENCE, "{line} is not in\n{}", page().await);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    counts(r#"portcullis_connector_reloads_total{result="failed"} 1"#).await;
    counts(r#"portcullis_connector_reloads_total{result="ok"} 1"#).await;
    assert_eq!(code(&door, &bundle, WEB, "/status/200").await, "200");

    // SIGHUP is the same, also where nothing has changed.
    write(&told(&offered("web")));
    counts(r#"portcullis_connector_reloads_total{result="ok"} 2"#).await;
    let pid = running.0.id().unwrap().to_string();
    assert!(tokio::process::Command::new("kill").args(["-HUP", &pid]).status().await.unwrap().success());
    counts(r#"portcullis_connector_reloads_total{result="ok"} 3"#).await;
    until(&door.client, &door.namespace, "api", ["Connected", "False", "NoConnector"]).await;
    assert_eq!(code(&door, &bundle, WEB, "/status/200").await, "200");
    assert!(running.0.try_wait().unwrap().is_none());
}

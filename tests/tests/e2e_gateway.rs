//! A Gateway in a cluster with a real node, met with the tools that people use.

use std::time::Duration;

use portcullis_operator::world::Kind;
use portcullis_tests::door::{Door, json_of, text};
use portcullis_tests::gitops::{argo_health, kstatus};
use portcullis_tests::{PATIENCE, is, managed, message, tunnel, until};
use serde_json::json;
use tokio::time::{Instant, sleep};

const SPEC: &str = "
clients: [{name: alice, user: alice@example.com, roles: [admin, dev]}, {name: bob}]
backends: [{name: httpbin, match: {pathPrefix: /}, service: {name: httpbin, port: 80}, forwardClientCertificate: true}]
";

#[tokio::test(flavor = "multi_thread")]
async fn curl_grpcurl_and_a_health_probe_get_answers_with_the_bundle() {
    let door = Door::ready(SPEC).await;
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/healthz", "200").await;

    let forged = [
        "--header",
        "X-Portcullis-User: root",
        "--header",
        "X-Forwarded-For: 192.0.2.1",
        "--header",
        "x_portcullis_roles: root",
    ];
    let answer = json_of(&door.curl(Some(&alice), "/get?x=1&x=2", &forged).await);
    assert_eq!(answer["args"], json!({ "x": ["1", "2"] }));
    let headers = answer["headers"].as_object().unwrap();
    assert_eq!(headers["X-Portcullis-User"], json!(["alice@example.com"]));
    assert_eq!(headers["X-Portcullis-Roles"], json!(["admin,dev"]));
    assert_eq!(headers["X-Forwarded-Proto"], json!(["https"]));
    assert!(!text(answer.to_string().as_bytes()).contains("192.0.2.1"), "{answer}");
    assert!(!headers.keys().any(|name| name.contains('_')), "{answer}");
    assert!(headers["Client-Cert"][0].as_str().unwrap().starts_with(':'));

    for (version, shown) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let body = "x".repeat(100_000);
        let more = [version, "--data-binary", &body, "--write-out", "\n%{http_version} %{http_code}"];
        let output = text(&door.curl(Some(&alice), "/post", &more).await.stdout);
        assert!(
            output.ends_with(&format!("\n{shown} 200")) && output.contains(&body),
            "{}",
            &output[output.len() - 20..]
        );
    }

    let who = door.grpcurl(&alice, "portcullis.gateway.v1.Gateway/WhoAmI").await;
    let who = json_of(&who);
    assert_eq!(who["user"], "alice@example.com");
    assert_eq!(who["roles"], json!(["admin", "dev"]));
    assert_eq!(
        who["identity"],
        format!("spiffe://cluster.local/ns/{}/gateway/door/client/alice", door.namespace)
    );
    let info = json_of(&door.grpcurl(&alice, "portcullis.gateway.v1.Gateway/GetInfo").await);
    assert_eq!((&info["name"], &info["mode"]), (&json!("door"), &json!("MutualTLS")));
    let probe = door.health_probe(&alice).await;
    assert!(probe.status.success(), "{}", text(&probe.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_in_without_a_certificate_of_this_very_gateway() {
    let (door, other) = tokio::join!(Door::ready(SPEC), Door::ready(SPEC));
    let (alice, stranger) = (door.bundle("alice").await, other.bundle("alice").await);
    door.until_code(&alice, "/healthz", "200").await;
    door.turned_away(None, "/get", "certificate required").await;
    door.turned_away(Some(&stranger), "/get", "alert").await;
    // The server's own certificate is signed by the right authority, and is none of a client.
    let server = door.kubectl(&["get", "secret", "door-server", "-o", "jsonpath={.data}"], None).await;
    let server: serde_json::Value = serde_json::from_str(&server).unwrap();
    assert!(
        server.get("control.key").is_some(),
        "the Secret holds the control channel's key, mounted into pods only"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_removed_is_shut_out_at_once_and_the_others_are_not() {
    let door = Door::ready(SPEC).await;
    let (alice, bob) = (door.bundle("alice").await, door.bundle("bob").await);
    door.until_code(&bob, "/get", "200").await;
    door.apply(&SPEC.replace(", {name: bob}", "")).await;
    door.until_ready().await;
    door.turned_away(Some(&bob), "/get", "certificate revoked").await;
    assert_eq!(door.code(&alice, "/get").await, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_by_the_running_pods_and_proved_by_its_fingerprint() {
    let door = Door::ready(SPEC).await;
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/get", "200").await;
    let pods = door.kubectl(&["get", "pods", "-l", "portcullis.dev/gateway=door", "-o", "name"], None).await;
    let before = door.served_fingerprint(&alice).await;
    door.apply(&format!("{SPEC}\npki: {{server: {{dnsNames: [door.example.com]}}}}")).await;
    let gateway = door.until_ready().await;
    let wanted = gateway.status.unwrap().server_certificate.unwrap().fingerprint;
    assert_ne!(wanted, before);
    assert_eq!(door.served_fingerprint(&alice).await, wanted, "Ready says that it is served");
    assert_eq!(
        door.kubectl(&["get", "pods", "-l", "portcullis.dev/gateway=door", "-o", "name"], None).await,
        pods
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_backend_is_503_on_its_own_path_and_the_others_are_served() {
    let door = Door::site().await;
    door.apply(
        "
clients: [{name: alice}]
backends:
  - {name: httpbin, match: {pathPrefix: /}, service: {name: httpbin, port: 80}}
  - {name: gone, match: {pathPrefix: /gone}, service: {name: gone, port: 80}}
",
    )
    .await;
    let served = |gateway: &portcullis_api::Gateway| {
        is("Programmed", "True", "Programmed")(gateway) && is("Ready", "False", "BackendNotFound")(gateway)
    };
    until(&door.client, &door.namespace, "door", served).await;
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/get", "200").await;
    let answer = door.curl(Some(&alice), "/gone", &["--write-out", "%{http_code}"]).await;
    let answer = text(&answer.stdout);
    assert!(answer.ends_with("503") && answer.contains("gone"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_is_reached_beside_the_gateway() {
    let door = Door::ready(
        "
clients: [{name: alice}]
replicas: 1
backends: [{name: beside, match: {pathPrefix: /}, sidecar: {port: 8000}}]
podTemplate:
  spec:
    containers:
      - name: beside
        image: localhost/go-httpbin:dev
        args: [-host, 127.0.0.1, -port, '8000']
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
",
    )
    .await;
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/get", "200").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_start_is_told_in_the_kubelets_words() {
    let door = Door::site().await;
    door.apply(&format!("{SPEC}\nimage: localhost/not-there:1")).await;
    let failing = |gateway: &portcullis_api::Gateway| {
        is("Ready", "False", "PodFailing")(gateway)
            && message(gateway, "Ready").contains("localhost/not-there:1")
    };
    let gateway = until(&door.client, &door.namespace, "door", failing).await;
    assert!(message(&gateway, "Ready").starts_with("pod door-"), "{}", message(&gateway, "Ready"));
    let described = door.kubectl(&["describe", "gateway", "door"], None).await;
    assert!(described.contains("PodFailing") && described.contains("not-there:1"), "{described}");
    door.apply(SPEC).await;
    door.until_ready().await;

    // The next one that cannot start is none of the callers' business.
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/get", "200").await;
    door.apply(&format!("{SPEC}\nimage: localhost/not-there:2")).await;
    let failing = |gateway: &portcullis_api::Gateway| {
        is("Degraded", "True", "PodFailing")(gateway)
            && message(gateway, "Degraded").contains("localhost/not-there:2")
    };
    let gateway = until(&door.client, &door.namespace, "door", failing).await;
    assert!(is("Ready", "True", "Ready")(&gateway), "{gateway:#?}");
    door.until_code(&alice, "/get", "200").await;
    door.apply(SPEC).await;
    until(&door.client, &door.namespace, "door", |it| message(it, "Degraded").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_hold_no_credential_of_the_cluster_and_answer_their_own_probes() {
    let door = Door::ready(SPEC).await;
    let pods = door.kubectl(&["get", "pods", "-l", "portcullis.dev/gateway=door", "-o", "json"], None).await;
    let pods: serde_json::Value = serde_json::from_str(&pods).unwrap();
    for pod in pods["items"].as_array().unwrap() {
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        let kinds: Vec<_> =
            volumes.iter().flat_map(|it| it.as_object().unwrap().keys()).filter(|it| *it != "name").collect();
        assert_eq!(kinds, ["configMap", "secret"], "no ServiceAccount token is mounted");
        let address = pod["status"]["podIP"].as_str().unwrap();
        for (port, path, shown) in [(8081, "readyz", "ok"), (9090, "metrics", "portcullis_gateway_")] {
            let url = format!("http://{address}:{port}/{path}");
            let output = tokio::process::Command::new("curl")
                .args(["-s", "--max-time", "60", &url])
                .output()
                .await
                .unwrap();
            assert!(text(&output.stdout).contains(shown), "{url}: {}", text(&output.stdout));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_under_whatever_uid_a_cluster_gives_them() {
    // As OpenShift does: a number of the namespace's own that no image knows, and group 0.
    let given = "{runAsUser: 1000660000, runAsGroup: 0, fsGroup: 1000660000}";
    let door = Door::ready(&format!("{SPEC}\npodTemplate: {{spec: {{securityContext: {given}}}}}")).await;
    door.until_code(&door.bundle("alice").await, "/get", "200").await;
    let uids = "jsonpath={.items[*].spec.securityContext.runAsUser}";
    let uids = door.kubectl(&["get", "pods", "-l", "portcullis.dev/gateway=door", "-o", uids], None).await;
    assert!(!uids.is_empty() && uids.split(' ').all(|uid| uid == "1000660000"), "{uids}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_costs_no_request() {
    let door = Door::ready(SPEC).await;
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/get", "200").await;
    let restart =
        format!("{SPEC}\npodTemplate: {{metadata: {{annotations: {{example.com/restarted: '1'}}}}}}");
    let old = door.kubectl(&["get", "pods", "-l", "portcullis.dev/gateway=door", "-o", "name"], None).await;
    let gone: Vec<_> = ["wait", "--for=delete", "--timeout=240s"].into_iter().chain(old.lines()).collect();
    let rolled = async {
        door.apply(&restart).await;
        door.kubectl(&gone, None).await;
    };
    tokio::pin!(rolled);
    let (mut answers, mut failures) = (0, Vec::new());
    loop {
        tokio::select! {
            () = &mut rolled => break,
            code = door.code(&alice, "/get") => {
                answers += 1;
                if code != "200" { failures.push(code); }
            }
        }
    }
    assert!(answers > 10, "only {answers} requests were made");
    assert!(failures.is_empty(), "{} of {answers} failed: {failures:?}", failures.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn kstatus_and_argo_say_of_a_gateway_and_a_tunnel_what_their_conditions_say() {
    let door = Door::site().await;
    // What replicas have still to take over may show for a moment.
    let until_said = async |name: &str, wanted: [Option<&'static str>; 2]| {
        let began = Instant::now();
        loop {
            let object = door.kubectl(&["get", name, "-o", "json"], None).await;
            let said = [kstatus(&object).await, argo_health(&object).await.0];
            if said.iter().zip(wanted).all(|(said, wanted)| wanted.is_none_or(|it| it == said)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{name}: {said:?}, not {wanted:?}");
            sleep(Duration::from_millis(200)).await;
        }
    };
    let both = |kstatus: &'static str, argo: &'static str| [Some(kstatus), Some(argo)];
    let spec = format!("{SPEC}\ntunnels: {{domain: t.example.com}}");
    door.apply(&format!("{spec}\nimage: localhost/not-there:1")).await;
    until(&door.client, &door.namespace, "door", is("Ready", "False", "PodFailing")).await;
    until_said("gateway/door", both("Failed", "Degraded")).await;
    let web = "{gatewayRef: {name: door}, label: web, access: {auth: None}, endpoint: 'http://localhost:1'}";
    tunnel::apply(&door.client, &door.namespace, "web", web).await;
    until_said("tunnel/web", both("InProgress", "Progressing")).await;
    door.apply(&spec).await;
    door.until_ready().await;
    until_said("gateway/door", both("Current", "Healthy")).await;

    // It waits for a connector; it never will have the name that another one has.
    tunnel::until(&door.client, &door.namespace, "web", ["Ready", "False", "NoConnector"]).await;
    until_said("tunnel/web", both("InProgress", "Progressing")).await;
    tunnel::apply(&door.client, &door.namespace, "rival", web).await;
    tunnel::until(&door.client, &door.namespace, "rival", ["Ready", "False", "HostnameConflict"]).await;
    until_said("tunnel/rival", both("Failed", "Degraded")).await;
    let off = format!("{}, enabled: false}}", web.trim_end_matches('}'));
    tunnel::apply(&door.client, &door.namespace, "web", &off).await;
    tunnel::until(&door.client, &door.namespace, "web", ["Ready", "False", "Disabled"]).await;
    until_said("tunnel/web", [None, Some("Suspended")]).await;
    let inside = format!(
        "{{gatewayRef: {{name: door}}, endpoint: 'http://httpbin.{}.svc:80', access: {{auth: None}}, connector: {{}}}}",
        door.namespace
    );
    tunnel::apply(&door.client, &door.namespace, "inside", &inside).await;
    tunnel::until(&door.client, &door.namespace, "inside", ["Ready", "True", "Ready"]).await;
    until_said("tunnel/inside", both("Current", "Healthy")).await;
    door.kubectl(&["patch", "gateway", "door", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#], None)
        .await;
    until(&door.client, &door.namespace, "door", is("Accepted", "True", "Suspended")).await;
    until_said("gateway/door", [None, Some("Suspended")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_logged_by_their_id_while_the_level_says_so_and_no_pod_is_replaced_for_it() {
    let door = Door::ready(SPEC).await;
    let (alice, pods) = (door.bundle("alice").await, door.pods().await);
    door.until_code(&alice, "/get", "200").await;
    let logged = async |id: &str| {
        let logs = door.kubectl(&["logs", "-l", "portcullis.dev/gateway=door", "--tail=-1"], None).await;
        let of_it = logs.lines().filter(|line| line.contains(id)).map(str::to_owned);
        of_it.collect::<Vec<_>>()
    };
    // A line is there a moment after its request: whoever looks for one waits for it.
    let until_logged = async |id: &str| {
        let began = Instant::now();
        loop {
            let lines = logged(id).await;
            if !lines.is_empty() {
                return lines;
            }
            assert!(began.elapsed() < PATIENCE, "nothing is logged of {id}");
            sleep(Duration::from_millis(200)).await;
        }
    };
    let ask = async |id: &str| {
        let field = format!("X-Request-Id: {id}");
        json_of(&door.curl(Some(&alice), "/get?token=nobodys-business", &["--header", &field]).await)
    };
    ask("quiet-1").await;
    door.apply(&format!("{SPEC}\nlogLevel: Debug")).await;
    door.until_ready().await;
    let told = ask("loud-1").await;
    assert_eq!(told["headers"]["X-Request-Id"], json!(["loud-1"]));
    let lines = until_logged("loud-1").await;
    assert_eq!(logged("quiet-1").await, Vec::<String>::new());
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let wanted = json!(["loud-1", "GET", "/get", "http1", 200]);
    let got = ["id", "method", "path", "route", "status"].map(|field| line[field].clone());
    assert_eq!((json!(got), lines.len()), (wanted, 1), "{line}");
    assert!(!lines[0].contains("nobodys-business"), "{line}");
    // One that nobody numbered has a number all the same.
    let told = json_of(&door.curl(Some(&alice), "/get", &[]).await);
    let id = told["headers"]["X-Request-Id"][0].as_str().unwrap().to_owned();
    assert_eq!(until_logged(&id).await.len(), 1);
    door.apply(SPEC).await;
    door.until_ready().await;
    ask("quiet-2").await;
    assert_eq!(logged("quiet-2").await, Vec::<String>::new());
    assert_eq!(door.pods().await, pods);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_gateway_leaves_nothing() {
    let door = Door::ready(SPEC).await;
    door.kubectl(&["delete", "gateway", "door", "--wait"], None).await;
    for kind in Kind::ALL {
        let resource = kind.resource();
        let gone =
            ["wait", "--for=delete", &resource.plural, "-l", "portcullis.dev/gateway=door", "--timeout=180s"];
        door.kubectl(&gone, None).await;
    }
    // What was being written when the Gateway went is taken away with its owner, a moment later.
    let began = Instant::now();
    loop {
        let left = managed(&door.client, &door.namespace).await;
        if left.is_empty() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", left.keys());
        sleep(Duration::from_millis(200)).await;
    }
}

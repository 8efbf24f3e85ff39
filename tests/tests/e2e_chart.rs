//! The life of a release while a Gateway serves: upgraded, rolled back, uninstalled with and without its definitions, by
//! Helm 3 and Helm 4 in turn. One test: all of it is about the one operator of the cluster.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_tests::PATIENCE;
use portcullis_tests::chart::{HELM, HELMS, Helm};
use portcullis_tests::door::{Door, kubectl, run, text, tool};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const SYSTEM: &str = "portcullis-system";
const RELEASE: &str = "portcullis";

/// With a client more, whom replicas are told of as soon as an operator leads.
fn spec(client: &str) -> String {
    format!(
        "{{clients: [{{name: alice}}, {{name: {client}}}], backends: [{{name: httpbin, match: {{pathPrefix: /}}, service: {{name: httpbin, port: 80}}}}]}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_upgraded_rolled_back_and_uninstalled_and_takes_nothing_with_it_that_it_should_not() {
    let values = HELM.done(SYSTEM, &["get", "values", RELEASE, "--output=json"], "").await;
    let values: Value = serde_json::from_str(&values).unwrap();
    let lived = tokio::spawn(lives(values.clone())).await;
    // The tests that come after this one need an operator.
    install(HELM, &values).await;
    lived.unwrap();
}

async fn lives(values: Value) {
    let door = Door::ready(&spec("bob")).await;
    let alice = door.bundle("alice").await;
    door.until_code(&alice, "/get", "200").await;
    let born = uid(&door, "gateways.portcullis.dev/door").await;
    let [authority, served] = [uid(&door, "secret/door-ca").await, door.served_fingerprint(&alice).await];

    those_of_a_namespace_may_have_gateways(&door.namespace).await;
    for helm in HELMS {
        a_request_goes_through_a_gateway_of_its_own(SYSTEM, helm).await;
    }
    the_notes_lead_to_a_gateway(&door, &values).await;

    // Upgraded and rolled back, with requests that go on.
    for (step, helm) in HELMS.into_iter().enumerate() {
        let mut other = values.clone();
        other["podAnnotations"]["example.com/step"] = step.to_string().into();
        let old = values["gateway"]["image"]["tag"].as_str().unwrap();
        let new = format!("{old}-upgraded-{step}");
        tag_gateway_image(old, &new).await;
        other["gateway"]["image"]["tag"] = new.as_str().into();
        while_serving(
            &door,
            Box::pin(async {
                let before = operators().await;
                install(helm, &other).await;
                assert_ne!(operators().await, before, "{helm:?} replaced no pod");
                assert_eq!(annotation().await, step.to_string());
                until_gateway_runs(&door, &new).await;
                helm.done(SYSTEM, &["rollback", RELEASE], "").await;
                rolled_out().await;
                assert_eq!(annotation().await, "");
                until_gateway_runs(&door, old).await;
                // The one that leads now knows the replicas, and tells them what is new.
                door.apply(&spec(&format!("upgraded-{step}"))).await;
                door.until_ready().await;
            }),
        )
        .await;
    }

    // Uninstalled, with definitions that are kept: what serves goes on, and the next release takes it over.
    for (step, helm) in HELMS.into_iter().enumerate() {
        while_serving(
            &door,
            Box::pin(async {
                let said = helm.done(SYSTEM, &["uninstall", RELEASE, "--wait"], "").await;
                assert!(said.contains("[CustomResourceDefinition] gateways.portcullis.dev"), "{said}");
                nothing_is_left().await;
                install(helm, &values).await;
                door.apply(&spec(&format!("installed-{step}"))).await;
                door.until_ready().await;
            }),
        )
        .await;
        assert_eq!(uid(&door, "gateways.portcullis.dev/door").await, born);
        assert_eq!(uid(&door, "secret/door-ca").await, authority);
        assert_eq!(door.served_fingerprint(&alice).await, served);
    }

    // Uninstalled with its definitions: every Gateway goes, and what belongs to it.
    for helm in HELMS {
        let mut other = values.clone();
        other["crds"] = json!({ "keep": false });
        install(helm, &other).await;
        if helm == HELM {
            // The first round took all Gateways with it.
            door.apply(&spec("bob")).await;
            door.until_ready().await;
        }
        helm.done(SYSTEM, &["uninstall", RELEASE], "").await;
        let definitions = ["gateways.portcullis.dev", "tunnels.portcullis.dev"].map(|it| format!("crd/{it}"));
        for gone in definitions {
            kubectl(SYSTEM, &["wait", "--for=delete", &gone, "--timeout=180s"], None).await;
        }
        for gone in ["deployment/door", "secret/door-ca", "secret/door-client-alice", "service/door"] {
            door.kubectl(&["wait", "--for=delete", gone, "--timeout=180s"], None).await;
        }
        nothing_is_left().await;
    }
    operators_live_side_by_side(&values).await;
}

/// `view`, `edit` and `admin` of a namespace, as the controller manager has put them together.
async fn those_of_a_namespace_may_have_gateways(namespace: &str) {
    let cases = [
        ("view", "get", "gateways", true),
        ("view", "create", "gateways", false),
        ("view", "list", "tunnels", true),
        ("edit", "create", "gateways", true),
        ("edit", "patch", "tunnels", true),
        ("edit", "patch", "gateways/status", false),
        ("admin", "delete", "gateways", true),
        ("admin", "patch", "gateways/status", false),
    ];
    for role in ["view", "edit", "admin"] {
        let bind =
            ["create", "rolebinding", role, &format!("--clusterrole={role}"), &format!("--user={role}")];
        kubectl(namespace, &bind, None).await;
    }
    for (user, verb, resource, may) in cases {
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        let mut ask = tool("kubectl");
        ask.args(["auth", "can-i", verb, &format!("{resource}.portcullis.dev"), "--subresource", part]);
        ask.args(["--as", user, "--namespace", namespace]);
        // Bindings are known a moment after they were made: each user's first case says when.
        let began = Instant::now();
        loop {
            let said = text(&ask.output().await.unwrap().stdout);
            if (said.trim() == "yes") == may {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{user} {verb} {resource}: {said}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// `helm test`, which leaves nothing where it goes well.
async fn a_request_goes_through_a_gateway_of_its_own(namespace: &str, helm: Helm) {
    let said = helm.done(namespace, &["test", RELEASE, "--timeout=3m"], "").await;
    assert!(said.contains("Succeeded"), "{said}");
    for gone in ["pod", "configmap", "gateways.portcullis.dev", "deployment", "secret"] {
        let name = if gone == "secret" { "portcullis-test-client-test" } else { "portcullis-test" };
        let gone = format!("{gone}/{name}");
        kubectl(namespace, &["wait", "--for=delete", &gone, "--timeout=180s"], None).await;
    }
}

/// `helm test` fails where Gateways have no image to run, and leaves a pod that says what it tried; once they have one, it
/// goes well.
async fn no_request_goes_through_a_gateway_that_does_not_run(door: &Door, helm: Helm, values: &Value) {
    let mut broken = values.clone();
    broken["gateway"]["image"]["tag"] = "nowhere".into();
    let upgraded = async |values: &Value| {
        helm.done(&door.namespace, &["upgrade", RELEASE], &values.to_string()).await;
        let rolled = ["rollout", "status", "deployment/portcullis-operator", "--timeout=240s"];
        door.kubectl(&rolled, None).await;
    };
    upgraded(&broken).await;
    let output = helm.run(&door.namespace, &["test", RELEASE, "--timeout=45s"], "").await;
    assert!(!output.status.success(), "{helm:?}: {}", text(&output.stdout));
    // Between two tries there may be nothing, and before the first one no container.
    let began = Instant::now();
    loop {
        let mut logs = tool("kubectl");
        logs.args(["--namespace", &door.namespace, "logs", "pod/portcullis-test"]);
        let output = logs.output().await.unwrap();
        let said = text(&output.stdout);
        if said.contains("error:") && said.contains("portcullis-test") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{said} {}", text(&output.stderr));
        sleep(Duration::from_millis(200)).await;
    }
    upgraded(values).await;
    a_request_goes_through_a_gateway_of_its_own(&door.namespace, helm).await;
}

/// Does what the notes say, to the letter.
async fn the_notes_lead_to_a_gateway(door: &Door, values: &Value) {
    let mut other = values.clone();
    other["gateways"] = json!([{ "name": "listed", "namespace": door.namespace, "spec": { "clients": [{ "name": "alice" }] } }]);
    let printed = HELM.done(SYSTEM, &["upgrade", RELEASE], &other.to_string()).await;
    let (_, notes) = printed.split_once("NOTES:\n").unwrap();
    let commands: Vec<_> = notes.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(commands.len() > 4, "{notes}");
    let folder = tempfile::tempdir().unwrap();
    let mut bash = tokio::process::Command::new("bash");
    let path =
        format!("{}:{}", std::env::var("PORTCULLIS_TEST_BIN").unwrap(), std::env::var("PATH").unwrap());
    bash.args(["-euc", &commands.join("\n")]).current_dir(&folder).env("PATH", path);
    let shown = run(&mut bash, None).await;
    assert!(shown.contains("listed"), "{shown}");
    for (file, begins) in [("tls.crt", "CERTIFICATE"), ("tls.key", "PRIVATE KEY"), ("ca.crt", "CERTIFICATE")]
    {
        let pem = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(pem.starts_with(&format!("-----BEGIN {begins}-----")), "{file}: {pem}");
    }
    HELM.done(SYSTEM, &["rollback", RELEASE], "").await;
    door.kubectl(&["wait", "--for=delete", "gateways.portcullis.dev/listed", "--timeout=180s"], None).await;
    rolled_out().await;
}

/// Two operators that look after a namespace each and have no right in any other.
async fn operators_live_side_by_side(values: &Value) {
    let doors = [Door::site().await, Door::site().await];
    for (first, (door, helm)) in doors.iter().zip(HELMS).enumerate() {
        let mut other = values.clone();
        other["watchNamespaces"] = json!([door.namespace]);
        other["crds"] = json!({ "enabled": first == 0, "keep": false });
        other["rbac"] = json!({ "userRoles": false });
        helm.done(&door.namespace, &["install", RELEASE], &other.to_string()).await;
        door.kubectl(&["rollout", "status", "deployment/portcullis-operator", "--timeout=240s"], None).await;
        no_request_goes_through_a_gateway_that_does_not_run(door, helm, &other).await;
    }
    let wide = kubectl(SYSTEM, &["get", "clusterroles,clusterrolebindings", "--output=name"], None).await;
    assert!(!wide.contains("portcullis"), "{wide}");
    for door in &doors {
        door.apply(&spec("bob")).await;
    }
    for door in &doors {
        door.until_ready().await;
        door.until_code(&door.bundle("alice").await, "/get", "200").await;
    }
    // The definitions are the first one's, and go with it.
    for (door, helm) in doors.iter().zip(HELMS) {
        helm.done(&door.namespace, &["uninstall", RELEASE], "").await;
    }
    for door in &doors {
        door.kubectl(&["wait", "--for=delete", "deployment/door", "--timeout=180s"], None).await;
    }
}

/// Does something while requests go on, one after the other and one that is long; none of them fails.
async fn while_serving(door: &Door, act: impl Future<Output = ()>) {
    let (alice, done) = (door.bundle("alice").await, AtomicBool::new(false));
    let act = async {
        act.await;
        done.store(true, Ordering::Relaxed);
    };
    let short = async {
        let mut answered = 0;
        while !done.load(Ordering::Relaxed) {
            assert_eq!(door.code(&alice, "/get").await, "200");
            answered += 1;
        }
        answered
    };
    let long = door.curl(Some(&alice), "/drip?duration=9&numbytes=90&delay=0", &["--fail"]);
    let ((), answered, long) = tokio::join!(act, short, long);
    assert!(answered > 10, "{answered}");
    assert_eq!((long.status.code(), long.stdout.len()), (Some(0), 90), "{}", text(&long.stderr));
}

/// Installs or upgrades, and waits until the operator runs.
async fn install(helm: Helm, values: &Value) {
    helm.done(SYSTEM, &["upgrade", "--install", RELEASE], &values.to_string()).await;
    rolled_out().await;
}

async fn rolled_out() {
    let wait = ["rollout", "status", "deployment/portcullis-operator", "--timeout=240s"];
    kubectl(SYSTEM, &wait, None).await;
}

/// The operator's pods.
async fn operators() -> String {
    let pods = ["get", "pods", "-l=app.kubernetes.io/name=portcullis-operator"];
    kubectl(SYSTEM, &[&pods[..], &["-o=jsonpath={.items[*].metadata.name}"]].concat(), None).await
}

/// What the last upgrade wrote to the pods.
async fn annotation() -> String {
    let path = r"-o=jsonpath={.spec.template.metadata.annotations.example\.com/step}";
    kubectl(SYSTEM, &["get", "deployment/portcullis-operator", path], None).await
}

/// Lets the node have the gateway's image under another tag too.
async fn tag_gateway_image(old: &str, new: &str) {
    let cluster = std::env::var("PORTCULLIS_TEST_CLUSTER").unwrap();
    let mut ctr = tokio::process::Command::new("ctr");
    ctr.args([
        "--address",
        &format!("/var/lib/portcullis/{cluster}/containerd.sock"),
        "--namespace",
        "k8s.io",
    ]);
    ctr.args(["images", "tag", "--force"]);
    run(ctr.args([old, new].map(|tag| format!("localhost/portcullis-gateway:{tag}"))), None).await;
}

/// Waits until all pods of the Gateway are of this image.
async fn until_gateway_runs(door: &Door, tag: &str) {
    let image = format!("localhost/portcullis-gateway:{tag}");
    let told = format!("--for=jsonpath={{.spec.template.spec.containers[0].image}}={image}");
    door.kubectl(&["wait", &told, "deployment/door", "--timeout=180s"], None).await;
    door.kubectl(&["rollout", "status", "deployment/door", "--timeout=240s"], None).await;
}

async fn uid(door: &Door, object: &str) -> String {
    door.kubectl(&["get", object, "-o=jsonpath={.metadata.uid}"], None).await
}

/// Waits until there is nothing of the operator but what the next one takes over.
async fn nothing_is_left() {
    let began = Instant::now();
    loop {
        let left = left().await;
        if left == ["lease/portcullis-operator", "secret/portcullis-control-ca"] {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{left:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// What there is still of the operator, anywhere.
async fn left() -> Vec<String> {
    let kinds = "deployments,services,serviceaccounts,poddisruptionbudgets,roles,rolebindings,leases,secrets,networkpolicies";
    let name = r#"{range .items[*]}{.kind}/{.metadata.name}{"\n"}{end}"#;
    let listed = kubectl(SYSTEM, &["get", kinds, &format!("-o=jsonpath={name}")], None).await;
    let wide =
        kubectl(SYSTEM, &["get", "clusterroles,clusterrolebindings", &format!("-o=jsonpath={name}")], None)
            .await;
    let ours = listed.lines().chain(wide.lines()).filter(|it| it.contains("portcullis"));
    ours.map(str::to_lowercase).collect()
}

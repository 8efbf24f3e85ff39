//! The chart's admission policy, enforced by the API server: what the operator runs and reads for somebody, they must be
//! allowed to run and read themselves.

use std::time::Duration;

use portcullis_tests::chart::{HELM, object, objects};
use portcullis_tests::door::{fed, kubectl, run, text, tool};
use portcullis_tests::{PATIENCE, client, namespace};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// What the API server says where alice applies this, on trial; None where it takes it.
async fn refused(namespace: &str, document: &Value) -> Option<String> {
    let mut apply = tool("kubectl");
    apply.args([
        "--namespace",
        namespace,
        "--as=alice",
        "apply",
        "--server-side",
        "--dry-run=server",
        "-f",
        "-",
    ]);
    let output = fed(&mut apply, Some(&document.to_string())).await;
    (!output.status.success()).then(|| text(&output.stderr))
}

fn gateway(spec: &Value) -> Value {
    json!({ "apiVersion": "portcullis.dev/v1alpha1", "kind": "Gateway", "metadata": { "name": "door" }, "spec": spec })
}

fn tunnel(name: &str, annotations: &Value, more: &Value) -> Value {
    let mut spec = json!({ "gatewayRef": { "name": "door" }, "endpoint": "http://localhost:80" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let metadata = json!({ "name": name, "annotations": annotations });
    json!({ "apiVersion": "portcullis.dev/v1alpha1", "kind": "Tunnel", "metadata": metadata, "spec": spec })
}

/// Lets alice do something in a namespace.
async fn allow(namespace: &str, name: &str, rule: &[&str]) {
    kubectl(namespace, &[&["create", "role", name][..], rule].concat(), None).await;
    kubectl(namespace, &["create", "rolebinding", name, &format!("--role={name}"), "--user=alice"], None)
        .await;
}

/// Waits until something is refused, or taken: policies and roles are known a moment after they were made.
async fn until(namespace: &str, document: &Value, wanted: Option<&str>) {
    let began = Instant::now();
    loop {
        let said = refused(namespace, document).await;
        match (&said, wanted) {
            (None, None) => return,
            (Some(said), Some(wanted)) if said.contains(wanted) => return,
            _ => assert!(began.elapsed() < PATIENCE, "wanted {wanted:?}, got {said:?} for {document}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

const RUNS: &str = "have pods run: leave them out, or ask for the right to create pods in this namespace";

#[tokio::test]
async fn whoever_has_the_operator_run_or_read_something_must_be_allowed_to_do_so_themselves() {
    let client = client().await;
    let (own, watched, other) =
        (namespace(&client).await, namespace(&client).await, namespace(&client).await);
    let values = format!("{{watchNamespaces: [{watched}], admissionPolicy: {{enabled: true}}}}");
    let rendered = objects(&HELM.template(&own, &values).await);
    let name = format!("portcullis-{own}");
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        let document = object(&rendered, kind, &name).to_string();
        run(tool("kubectl").args(["apply", "--server-side", "-f", "-"]), Some(&document)).await;
    }
    let edit = ["--verb=create,get,patch", "--resource=gateways.portcullis.dev,tunnels.portcullis.dev"];
    for namespace in [&watched, &other] {
        allow(namespace, "edit", &edit).await;
    }

    let template = json!({ "spec": { "containers": [{ "name": "mine", "image": "mine" }] } });
    let sidecar = json!({ "compute": { "sidecar": { "image": "mine" } } });
    let running = [
        gateway(&json!({ "podTemplate": template })),
        gateway(&json!({ "image": "mine" })),
        gateway(&json!({ "drivers": sidecar })),
        tunnel("web", &json!({}), &json!({ "connector": {} })),
    ];
    until(&watched, &running[0], Some(RUNS)).await;
    for document in &running {
        let said = refused(&watched, document).await.unwrap_or_default();
        assert!(said.contains(RUNS), "{document}: {said}");
    }
    let served =
        gateway(&json!({ "tunnels": { "domain": "t.example.com", "certificateRef": { "name": "public" } } }));
    let said = refused(&watched, &served).await.unwrap_or_default();
    assert!(said.contains("has the Secret public served: name one that you may read"), "{said}");
    let signed = gateway(&json!({ "pki": { "ca": { "secretRef": { "name": "company" } } } }));
    let said = refused(&watched, &signed).await.unwrap_or_default();
    assert!(said.contains("has the authority in Secret company sign: name one that you may read"), "{said}");
    let asked =
        gateway(&json!({ "pki": { "ca": { "issuerRef": { "name": "corp", "kind": "ClusterIssuer" } } } }));
    let said = refused(&watched, &asked).await.unwrap_or_default();
    assert!(
        said.contains("has ClusterIssuer corp (cert-manager.io) asked for an authority: leave it out"),
        "{said}"
    );
    let forged = tunnel("web", &json!({ "portcullis.dev/created-by": "bob" }), &json!({}));
    let said = refused(&watched, &forged).await.unwrap_or_default();
    assert!(said.contains("says whose a Tunnel is: leave it as it is"), "{said}");
    for plain in
        [gateway(&json!({ "clients": [{ "name": "alice" }] })), tunnel("web", &json!({}), &json!({}))]
    {
        assert_eq!(refused(&watched, &plain).await, None, "{plain}");
    }
    // Elsewhere another operator, or none, decides.
    until(&other, &running[0], None).await;

    // What an admin has put there may stay while alice changes something else; where it goes is the admin's too.
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let connected =
        tunnel("inside", &json!({ "portcullis.dev/created-by": "bob" }), &json!({ "connector": {} }));
    for document in [&running[0], &connected] {
        kubectl(&watched, &apply, Some(&document.to_string())).await;
    }
    let patch = async |object: &str, patch: &Value| {
        let mut kubectl = tool("kubectl");
        kubectl.args(["--namespace", &watched, "--as=alice", "patch", object, "--type=merge", "--patch"]);
        let output = kubectl.arg(patch.to_string()).output().await.unwrap();
        (!output.status.success()).then(|| text(&output.stderr))
    };
    let is_refused = |said: Option<String>, with: &str| {
        assert!(said.as_ref().is_some_and(|it| it.contains(with)), "{said:?}");
    };
    assert_eq!(patch("gateway/door", &json!({ "spec": { "replicas": 2 } })).await, None);
    assert_eq!(patch("tunnel/inside", &json!({ "spec": { "enabled": false } })).await, None);
    is_refused(
        patch("gateway/door", &json!({ "spec": { "podTemplate": { "spec": { "hostNetwork": true } } } }))
            .await,
        RUNS,
    );
    is_refused(patch("tunnel/inside", &json!({ "spec": { "endpoint": "http://secret:80" } })).await, RUNS);
    let mine = json!({ "metadata": { "annotations": { "portcullis.dev/created-by": null } } });
    is_refused(patch("tunnel/inside", &mine).await, "says whose a Tunnel is");
    assert_eq!(patch("gateway/door", &json!({ "spec": { "podTemplate": null } })).await, None);

    // With the rights themselves.
    allow(&watched, "run", &["--verb=create", "--resource=pods"]).await;
    allow(&watched, "read", &["--verb=get", "--resource=secrets", "--resource-name=public"]).await;
    for document in running.iter().chain([&served]) {
        until(&watched, document, None).await;
    }
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        kubectl(&own, &["delete", kind, &name], None).await;
    }
}

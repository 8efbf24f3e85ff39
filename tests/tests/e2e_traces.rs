//! Traces of a real run, as a collector hears them that nobody here wrote. One test: it tells the one operator of the cluster
//! where they go.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use portcullis_tests::chart::HELM;
use portcullis_tests::door::{Door, json_of, kubectl};
use portcullis_tests::real::collector::{Collector, Span};
use portcullis_tests::{PATIENCE, tunnel};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const SYSTEM: &str = "portcullis-system";
const RELEASE: &str = "portcullis";
/// A connector is at two replicas: of three, one has it from another.
const SPEC: &str = "{replicas: 3, tunnels: {domain: t.example.com}, clients: [{name: alice}]}";
const WEB: &str = "web.t.example.com";

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_hears_of_a_request_from_gateway_peer_and_connector_and_of_visits_from_the_operator() {
    let values = HELM.done(SYSTEM, &["get", "values", RELEASE, "--output=json"], "").await;
    let values: Value = serde_json::from_str(&values).unwrap();
    let traced = AssertUnwindSafe(traces(values.clone())).catch_unwind().await;
    // The tests that come after this one need an operator that traces nothing.
    upgraded(&values).await;
    if let Err(panic) = traced {
        std::panic::resume_unwind(panic);
    }
}

async fn upgraded(values: &Value) {
    HELM.done(SYSTEM, &["upgrade", "--install", RELEASE], &values.to_string()).await;
    let wait = ["rollout", "status", "deployment/portcullis-operator", "--timeout=120s"];
    kubectl(SYSTEM, &wait, None).await;
}

async fn traces(mut values: Value) {
    let collector = Collector::start().await;
    values["tracing"] = json!({ "endpoint": collector.endpoint });
    upgraded(&values).await;
    let door = Door::ready(SPEC).await;
    let web = format!(
        "{{gatewayRef: {{name: door}}, label: web, endpoint: 'http://httpbin.{}.svc:80', access: {{auth: None}}, connector: {{replicas: 1}}}}",
        door.namespace
    );
    tunnel::apply(&door.client, &door.namespace, "web", &web).await;
    tunnel::until(&door.client, &door.namespace, "web", ["Ready", "True", "Ready"]).await;
    let bundle = door.bundle("alice").await;

    // Whichever replica a connection comes to: at some time it is the one without a connector.
    let began = Instant::now();
    let (hops, told) = loop {
        let told = json_of(&tunnel::visit(&door, &bundle, WEB, "/get?secret=hunter2", &["--fail"]).await);
        let told = told["headers"]["Traceparent"][0].as_str().unwrap().to_owned();
        let trace = told.split('-').nth(1).unwrap().to_owned();
        let hops = until_heard(&collector, &["gateway", "connector"], |it| it.trace == trace).await;
        if hops.contains_key("peer") {
            break (hops, told);
        }
        assert!(began.elapsed() < 3 * PATIENCE, "no request went from replica to replica: {hops:#?}");
    };
    let [gateway, peer, connector] = ["gateway", "peer", "connector"].map(|hop| &hops[hop]);
    assert_eq!((gateway.parent.as_str(), &peer.parent, &connector.parent), ("", &gateway.id, &peer.id));
    assert!(told.contains(&connector.id), "the endpoint is told {told}, and not of {}", connector.id);
    let services = [gateway, peer, connector].map(|it| it.service.as_str());
    assert_eq!(services, ["portcullis-gateway", "portcullis-gateway", "portcullis-connector"]);
    for span in hops.values() {
        let known = |name: &str| span.attributes.get(name).map(String::as_str);
        assert_eq!(known("k8s.namespace.name"), Some(door.namespace.as_str()));
        assert_eq!(known("url.path"), Some("/get"));
        assert_eq!(known("http.response.status_code"), Some("200"));
        assert_eq!(known("portcullis.body"), Some("whole"));
        assert!(!format!("{span:?}").contains("hunter2"), "{span:?}");
    }
    let sizes: Vec<_> = hops.values().map(|it| &it.attributes["http.response.body.size"]).collect();
    assert!(sizes.iter().all(|it| *it == sizes[0] && it.parse::<u64>().unwrap() > 100), "{sizes:?}");

    // The visits that made it, each a trace of its own.
    let visits = until_heard(&collector, &["Gateway", "Tunnel"], |it| {
        it.service == "portcullis-operator" && it.attributes["k8s.namespace.name"] == door.namespace
    })
    .await;
    assert_eq!(visits["Gateway"].attributes["portcullis.name"], "door");
    assert_eq!(visits["Tunnel"].attributes["portcullis.name"], "web");
    assert!(visits.values().all(|it| it.parent.is_empty()), "{visits:#?}");
}

/// Waits until spans of these names are there, of those that are so; returns them all by name.
async fn until_heard(
    collector: &Collector,
    names: &[&str],
    is_so: impl Fn(&Span) -> bool,
) -> BTreeMap<String, Span> {
    let began = Instant::now();
    loop {
        let heard: BTreeMap<_, _> =
            collector.heard(&is_so).into_iter().map(|it| (it.name.clone(), it)).collect();
        let is_whole = heard
            .values()
            .all(|it| it.parent.is_empty() || heard.values().any(|other| other.id == it.parent));
        if is_whole && names.iter().all(|name| heard.contains_key(*name)) {
            return heard;
        }
        assert!(began.elapsed() < PATIENCE, "{names:?} were not heard of: {heard:#?}");
        sleep(std::time::Duration::from_millis(200)).await;
    }
}

//! Programs that nobody here wrote hold a bundle as the kubelet mounts it into a pod, and go through a rotation with it:
//! `curl` and `grpcurl`, which read it each time, and Prometheus, which reads it again by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_api::RotationPhase;
use portcullis_tests::PATIENCE;
use portcullis_tests::door::Door;
use portcullis_tests::process::Process;
use portcullis_tests::real::prometheus::Prometheus;
use portcullis_tests::rotation::{come_by_tools, rotate, until};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The kubelet brings a Secret within some seconds here; it has a minute, before anything counts on that.
const SPEC: &str = "
replicas: 2
clients: [{name: bob}]
pki: {ca: {publishFor: 60s, retireAfter: 60s}}
backends: [{name: httpbin, match: {pathPrefix: /}, service: {name: httpbin, port: 80}}]
";
/// The backend answers with `answer 1`, which is a metric.
const METRIC: &str = "/base64/YW5zd2VyIDEK";

/// A pod that has the bundle mounted, for as long as its namespace is there; the folder as the pod sees it.
async fn mounted(door: &Door) -> PathBuf {
    let name = format!("caller-{}", door.namespace);
    let pod = include_str!("../real/caller.yaml").replace("{{name}}", &name);
    door.kubectl(&["apply", "-f", "-"], Some(&pod)).await;
    door.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=180s"], None).await;
    Path::new("/proc").join(Process::of_pod(&name).0.to_string()).join("root/bundle")
}

/// How often it was looked at and whether there was an answer every time.
async fn looked(prometheus: &Prometheus) -> (f64, bool) {
    let value = async |query: &str| prometheus.query(query).await.first().map_or(0.0, |(_, value)| *value);
    let count = value("count_over_time(up[1h])").await;
    (count, value("min_over_time(up[1h]) == bool 1").await > 0.5)
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_with_a_mounted_bundle_go_through_a_rotation_without_a_failure() {
    let door = Arc::new(Door::ready(SPEC).await);
    let bundle = mounted(&door).await;
    door.until_code(&bundle, "/status/200", "200").await;
    let address = format!("{}:443", door.address().await);
    let prometheus = Prometheus::looking(&door.host(), &address, METRIC, &bundle).await;
    let certificate = || std::fs::read(bundle.join("tls.crt")).unwrap();
    let (before, first) = (certificate(), until(&door, |ca| ca.phase == RotationPhase::Stable).await);

    let over = CancellationToken::new();
    let tools = {
        let (door, bundle, over) = (Arc::clone(&door), bundle.clone(), over.clone());
        tokio::spawn(async move { come_by_tools(&door, Some(bundle), over).await })
    };
    rotate(&door, &first).await;
    over.cancel();
    let (count, failed) = tools.await.unwrap();
    let (looks, always) = looked(&prometheus).await;
    println!("{count} of curl and grpcurl, {} failed; {looks} of Prometheus", failed.len());
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count > 10 && looks > 10.0, "{count} and {looks} are too few to say anything");
    assert!(always, "Prometheus was not always answered: {}", prometheus.failure().await);
    assert_ne!(certificate(), before, "the kubelet has not brought another certificate");

    // What it had open may have outlived all of it. With these pods gone, it comes anew.
    let gone: Vec<_> = door.pods().await.into_iter().map(|pod| format!("pod/{pod}")).collect();
    let gone: Vec<_> = ["delete"].into_iter().chain(gone.iter().map(String::as_str)).collect();
    door.kubectl(&gone, None).await;
    door.until_ready().await;
    let began = Instant::now();
    while prometheus.query("up").await.first().is_none_or(|(_, up)| *up < 0.5) {
        assert!(began.elapsed() < PATIENCE, "{}", prometheus.failure().await);
        sleep(Duration::from_millis(200)).await;
    }
}

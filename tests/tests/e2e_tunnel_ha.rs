//! Replicas and connectors come and go while visitors do: killed, and replaced by updates.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::wait::await_condition;
use portcullis_tests::PATIENCE;
use portcullis_tests::door::{Door, kubectl};
use portcullis_tests::lag::Lag;
use portcullis_tests::process::Process;
use portcullis_tests::tunnel::{connector, ready_web, service};
use portcullis_tests::visitor::{Crowd, Visit, Visitor};
use tokio::time::{Instant, timeout};

const WEB: &str = "web.t.example.com";
/// Until every new visit goes well, where one of many is gone.
const SECOND: Duration = Duration::from_secs(1);
const SPEC: &str = "
replicas: 3
tunnels: {domain: t.example.com}
clients: [{name: connector, roles: [user], scopes: ['tunnel:write']}]
";

/// Visits that began after this moment and did not go well.
fn failed_since(visits: &[Visit], since: Instant) -> Vec<&Visit> {
    visits.iter().filter(|visit| visit.began >= since && !visit.went_well()).collect()
}

/// Of the visitors of each moment, the one who waited longest until somebody's visit that began then went well.
fn longest_outage(visits: &[Visit]) -> Duration {
    let failed = visits.iter().filter(|visit| !visit.went_well());
    let outage = |failed: &Visit| {
        let next = visits.iter().find(|it| it.began >= failed.began && it.went_well());
        next.map_or(Duration::MAX, |it| (it.began + it.took).duration_since(failed.began))
    };
    failed.map(outage).max().unwrap_or_default()
}

fn told(what: &str, visits: &[Visit]) {
    let failed: Vec<_> = visits.iter().filter(|visit| !visit.went_well()).map(|it| &it.outcome).collect();
    let slowest = visits.iter().filter(|visit| visit.went_well()).map(|visit| visit.took).max();
    println!(
        "{what}: {} visits, {} failed {failed:?}; slowest answer {slowest:?}, longest outage {:?}",
        visits.len(),
        failed.len(),
        longest_outage(visits)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_takes_the_requests_in_flight_and_no_more() {
    let door = Door::ready(SPEC).await;
    let (bundle, logs) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    let (_httpbin, port) = service().await;
    let endpoint = format!("http://127.0.0.1:{port}");
    let start = |number: u32| {
        let log = logs.path().join(format!("log-{number}"));
        let (door, bundle, endpoint) = (&door, &bundle, &endpoint);
        async move { connector(door, "web", bundle, endpoint, &log).await }
    };
    let (mut first, _second) = (start(1).await, start(2).await);
    ready_web(&door, &endpoint, "").await;
    connected(&door, 4).await;
    let visitor = Visitor::of(&door, &bundle, WEB).await;
    let pause = Duration::from_millis(20);

    // A connector: nothing that began after its death fails, since every replica knows at once.
    let (crowd, lag) = (Crowd::of(&visitor, 12, "/delay/0.1", pause), Lag::begin());
    visits_go_well(&visitor).await;
    let killed = Instant::now();
    first.0.kill().await.unwrap();
    connected(&door, 2).await;
    let _third = start(3).await;
    connected(&door, 4).await;
    let visits = crowd.gone().await;
    told("a connector killed", &visits);
    let second = SECOND + lag.worst();
    let late = failed_since(&visits, killed + second);
    assert!(late.is_empty(), "{second:?} later: {late:?}");
    assert!(longest_outage(&visits) < second, "nobody was answered for {:?}", longest_outage(&visits));

    // A replica: new connections to it are refused until the Service knows, those to the others go well.
    let pods = door.pods().await;
    let (crowd, lag) = (Crowd::of(&visitor, 12, "/delay/0.1", pause), Lag::begin());
    visits_go_well(&visitor).await;
    let killed = Instant::now();
    Process::of_pod(&pods[0]).kill();
    started_again(&door, &pods[0]).await;
    ready(&door, 3).await;
    connected(&door, 4).await;
    let visits = crowd.gone().await;
    told("a replica killed", &visits);
    let second = SECOND + lag.worst();
    assert!(longest_outage(&visits) < second, "nobody was answered for {:?}", longest_outage(&visits));
    let answered_wrongly: Vec<_> = failed_since(&visits, killed + second)
        .into_iter()
        .filter(|visit| visit.outcome.as_ref().is_ok_and(|status| !status.is_success()))
        .collect();
    assert!(answered_wrongly.is_empty(), "the replicas that live know where to go: {answered_wrongly:?}");
}

/// Waits until so many connections are there.
async fn connected(door: &Door, connections: i32) {
    let api: Api<portcullis_api::Tunnel> = Api::namespaced(door.client.clone(), &door.namespace);
    let there = await_condition(api.clone(), "web", |tunnel: Option<&portcullis_api::Tunnel>| {
        tunnel.and_then(|it| it.status.as_ref()).is_some_and(|status| status.connected == connections)
    });
    let in_time = timeout(PATIENCE, there).await.is_ok();
    assert!(in_time, "never {connections} connections: {:#?}", api.get("web").await.unwrap().status);
}

/// Waits until a pod's program runs once more, and is ready.
async fn started_again(door: &Door, pod: &str) {
    let api: Api<Pod> = Api::namespaced(door.client.clone(), &door.namespace);
    let there = await_condition(api, pod, |pod: Option<&Pod>| {
        let statuses = pod.and_then(|it| it.status.as_ref()?.container_statuses.as_ref());
        statuses.is_some_and(|all| all.iter().any(|it| it.restart_count > 0 && it.ready))
    });
    timeout(PATIENCE, there).await.expect("in time").expect("the watch goes on");
}

/// Waits until so many replicas are ready.
async fn ready(door: &Door, replicas: i32) {
    let api: Api<Deployment> = Api::namespaced(door.client.clone(), &door.namespace);
    let there = await_condition(api, "door", |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|it| it.status.as_ref());
        status.is_some_and(|status| status.ready_replicas == Some(replicas))
    });
    timeout(PATIENCE, there).await.expect("in time").expect("the watch goes on");
}

/// Waits until the name is answered: kube-proxy takes a second or so to know a new Service.
async fn visits_go_well(visitor: &Visitor) {
    let began = Instant::now();
    while visitor.visit("/get").await.map_or(true, |status| status.as_u16() != 200) {
        assert!(began.elapsed() < PATIENCE, "the public name is not answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_of_gateway_connector_and_operator_fail_no_request() {
    let door = Door::ready(SPEC).await;
    let bundle = door.bundle("connector").await;
    let inside = format!("http://httpbin.{}.svc:80", door.namespace);
    ready_web(&door, &inside, ", connector: {replicas: 2}").await;
    let visitor = Visitor::of(&door, &bundle, WEB).await;
    visits_go_well(&visitor).await;
    for (namespace, deployment) in [
        (&*door.namespace, "web-connector"),
        (&*door.namespace, "door"),
        ("portcullis-system", "portcullis-operator"),
    ] {
        let crowd = Crowd::of(&visitor, 8, "/delay/0.1", Duration::from_millis(20));
        kubectl(namespace, &["rollout", "restart", "deployment", deployment], None).await;
        kubectl(namespace, &["rollout", "status", "deployment", deployment, "--timeout=240s"], None).await;
        let visits = crowd.gone().await;
        told(&format!("{deployment} restarted"), &visits);
        assert!(visits.iter().all(Visit::went_well), "requests failed while {deployment} was replaced");
    }
}

//! What a night's operator sees: every panel of the dashboards and every alert, asked of a real Prometheus that scrapes a
//! real run, while all is well and after a tunnel broke. One test of all that: it is about the one operator of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use portcullis_tests::door::{Door, kubectl, text};
use portcullis_tests::real::prometheus::{Prometheus, Sample, promtool};
use portcullis_tests::tunnel::{code, connector_with, ready_web, service, until};
use portcullis_tests::{chart, ports};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

const SYSTEM: &str = "portcullis-system";
const WEB: &str = "web.t.example.com";
const SPEC: &str = "
replicas: 2
tunnels: {domain: t.example.com}
clients: [{name: connector, roles: [user], scopes: ['tunnel:read', 'tunnel:write']}]
backends: [{name: httpbin, match: {pathPrefix: /}, service: {name: httpbin, port: 80}}]
";
/// How long a panel may take to show what happens: the quietest of them tells of probes, each half a minute.
const PATIENCE: Duration = Duration::from_mins(5);

/// A panel's name and its queries, of a Gateway `door` in a namespace.
fn panels(namespace: &str) -> Vec<(String, Vec<String>)> {
    let mut panels = Vec::new();
    for file in ["operator", "gateways", "tunnels"] {
        let path = chart::folder().join(format!("files/dashboards/{file}.json"));
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap().iter().filter(|it| it["type"] != "row") {
            let of = if file == "operator" { SYSTEM } else { namespace };
            let filled = |target: &Value| {
                let query = target["expr"].as_str().unwrap();
                let query = query.replace("$namespace", of).replace("$gateway", "door");
                let query = query.replace("$__rate_interval", "2m");
                assert!(!query.contains('$'), "what is this variable? {query}");
                query
            };
            let queries = panel["targets"].as_array().unwrap().iter().map(filled).collect();
            panels.push((format!("{file}: {}", panel["title"].as_str().unwrap()), queries));
        }
    }
    panels
}

/// Alerts and their expressions.
fn alerts() -> BTreeMap<String, String> {
    let rules = std::fs::read_to_string(chart::folder().join("files/alerts.yaml")).unwrap();
    let rules: Value = serde_norway::from_str(&rules).unwrap();
    let rules = rules["groups"].as_array().unwrap().iter().flat_map(|it| it["rules"].as_array().unwrap());
    let rules =
        rules.map(|rule| (rule["alert"].as_str().unwrap().into(), rule["expr"].as_str().unwrap().into()));
    rules.collect()
}

/// What was seen: rows by their names, with what there was in the order of asking.
#[derive(Default)]
struct Seen(Vec<(String, Vec<String>)>);

impl Seen {
    fn note(&mut self, row: String, seen: String) {
        match self.0.iter_mut().find(|it| it.0 == row) {
            Some(known) => known.1.push(seen),
            None => self.0.push((row, vec![seen])),
        }
    }

    /// Writes it as docs/reference/panels.md has it, where somebody asks for that.
    fn write(&self) {
        let Some(path) = std::env::var_os("PORTCULLIS_TEST_PANELS") else { return };
        let rows = self.0.iter().map(|(row, seen)| format!("| {row} | {} |\n", seen.join(" | ")));
        std::fs::write(path, rows.collect::<String>()).unwrap();
    }
}

/// The labels of a series that say something to somebody else.
fn labelled(labels: &Value) -> String {
    let of_this_run = ["__name__", "namespace", "pod", "instance", "job", "portcullis_dev_gateway"];
    let labels = labels.as_object().into_iter().flatten();
    let labels = labels.filter(|(name, _)| !of_this_run.contains(&name.as_str()));
    let labels: Vec<_> =
        labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    labels.join(", ")
}

/// Asks every panel until each shows a number; notes what it showed.
async fn every_panel_shows_something(prometheus: &Prometheus, namespace: &str, when: &str, seen: &mut Seen) {
    let began = Instant::now();
    for (panel, queries) in panels(namespace) {
        let mut all = Vec::new();
        for query in queries {
            let shown = loop {
                let samples = prometheus.query(&query).await;
                let numbers: Vec<_> = samples.iter().filter(|(_, value)| value.is_finite()).collect();
                if let Some((labels, value)) = numbers.iter().max_by(|one, other| one.1.total_cmp(&other.1)) {
                    let largest = format!("{value:.3}");
                    let largest = largest.trim_end_matches('0').trim_end_matches('.');
                    let labels = labelled(labels);
                    let space = if labels.is_empty() { "" } else { " " };
                    break format!("{} series, up to {largest}{space}{labels}", samples.len());
                }
                assert!(began.elapsed() < PATIENCE, "{when}: {panel} shows nothing: {query}: {samples:?}");
                sleep(Duration::from_millis(500)).await;
            };
            println!("{when}: panel {panel}: {shown}");
            all.push(shown);
        }
        seen.note(panel, all.join("; "));
    }
}

/// Waits until the expressions of these alerts return something; notes what all of them return. Others may too: what the tests
/// before this one have left is the same operator's.
async fn until_told(prometheus: &Prometheus, wanted: &[(&str, &str, &str)], when: &str, seen: &mut Seen) {
    let began = Instant::now();
    loop {
        let mut told = BTreeMap::new();
        for (alert, expression) in alerts() {
            let samples = prometheus.query(&expression).await;
            if !samples.is_empty() {
                told.insert(alert, samples);
            }
        }
        let is_told = |(alert, label, value): &(&str, &str, &str)| {
            let of_it = told.get(*alert).into_iter().flatten();
            of_it.clone().any(|(labels, count): &Sample| labels[*label] == *value && *count > 0.0)
        };
        if wanted.iter().all(is_told) {
            for alert in alerts().keys() {
                println!("{when}: alert {alert}: {:?}", told.get(alert));
                let told = told.get(alert).into_iter().flatten();
                let told: BTreeSet<_> =
                    told.map(|(labels, _)| format!("told {}", labelled(labels))).collect();
                let told = told.iter().map(|it| it.trim_end()).collect::<Vec<_>>().join("; ");
                seen.note(format!("`{alert}`"), if told.is_empty() { "nothing".to_owned() } else { told });
            }
            return;
        }
        if began.elapsed() > PATIENCE {
            let doors = kubectl(SYSTEM, &["get", "gateways,tunnels", "-A", "-o", "wide"], None).await;
            panic!("{when}: told is {told:?}, and not of {wanted:?}\n{doors}");
        }
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_and_alert_answers_while_all_is_well_and_tells_of_a_tunnel_that_broke() {
    let door = Door::ready(SPEC).await;
    let (bundle, logs) = (door.bundle("connector").await, tempfile::tempdir().unwrap());
    let (mut httpbin, port) = service().await;
    let endpoint = format!("http://localhost:{port}");
    let (web, metrics) = (format!("{}/web", door.namespace), ports::free("127.0.0.1"));
    let listen = format!("127.0.0.1:{metrics}");
    let arguments = [web.as_str(), "--endpoint", &endpoint, "--metrics-listen", &listen];
    let mut running = connector_with(&door, &bundle, &logs.path().join("log"), &arguments).await;
    let prometheus = Prometheus::start(&door.namespace).await;
    let looks = Instant::now();
    while prometheus.query("portcullis_gateway_ready == 1").await.len() < 2
        || prometheus.query("portcullis_operator_leading").await.is_empty()
    {
        assert!(looks.elapsed() < PATIENCE, "Prometheus does not find the pods");
        sleep(Duration::from_millis(200)).await;
    }
    ready_web(&door, &endpoint, "").await;

    the_reference_lists_what_there_is(&door, metrics).await;

    // Somebody uses it, all the while.
    let traffic = async {
        loop {
            code(&door, &bundle, WEB, "/status/200").await;
            door.code(&bundle, "/get").await;
            door.grpcurl(&bundle, "portcullis.gateway.v1.Tunnels/ListTunnels").await;
            sleep(Duration::from_millis(200)).await;
        }
    };
    let observed = async {
        let mut seen = Seen::default();
        every_panel_shows_something(&prometheus, &door.namespace, "well", &mut seen).await;
        until_told(&prometheus, &[], "well", &mut seen).await;
        let answering = format!(
            "sum(portcullis_gateway_tunnels{{namespace=\"{}\", state=\"answering\"}})",
            door.namespace
        );
        let looks = Instant::now();
        while !prometheus.query(&answering).await.first().is_some_and(|(_, count)| *count >= 1.0) {
            assert!(looks.elapsed() < PATIENCE, "no replica counts the tunnel as one that answers");
            sleep(Duration::from_millis(500)).await;
        }

        httpbin.0.kill().await.unwrap();
        until(&door.client, &door.namespace, "web", ["Reachable", "False", "ProbeFailed"]).await;
        every_panel_shows_something(&prometheus, &door.namespace, "broken", &mut seen).await;
        // Of this very Tunnel: others that earlier tests have left may be broken too.
        let broken = [
            ("PortcullisServerErrors", "route", "tunnel"),
            ("PortcullisTunnelBroken", "reason", "ProbeFailed"),
        ];
        until_told(&prometheus, &broken, "broken", &mut seen).await;
        seen.write();
        let hop = format!(
            "increase(portcullis_gateway_probes_total{{namespace=\"{}\", result!=\"passed\"}}[2m]) > 0",
            door.namespace
        );
        let hops: BTreeSet<_> =
            prometheus.query(&hop).await.iter().map(|(labels, _)| labels["result"].to_string()).collect();
        // On a busy machine, a probe may have failed elsewhere before.
        assert!(hops.contains("\"endpoint\""), "{hops:?}");

        running.0.kill().await.unwrap();
        until(&door.client, &door.namespace, "web", ["Connected", "False", "NoConnector"]).await;
        let offline =
            [("PortcullisServerErrors", "route", "tunnel"), ("PortcullisTunnelOffline", "namespace", SYSTEM)];
        until_told(&prometheus, &offline, "offline", &mut Seen::default()).await;
    };
    tokio::select! {
        () = observed => {}
        () = traffic => unreachable!("it never ends"),
    }
}

#[tokio::test]
async fn alerts_come_and_go_as_their_cases_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("real/metrics");
    let output = timeout(PATIENCE, promtool(&["test", "rules", "alerts.yaml"], &folder)).await.unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let cases = std::fs::read_to_string(folder.join("alerts.yaml")).unwrap();
    for alert in alerts().keys() {
        assert!(cases.contains(&format!("alertname=\"{alert}\"")), "no case in which {alert} is told");
    }
}

/// Where a pod is.
async fn address(namespace: &str, pod: &str) -> String {
    kubectl(namespace, &["get", "pod", pod, "-o=jsonpath={.status.podIP}"], None).await
}

/// What `/metrics` says that there is: name, type, labels and help.
async fn exported(address: &str, port: u16) -> BTreeSet<String> {
    let mut curl = tokio::process::Command::new("curl");
    let output =
        curl.args(["--silent", "--fail", &format!("http://{address}:{port}/metrics")]).output().await;
    let page = text(&output.unwrap().stdout);
    let mut rows = BTreeSet::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (family, help) = line.split_once(' ').unwrap();
        let kind = page.lines().find_map(|it| it.strip_prefix(&format!("# TYPE {family} "))).unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            "histogram" => "_bucket",
            _ => "",
        };
        let mut labels = BTreeSet::new();
        for sample in page.lines().filter_map(|it| it.strip_prefix(&format!("{family}{suffix}{{"))) {
            let (inside, _) = sample.rsplit_once('}').unwrap();
            labels.extend(inside.split("\",").filter_map(|it| it.split_once('=')).map(|(label, _)| label));
        }
        labels.remove("le");
        let name = format!("{family}{}", if kind == "histogram" { "" } else { suffix });
        let labels: Vec<_> = labels.iter().map(|it| format!("`{it}`")).collect();
        rows.insert(format!(
            "| `{name}` | {kind} | {} | {} |",
            labels.join(", "),
            help.trim_end_matches('.')
        ));
    }
    rows
}

/// The reference has a row for each metric that there is, and no other.
async fn the_reference_lists_what_there_is(door: &Door, connector: u16) {
    let holder = ["get", "lease/portcullis-operator", "-o=jsonpath={.spec.holderIdentity}"];
    let leader = kubectl(SYSTEM, &holder, None).await;
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let pod = door.pods().await.remove(0);
    let operator = exported(&address(SYSTEM, &leader).await, 8080).await;
    let gateway = exported(&address(&door.namespace, &pod).await, 9090).await;
    let connector = exported("127.0.0.1", connector).await;
    for (program, least, exported) in
        [("operator", 10, operator), ("gateway", 10, gateway), ("connector", 8, connector)]
    {
        let prefix = format!("| `portcullis_{program}_");
        let listed = reference.lines().filter(|it| it.starts_with(&prefix)).map(str::to_owned);
        let listed: BTreeSet<_> = listed.collect();
        assert!(exported.len() > least, "{exported:?}");
        let rows = exported.iter().cloned().collect::<Vec<_>>().join("\n");
        assert_eq!(listed, exported, "docs/reference/metrics.md should have these rows:\n{rows}");
    }
}

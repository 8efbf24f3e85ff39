//! The chart, as Helm 3 and Helm 4 render it, against a real API server: the same every time, taken as it stands, under
//! the restricted Pod Security profile, and in words where a value is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use kube::api::{Api, PostParams};
use portcullis_operator::clock::SystemClock;
use portcullis_operator::options::Options;
use portcullis_tests::chart::{HELM, HELMS, folder, object, objects};
use portcullis_tests::door::{kubectl, run, text, tool};
use portcullis_tests::gitops::examples;
use portcullis_tests::operator::Operator;
use portcullis_tests::{client, install_definitions, is, namespace, tunnel, until};
use serde_json::{Value, json};

/// Much of what can be set, at once.
const RICH: &str = include_str!("api_chart_rich.yaml");

/// The Prometheus operator's kinds.
const MONITORING: [&str; 3] = [
    "monitoring.coreos.com_servicemonitors.yaml",
    "monitoring.coreos.com_podmonitors.yaml",
    "monitoring.coreos.com_prometheusrules.yaml",
];

/// Entries of a table: a first line, and the indented lines below it.
fn entries(table: &str) -> Vec<(&str, String)> {
    let mut entries: Vec<(&str, String)> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("  "), entries.last_mut()) {
            (Some(said), Some((_, all))) => *all = format!("{all}{said}\n"),
            (Some(said), None) => panic!("below nothing: {said}"),
            (None, _) => entries.push((line, String::new())),
        }
    }
    entries
}

fn without_blank_lines(text: &str) -> String {
    text.lines().filter(|line| !line.is_empty()).map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[tokio::test]
async fn it_renders_the_same_bytes_twice_and_the_same_objects_with_helm_3_and_helm_4() {
    for values in ["{}", RICH] {
        let mut all = Vec::new();
        for helm in HELMS {
            let (first, second) = (
                helm.template("portcullis-system", values).await,
                helm.template("portcullis-system", values).await,
            );
            assert_eq!(first, second);
            all.push(objects(&first));
        }
        assert!(all[0].len() > 10, "{}", all[0].len());
        assert_eq!(all[0], all[1]);
    }
}

#[tokio::test]
async fn lint_finds_nothing() {
    for helm in HELMS {
        for values in ["{}", RICH] {
            let said = helm.done("default", &["lint", "--strict", "--quiet"], values).await;
            assert_eq!(without_blank_lines(&said), "", "{helm:?}");
        }
    }
}

#[test]
fn its_version_is_the_workspaces() {
    let chart = std::fs::read_to_string(folder().join("Chart.yaml")).unwrap();
    let version = concat!("\nversion: ", env!("CARGO_PKG_VERSION"), "\n");
    assert!(chart.contains(version), "{chart}");
}

#[tokio::test]
async fn the_api_server_takes_all_of_it_and_a_second_apply_changes_nothing() {
    let client = client().await;
    let (own, watched) = (namespace(&client).await, namespace(&client).await);
    let rich = RICH.replace("watched-namespace", &watched).replace("own-namespace", &own);
    install_definitions(&client, &MONITORING).await;
    for (values, least) in [("{}", 12), (rich.as_str(), 17)] {
        let rendered = HELM.template(&own, values).await;
        let apply = ["apply", "--server-side", "-f", "-"];
        let dry: Vec<_> = apply.iter().copied().chain(["--dry-run=server", "--warnings-as-errors"]).collect();
        let said = run(tool("kubectl").args(dry), Some(&rendered)).await;
        assert!(said.lines().count() >= least, "{said}");
        assert!(said.lines().all(|line| line.ends_with(" serverside-applied (server dry run)")), "{said}");
        // Until the operator has written a first status, each read makes one up: the second apply would keep that.
        run(tool("kubectl").args(apply), Some(&rendered)).await;
        if values != "{}" {
            let watch = |options: &mut Options| options.watch_namespaces = vec![own.clone(), watched.clone()];
            let operator = Operator::start_with(&own, watch, Arc::default(), Arc::new(SystemClock)).await;
            for (namespace, gateway) in [(&own, "door"), (&watched, "front")] {
                until(&client, namespace, gateway, is("CertificatesReady", "True", "Issued")).await;
            }
            tunnel::until(&client, &own, "web", ["Accepted", "False", "NotAllowed"]).await;
            operator.stop().await;
        }
        let versions = async || {
            run(tool("kubectl").args(apply), Some(&rendered)).await;
            let path = "-o=jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
            run(tool("kubectl").args(["get", path, "-f", "-"]), Some(&rendered)).await
        };
        let (first, second) = (versions().await, versions().await);
        assert!(first.lines().count() >= least, "{first}");
        assert_eq!(first, second);
    }
}

#[tokio::test]
async fn a_pod_of_it_passes_the_restricted_profile() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&namespace, &["label", "namespace", &namespace, label], None).await;
    kubectl(&namespace, &["create", "serviceaccount", "portcullis-operator"], None).await;
    let loose = "{podSecurityContext: null, securityContext: {allowPrivilegeEscalation: true}}";
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, &namespace);
    for (values, passes) in [("{}", true), (RICH, true), (loose, false)] {
        let rendered = objects(&HELM.template(&namespace, values).await);
        let tests = HELM.done(
            &namespace,
            &["template", "portcullis", "--show-only=templates/tests/request.yaml"],
            values,
        );
        let test = object(&objects(&tests.await), "Pod", "portcullis-test").clone();
        let mut made = BTreeSet::new();
        let bare = json!({ "kind": "Pod", "spec": { "template": { "metadata": {}, "spec": test["spec"] } } });
        for workload in rendered.iter().chain([&bare]).filter(|it| !it["spec"]["template"]["spec"].is_null())
        {
            made.insert(workload["kind"].as_str().unwrap());
            let mut pod = workload["spec"]["template"].clone();
            pod["metadata"]["name"] = "operator".into();
            let pod = serde_json::from_value(pod).unwrap();
            let taken = pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await;
            assert_eq!(taken.is_ok(), passes, "{values}: {taken:?}");
            if let Err(error) = taken {
                assert!(error.to_string().contains("violates PodSecurity \"restricted:latest\""), "{error}");
            }
        }
        assert_eq!(
            made,
            BTreeSet::from(["Deployment", "Pod"]),
            "a new kind of pods: this test looks at none of it yet"
        );
    }
}

#[tokio::test]
async fn a_wrong_value_is_refused_in_words() {
    let mut wrong = Vec::new();
    let cases = entries(include_str!("api_chart.txt"));
    for (values, expected) in &cases {
        for helm in HELMS {
            let output = helm.run("portcullis-system", &["template", "portcullis"], values).await;
            let said = text(&output.stderr);
            let heads = [
                "Error: values don't meet the specifications of the schema(s) in the following chart(s):\n",
                "portcullis:\n",
                "Error: execution error at (portcullis/templates/checks.yaml:1:4): ",
                "Use --debug flag to render out invalid YAML\n",
            ];
            let said = heads.iter().fold(said, |said, head| said.replace(head, ""));
            // Before it refuses a value, Helm says that it could not merge it, each in its own words.
            let merging = |line: &&str| line.starts_with("coalesce.go:") || line.starts_with("level=INFO");
            let said: Vec<_> = said.lines().filter(|it| !merging(it)).collect();
            let said = without_blank_lines(&said.join("\n"));
            if output.status.success() || said != *expected {
                wrong.push(format!("{values}\n  {}", said.trim_end().replace('\n', "\n  ")));
            }
        }
    }
    assert!(cases.len() > 40, "{}", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

#[tokio::test]
async fn the_notes_tell_what_to_do_next() {
    // With the definitions, without which Helm 3 makes no Gateway on trial either.
    namespace(&client().await).await;
    let mut wrong = Vec::new();
    for (values, expected) in entries(include_str!("api_chart_notes.txt")) {
        for helm in HELMS {
            let install = ["install", "portcullis", "--dry-run=client", "--take-ownership"];
            let printed = helm.done("portcullis-system", &install, values).await;
            let (_, notes) = printed.split_once("NOTES:\n").expect("there are notes");
            let notes = without_blank_lines(notes);
            if notes != expected {
                wrong.push(format!("{values}\n  {}", notes.trim_end().replace('\n', "\n  ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The paths of everything below a value: what is empty, a list or not ours to look into is a leaf.
fn leaves(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !map.is_empty() && !OPEN.contains(&path) => {
            for (key, value) in map {
                leaves(value, &format!("{path}{}{key}", if path.is_empty() { "" } else { "." }), into);
            }
        }
        _ => drop(into.insert(path.to_owned())),
    }
}

/// Values that are handed on whole to the API server.
const OPEN: [&str; 4] = ["resources", "podSecurityContext", "securityContext", "metrics.dashboards.labels"];

fn defaults() -> Value {
    let values = std::fs::read_to_string(folder().join("values.yaml")).unwrap();
    serde_norway::from_str(&values).unwrap()
}

#[test]
fn what_the_schema_allows_is_what_there_is() {
    fn keys(schema: &Value, path: &str, root: &Value, into: &mut BTreeSet<String>) {
        let followed = schema["$ref"].as_str().map(|it| root.pointer(it.trim_start_matches('#')).unwrap());
        let schema = followed.unwrap_or(schema);
        let closed = schema["additionalProperties"] == json!(false) || path == "global";
        match schema["properties"].as_object() {
            Some(properties) if closed && !OPEN.contains(&path) => {
                for (key, property) in properties {
                    let dot = if path.is_empty() { "" } else { "." };
                    keys(property, &format!("{path}{dot}{key}"), root, into);
                }
            }
            _ => drop(into.insert(path.to_owned())),
        }
    }
    let schema = std::fs::read_to_string(folder().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let (mut allowed, mut there) = (BTreeSet::new(), BTreeSet::new());
    keys(&schema, "", &schema, &mut allowed);
    leaves(&defaults(), "", &mut there);
    // Empty objects with known keys.
    allowed.retain(|path| !path.starts_with("affinity."));
    allowed.insert("affinity".to_owned());
    assert_eq!(allowed, there);
}

/// Each value of the table, with what must be set for it to matter.
#[tokio::test]
async fn no_value_is_without_effect() {
    let changes: Value = serde_norway::from_str(include_str!("api_chart_changes.yaml")).unwrap();
    let mut there = BTreeSet::new();
    leaves(&defaults(), "", &mut there);
    let touched: BTreeSet<_> = changes.as_object().unwrap().keys().cloned().collect();
    assert_eq!(touched, there);
    for (path, value) in changes.as_object().unwrap() {
        let mut before = json!({});
        let parent = path.rsplit_once('.').map(|(parent, _)| parent.replace('.', "/"));
        let can_be_enabled = parent
            .filter(|_| !path.ends_with(".enabled"))
            .filter(|parent| defaults().pointer(&format!("/{parent}/enabled")).is_some());
        if let Some(parent) = can_be_enabled {
            put(&mut before, &format!("{}.enabled", parent.replace('/', ".")), true.into());
        }
        match path.as_str() {
            "tracing.ratio" => put(&mut before, "tracing.endpoint", json!("http://collector:4317")),
            "rbac.accessReviews" => put(&mut before, "watchNamespaces", json!(["shop"])),
            oidc if oidc.starts_with("oidc.") => {
                put(&mut before, "gateways", json!([{ "name": "door", "spec": { "oidc": {} } }]));
            }
            _ => {}
        }
        let mut after = before.clone();
        put(&mut after, path, value.clone());
        let without = HELM.template("portcullis-system", &before.to_string()).await;
        let with = HELM.template("portcullis-system", &after.to_string()).await;
        assert_ne!(without, with, "{after} changes nothing");
    }
}

/// Sets a value at a path with dots.
fn put(values: &mut Value, path: &str, value: Value) {
    let slot = path.split('.').fold(values, |at, key| &mut at[key]);
    *slot = value;
}

/// Names of metrics in a text that is a query, or has queries in it.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let ours = |it: &&str| it.starts_with("portcullis_operator_") || it.starts_with("portcullis_gateway_");
    words
        .filter(ours)
        .map(|it| it.trim_end_matches("_bucket").trim_end_matches("_count").to_owned())
        .collect()
}

#[tokio::test]
async fn every_alert_has_a_runbook_and_every_query_asks_for_what_the_reference_lists() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let reference = std::fs::read_to_string(docs.join("reference/metrics.md")).unwrap();
    let values = "{metrics: {prometheusRules: {enabled: true, runbooks: 'https://wiki.example/x/'}, dashboards: {enabled: true}}}";
    let rendered = objects(&HELM.template("portcullis-system", values).await);
    let rules = object(&rendered, "PrometheusRule", "portcullis-operator");
    let groups = rules["spec"]["groups"].as_array().unwrap();
    let (mut asked, mut pages) = (BTreeSet::new(), BTreeSet::from(["README.md".to_owned()]));
    for rule in groups.iter().flat_map(|it| it["rules"].as_array().unwrap()) {
        let page = format!("{}.md", rule["alert"].as_str().unwrap());
        assert_eq!(rule["annotations"]["runbook_url"], format!("https://wiki.example/x/{page}"));
        assert!(!rule["annotations"]["summary"].is_null() && !rule["labels"]["severity"].is_null(), "{rule}");
        asked.extend(metrics_in(rule["expr"].as_str().unwrap()));
        pages.insert(page);
    }
    assert!(pages.len() > 15, "{pages:?}");
    let files = std::fs::read_dir(docs.join("runbooks")).unwrap();
    let files: BTreeSet<_> = files.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, pages);
    let mut titles = BTreeSet::new();
    for map in rendered.iter().filter(|it| it["kind"] == "ConfigMap") {
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        for dashboard in map["data"].as_object().unwrap().values() {
            let dashboard: Value = serde_json::from_str(dashboard.as_str().unwrap()).unwrap();
            titles.insert(dashboard["title"].to_string());
            asked.extend(metrics_in(&dashboard["panels"].to_string()));
            asked.extend(metrics_in(&dashboard["templating"].to_string()));
        }
    }
    assert_eq!(titles.len(), 3, "{titles:?}");
    let unknown: Vec<_> = asked.iter().filter(|it| !reference.contains(&format!("| `{it}` |"))).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    // What nobody looks at is hardly worth its series.
    let listed = metrics_in(&reference);
    assert_eq!(listed.difference(&asked).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn what_the_gitops_examples_say_of_the_chart_is_so() {
    let read = |file: &str| objects(&std::fs::read_to_string(examples().join(file)).unwrap());
    let (argo, flux) = (read("argocd.yaml"), read("flux.yaml"));
    let application = object(&argo, "Application", "portcullis");
    let release = object(&flux, "HelmRelease", "portcullis");
    let source = &application["spec"]["source"];
    let folder = folder().canonicalize().unwrap();
    for path in [&source["path"], &release["spec"]["chart"]["spec"]["chart"]] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path.as_str().unwrap());
        assert_eq!(path.canonicalize().unwrap(), folder);
    }
    for values in [&source["helm"]["valuesObject"], &release["spec"]["values"]] {
        let rendered = objects(&HELM.template("portcullis-system", &values.to_string()).await);
        assert!(rendered.iter().any(|it| it["kind"] == "ServiceMonitor"), "{values}");
    }
    for namespace in [&application["spec"]["destination"]["namespace"], &release["spec"]["targetNamespace"]] {
        assert_eq!(namespace, "portcullis-system");
    }
}

#[tokio::test]
async fn definitions_are_kept_unless_they_are_not_to_be() {
    const KEEP: &str = "helm.sh/resource-policy";
    let of = async |values| {
        let rendered = objects(&HELM.template("portcullis-system", values).await);
        rendered.into_iter().filter(|it| it["kind"] == "CustomResourceDefinition").collect::<Vec<_>>()
    };
    let kept = of("{}").await;
    assert_eq!(kept.len(), 2);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    for definition in kept {
        assert_eq!(definition["metadata"]["annotations"][KEEP], "keep");
        let name = definition["metadata"]["name"].as_str().unwrap();
        let (plural, group) = name.split_once('.').unwrap();
        let file = std::fs::read_to_string(folder.join(format!("{group}_{plural}.yaml"))).unwrap();
        let file: Value = serde_norway::from_str(&file).unwrap();
        assert_eq!(definition["spec"], file["spec"], "{name}");
    }
    let left = of("{crds: {keep: false}}").await;
    assert!(
        left.len() == 2 && left.iter().all(|it| it["metadata"]["annotations"][KEEP].is_null()),
        "{left:?}"
    );
    assert_eq!(of("{crds: {enabled: false}}").await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_image_is_named_by_its_parts() {
    let digest = format!("sha256:{}", "0f".repeat(32));
    let cases = [
        ("{}".to_owned(), "localhost/portcullis-operator:dev"),
        (
            "{image: {registry: 'r.example:5000/team', tag: v1}}".to_owned(),
            "r.example:5000/team/portcullis-operator:v1",
        ),
        ("{image: {registry: ''}}".to_owned(), "portcullis-operator:dev"),
        (
            "{global: {imageRegistry: mirror.example}, image: {repository: a/b}}".to_owned(),
            "mirror.example/a/b:dev",
        ),
        (
            format!("{{image: {{tag: v1, digest: '{digest}'}}}}"),
            &format!("localhost/portcullis-operator@{digest}"),
        ),
    ];
    for (values, wanted) in cases {
        let rendered = objects(&HELM.template("portcullis-system", &values).await);
        let deployment = object(&rendered, "Deployment", "portcullis-operator");
        assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], wanted, "{values}");
    }
}

#[tokio::test]
async fn an_overlay_is_what_the_chart_makes_of_its_values() {
    let ha = "
replicaCount: 3
topologySpreadConstraints:
  - {topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, maxSkew: 1, matchLabelKeys: [pod-template-hash]}
  - {topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway, maxSkew: 1, matchLabelKeys: [pod-template-hash]}
";
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/kustomize");
    for (overlay, values) in [("base", "{}"), ("ha", ha), ("namespaced", "{watchNamespaces: [demo]}")] {
        let built = kubectl("default", &["kustomize", manifests.join(overlay).to_str().unwrap()], None).await;
        let built = by_name(objects(&built));
        let wanted = by_name(objects(&HELM.template("portcullis-system", values).await));
        assert!(wanted.len() > 10 && built.keys().eq(wanted.keys()), "{overlay}: {:?}", built.keys());
        for (name, object) in &built {
            assert_eq!(object, &wanted[name], "{overlay}: {name}");
        }
    }
}

/// Objects by kind, namespace and name. Of definitions nothing more than that they are there, since kustomize writes their
/// numbers anew; and no Namespace, which is there before Helm comes.
fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let named = objects.into_iter().filter(|it| it["kind"] != "Namespace").map(|mut it| {
        let name = format!("{} {} {}", it["kind"], it["metadata"]["namespace"], it["metadata"]["name"]);
        if it["kind"] == "CustomResourceDefinition" {
            it = Value::Null;
        }
        (name, it)
    });
    named.collect()
}

#[tokio::test]
async fn operators_share_a_cluster_but_not_a_namespace() {
    let client = client().await;
    let (here, there) = (namespace(&client).await, namespace(&client).await);
    let values = |watched: &str| {
        format!("{{watchNamespaces: [{watched}], crds: {{enabled: false}}, rbac: {{userRoles: false}}}}")
    };
    for (helm, (own, watched)) in HELMS.into_iter().zip([(&here, &there), (&there, &here)]) {
        helm.done(own, &["install", "portcullis"], &values(watched)).await;
    }
    for helm in HELMS {
        let second = helm.run(&here, &["install", "second"], &values("elsewhere")).await;
        let said = text(&second.stderr);
        assert!(!second.status.success() && said.contains("cannot be"), "{said}");
    }
    for (helm, own) in HELMS.into_iter().zip([&there, &here]) {
        helm.done(own, &["uninstall", "portcullis"], "").await;
    }
    for own in [&there, &here] {
        let kinds = "deployments,services,serviceaccounts,poddisruptionbudgets,roles,rolebindings,secrets";
        assert_eq!(kubectl(own, &["get", kinds, "--output=name"], None).await, "");
    }
}

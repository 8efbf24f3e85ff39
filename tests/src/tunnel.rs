//! Tunnels in a real cluster, and real connectors next to services outside of it. End-to-end tests only.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use portcullis_api::Tunnel;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::door::{Door, text, tool};
use crate::ports;

/// The Gateway of these tests: public names below it, and a client that may connect services.
pub const SPEC: &str = "
tunnels: {domain: t.example.com}
clients: [{name: connector, roles: [user], scopes: ['tunnel:write']}]
";

/// A program that a test started; it ends with it.
#[derive(Debug)]
pub struct Running(pub Child);

/// go-httpbin on loopback, outside of the cluster; returns its port.
pub async fn service() -> (Running, u16) {
    let port = ports::free("127.0.0.1");
    let mut httpbin = tool("go-httpbin");
    httpbin.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
    httpbin.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let running = Running(httpbin.spawn().unwrap());
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < crate::PATIENCE, "go-httpbin does not listen");
        sleep(Duration::from_millis(20)).await;
    }
    (running, port)
}

/// `portcullis connector` for a Tunnel of the namespace; its log goes to this file.
pub async fn connector(door: &Door, tunnel: &str, bundle: &Path, endpoint: &str, log: &Path) -> Running {
    let tunnel = format!("{}/{tunnel}", door.namespace);
    connector_with(door, bundle, log, &[&tunnel, "--endpoint", endpoint]).await
}

/// The same, with these arguments.
pub async fn connector_with(door: &Door, bundle: &Path, log: &Path, arguments: &[&str]) -> Running {
    let binary = std::env::var("PORTCULLIS_CLI_BIN").expect("cargo xtask test says where our binaries are");
    let mut portcullis = Command::new(binary);
    portcullis.arg("connector").args(arguments);
    portcullis.args([
        "--gateway",
        &format!("https://{}", door.address().await),
        "--server-name",
        &door.host(),
    ]);
    portcullis.arg("--credentials").arg(bundle);
    let file = std::fs::File::create(log).unwrap();
    portcullis.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).kill_on_drop(true);
    Running(portcullis.spawn().unwrap())
}

/// `curl` of a public name, as any visitor would; more arguments come last.
pub async fn visit(door: &Door, bundle: &Path, name: &str, path: &str, more: &[&str]) -> Output {
    let resolve = format!("{name}:443:{}", door.address().await);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "300", "--resolve", &resolve]);
    curl.arg("--cacert").arg(bundle.join("ca.crt")).args(more).arg(format!("https://{name}{path}"));
    curl.output().await.unwrap()
}

/// The status that a public name answers with; 000 where there is no answer.
pub async fn code(door: &Door, bundle: &Path, name: &str, path: &str) -> String {
    let more = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    text(&visit(door, bundle, name, path, &more).await.stdout)
}

/// Applies a Tunnel, given its spec as YAML, as whoever has the service would.
pub async fn apply(client: &kube::Client, namespace: &str, name: &str, spec: &str) -> Tunnel {
    let api: Api<Tunnel> = Api::namespaced(client.clone(), namespace);
    let spec: serde_json::Value = serde_norway::from_str(spec).expect("the test's YAML is YAML");
    let object = serde_json::json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Tunnel", "metadata": { "name": name }, "spec": spec,
    });
    api.patch(name, &PatchParams::apply("admin").force(), &Patch::Apply(&object)).await.unwrap()
}

/// Applies the Tunnel `web`, at `web.t.example.com` and open to everybody, with more of its spec as YAML, and waits until it
/// is Ready.
pub async fn ready_web(door: &Door, endpoint: &str, more: &str) -> Tunnel {
    let spec = format!(
        "{{gatewayRef: {{name: door}}, label: web, endpoint: '{endpoint}', access: {{auth: None}}{more}}}"
    );
    apply(&door.client, &door.namespace, "web", &spec).await;
    until(&door.client, &door.namespace, "web", ["Ready", "True", "Ready"]).await
}

/// A condition of a Tunnel.
pub fn condition<'a>(tunnel: &'a Tunnel, kind: &str) -> Option<&'a Condition> {
    tunnel.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == kind)
}

/// Waits until a condition of a Tunnel has this status and reason.
pub async fn until(client: &kube::Client, namespace: &str, name: &str, wanted: [&str; 3]) -> Tunnel {
    let api: Api<Tunnel> = Api::namespaced(client.clone(), namespace);
    let began = Instant::now();
    loop {
        let tunnel = api.get(name).await.unwrap();
        let [kind, status, reason] = wanted;
        if condition(&tunnel, kind).is_some_and(|it| {
            it.status == status && it.reason == reason && it.observed_generation == tunnel.metadata.generation
        }) {
            return tunnel;
        }
        assert!(began.elapsed() < crate::PATIENCE, "{wanted:?} never came: {:#?}", tunnel.status);
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a condition of a Tunnel says this.
pub async fn until_said(client: &kube::Client, namespace: &str, name: &str, kind: &str, said: &str) {
    let api: Api<Tunnel> = Api::namespaced(client.clone(), namespace);
    let says = |tunnel: Option<&Tunnel>| {
        tunnel.and_then(|it| condition(it, kind)).is_some_and(|it| it.message.contains(said))
    };
    let met = tokio::time::timeout(crate::PATIENCE, await_condition(api, name, says)).await;
    met.unwrap_or_else(|_| panic!("{kind} never said: {said}")).expect("the watch goes on");
}

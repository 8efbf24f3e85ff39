//! Certificates that age in the hands of those who hold them are renewed by them, through a real gateway, with a real
//! operator: by a command, by one that listens, and by a connector with a folder of its own. The operator's clock was behind
//! when it issued them, so that two thirds of their hour are over.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use portcullis_api::{ClientStatus, Gateway, Tunnel};
use portcullis_operator::clock::{Clock as _, SetClock, SystemClock};
use portcullis_pki::{LeafFacts, read_leaf};
use portcullis_tests::command::Home;
use portcullis_tests::operator::Operator;
use portcullis_tests::replica::{ready_pod, secret};
use portcullis_tests::{PATIENCE, apply, client, is, namespace, ports, tunnel, until};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// Of an hour and the five minutes before it, more than two thirds.
const AGE: time::Duration = time::Duration::minutes(45);
const FILES: [&str; 3] = ["ca.crt", "tls.crt", "tls.key"];

/// A Gateway with one replica, a process of this machine, and clients whose certificates are old.
struct Site {
    client: Client,
    namespace: String,
    operator: Operator,
    address: String,
    /// Bundles as they were issued, by the client's name: their Secrets are renewed by now.
    issued: BTreeMap<&'static str, BTreeMap<String, String>>,
    _gateway: Child,
    _mounted: TempDir,
}

impl Site {
    async fn new() -> Self {
        let client = client().await;
        let namespace = namespace(&client).await;
        let clock = Arc::new(SetClock::new(SystemClock.now() - AGE));
        let named = |options: &mut portcullis_operator::options::Options| {
            options.control_endpoint = Some(format!("localhost:{}", options.control_listen.port()));
        };
        let operator = Operator::start_with(&namespace, named, Arc::default(), clock.clone()).await;
        let scopes = "['identity:renew', 'tunnel:read', 'tunnel:write', 'project:read']";
        let of = |name: &str| {
            format!("{{name: {name}, user: {name}, roles: [user], duration: 1h, scopes: {scopes}}}")
        };
        let spec = format!(
            "{{clients: [{}, {}], replicas: 1, pki: {{server: {{dnsNames: [localhost]}}}}, tunnels: {{domain: t.example.com}}}}",
            of("laptop"),
            of("agent")
        );
        apply(&client, &namespace, "door", &spec).await.unwrap();
        ready_pod(&client, &namespace, "door", "door-1").await;
        until(&client, &namespace, "door", is("CertificatesReady", "True", "Issued")).await;
        let mut issued = BTreeMap::new();
        for name in ["laptop", "agent"] {
            let bundle = secret(&client, &namespace, &format!("door-client-{name}")).await;
            issued.insert(
                name,
                bundle.into_iter().filter(|(file, _)| FILES.contains(&file.as_str())).collect(),
            );
        }
        clock.advance(AGE);

        let mounted = tempfile::tempdir().unwrap();
        put(mounted.path(), &secret(&client, &namespace, "door-server").await);
        let config: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
        put(mounted.path(), &config.get("door-config").await.unwrap().data.unwrap());
        let (process, address) = gateway(mounted.path(), operator.control.port());
        until(&client, &namespace, "door", is("Ready", "True", "Ready")).await;
        Self { client, namespace, operator, address, issued, _gateway: process, _mounted: mounted }
    }

    /// A home in which the Gateway is known, with the bundle of this client; the folder with that.
    fn home(&self, name: &str) -> (Home, PathBuf) {
        let home = Home::new();
        let metadata = json!({ "endpoint": self.address, "mode": "MutualTLS" });
        home.put(".config/portcullis/gateways/door/metadata.json", metadata.to_string().as_bytes());
        home.put(".config/portcullis/active_gateway", b"door");
        let folder = home.path(".config/portcullis/gateways/door/mtls");
        fs::create_dir(&folder).unwrap();
        put(&folder, &self.issued[name]);
        (home, folder)
    }

    async fn status(&self, name: &str) -> ClientStatus {
        let api: Api<Gateway> = Api::namespaced(self.client.clone(), &self.namespace);
        let clients = api.get("door").await.unwrap().status.unwrap().clients;
        clients.into_iter().find(|it| it.name == name).unwrap()
    }

    /// That what is there was renewed by its client: the operator knows it for one of those.
    async fn knows(&self, name: &str, leaf: &LeafFacts) {
        let renewed = self.status(name).await.renewed;
        assert!(renewed.iter().any(|it| it.serial == leaf.serial), "{leaf:?} is not among {renewed:#?}");
        assert!(leaf.not_after > SystemClock.now() + time::Duration::minutes(50), "{leaf:?}");
    }
}

fn put(folder: &Path, files: &BTreeMap<String, String>) {
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn leaf(folder: &Path) -> LeafFacts {
    let [certificate, key] = ["tls.crt", "tls.key"].map(|it| fs::read_to_string(folder.join(it)).unwrap());
    read_leaf(&certificate, &key).expect("certificate and key fit")
}

/// The gateway's binary, with what a pod of its would have mounted.
fn gateway(mounted: &Path, control: u16) -> (Child, String) {
    let binary =
        std::env::var("PORTCULLIS_GATEWAY_BIN").expect("cargo xtask test says where our binaries are");
    let address = ports::free_address();
    let mut gateway = Command::new(binary);
    gateway.env("POD_NAME", "door-1").env("PORTCULLIS_LISTEN", address.to_string());
    for port in ["PEER", "HEALTH", "METRICS"] {
        gateway.env(format!("PORTCULLIS_{port}_LISTEN"), ports::free_address().to_string());
    }
    gateway.env("PORTCULLIS_TLS_DIR", mounted).env("PORTCULLIS_SNAPSHOT", mounted.join("snapshot.json"));
    gateway.env("PORTCULLIS_CONTROL_ENDPOINT", format!("https://localhost:{control}"));
    gateway.stdin(Stdio::null()).kill_on_drop(true);
    (gateway.spawn().unwrap(), format!("https://localhost:{}", address.port()))
}

/// Waits until this is so.
async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_renews_by_itself_what_has_two_thirds_of_its_life_behind_it_and_once() {
    let site = Site::new().await;
    let (home, folder) = site.home("laptop");
    let old = leaf(&folder);
    home.well(&["gateway", "status"]).await;
    let new = leaf(&folder);
    assert_ne!((&new.serial, &new.fingerprint), (&old.serial, &old.fingerprint));
    assert_ne!(fs::read_to_string(folder.join("tls.key")).unwrap(), site.issued["laptop"]["tls.key"]);
    site.knows("laptop", &new).await;
    home.well(&["tunnel", "list"]).await;
    assert_eq!(leaf(&folder).serial, new.serial, "what is new is left alone");
    site.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_listens_for_a_tunnel_renews_while_it_does_and_goes_on() {
    let site = Site::new().await;
    let (home, folder) = site.home("laptop");
    // It was looked at just now, so that its beginning changes nothing.
    let now = SystemClock.now().unix_timestamp().to_string();
    let looked = home.put(".config/portcullis/gateways/door/renewal", now.as_bytes());
    let old = leaf(&folder);
    let arguments = ["tunnel", "listen", "--endpoint", "9", "--public", "--label", "web", "-o", "json"];
    let mut listening = home.portcullis(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(listening.stdout.take().unwrap()).lines();
    let mut until_said = async |wish: &dyn Fn(&serde_json::Value) -> bool| {
        let waiting = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if wish(&serde_json::from_str(&line).unwrap()) {
                    return;
                }
            }
            panic!("it has ended");
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    };
    until_said(&|it| it["event"] == "done" && it["step"] == "connected").await;
    assert_eq!(leaf(&folder).serial, old.serial, "it is as it was");
    fs::remove_file(looked).unwrap();
    eventually("it is renewed", || {
        fs::read_to_string(folder.join("tls.crt")).is_ok_and(|it| it != site.issued["laptop"]["tls.crt"])
    })
    .await;
    let new = leaf(&folder);
    site.knows("laptop", &new).await;
    let pid = listening.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    until_said(&|it| it["event"] == "stopped").await;
    assert!(listening.wait().await.unwrap().success());
    site.operator.stop().await;
}

/// `portcullis connector` with what is in this folder; its log goes beside it.
fn connector(site: &Site, home: &Home, folder: &Path) -> (Child, PathBuf) {
    let log = folder.with_extension("log");
    let target = format!("{}/web", site.namespace);
    let mut command = home.portcullis(&["connector", &target, "--endpoint", "http://localhost:9"]);
    command.env("PORTCULLIS_GATEWAY_ENDPOINT", &site.address).env("PORTCULLIS_CREDENTIALS", folder);
    let child = command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    (child, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_renews_the_files_that_it_was_given_and_takes_them_up_and_leaves_a_mounted_secret_alone()
{
    let site = Site::new().await;
    let spec = "{gatewayRef: {name: door}, label: web, access: {auth: None}, endpoint: 'http://localhost:9'}";
    tunnel::apply(&site.client, &site.namespace, "web", spec).await;
    let home = Home::new();
    let folder = home.path("own");
    fs::create_dir(&folder).unwrap();
    put(&folder, &site.issued["agent"]);
    let old = leaf(&folder);
    let (mut child, log) = connector(&site, &home, &folder);
    let shown = async || {
        let api: Api<Tunnel> = Api::namespaced(site.client.clone(), &site.namespace);
        let status = api.get("web").await.unwrap().status.unwrap_or_default();
        status.connections.into_iter().map(|it| it.certificate_fingerprint).collect::<Vec<_>>()
    };
    let until_shown = async |fingerprint: &str| {
        let began = Instant::now();
        loop {
            let shown = shown().await;
            if !shown.is_empty() && shown.iter().all(|it| it.as_deref() == Some(fingerprint)) {
                return;
            }
            let log = fs::read_to_string(&log).unwrap();
            assert!(began.elapsed() < PATIENCE, "{shown:?}, not {fingerprint}: {log}");
            sleep(Duration::from_millis(100)).await;
        }
    };
    let is_new =
        || fs::read_to_string(folder.join("tls.crt")).is_ok_and(|it| it != site.issued["agent"]["tls.crt"]);
    eventually("the files are others", is_new).await;
    eventually("nothing is left beside them", || !folder.join(".renewed").exists()).await;
    let new = leaf(&folder);
    assert_ne!(new.serial, old.serial);
    site.knows("agent", &new).await;
    until_shown(&new.fingerprint).await;
    for name in FILES.into_iter().filter(|it| *it != "ca.crt") {
        let mode = fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    child.kill().await.unwrap();

    // As the kubelet mounts it.
    let mounted = home.path("mounted");
    fs::create_dir_all(mounted.join("..data")).unwrap();
    put(&mounted.join("..data"), &site.issued["agent"]);
    for name in FILES {
        symlink(format!("..data/{name}"), mounted.join(name)).unwrap();
    }
    let (_child, log) = connector(&site, &home, &mounted);
    let said = || {
        fs::read_to_string(&log).is_ok_and(|it| it.contains("is not renewed: put a new bundle in its place"))
    };
    eventually("it is said that it ends", said).await;
    assert_eq!(leaf(&mounted).serial, old.serial);
    assert_eq!(site.status("agent").await.renewed.len(), 1, "nothing was asked for");
    site.operator.stop().await;
}

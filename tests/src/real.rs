//! Parts of the end-to-end tests that nobody here wrote: OpenID providers, an identity-aware edge, a trusted proxy and a
//! browser. `cargo xtask test` starts the providers once, beside the cluster; each test that needs one of the others
//! starts its own.
//!
//! What must not live here: what is expected of a Gateway; tests say that.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::door::{Door, kubectl, text};

pub mod browser;
pub mod caller;
pub mod collector;
pub mod edge;
pub mod prometheus;
pub mod provider;
pub mod proxy;
pub mod tunnel;

/// Where the parts listen, and what pods reach the machine by.
pub const NODE: &str = "10.255.0.1";
/// What a Gateway's pods see parts as that come through its Service: kube-proxy puts the bridge's address in front of who is
/// no pod.
pub const BRIDGE: &str = "10.244.0.1";
/// Nothing that is started here takes longer to answer, on a machine that is busy with other things too.
const START: Duration = Duration::from_mins(2);

/// The folder in which `cargo xtask test` has put what the parts need.
pub fn folder() -> PathBuf {
    std::env::var_os("PORTCULLIS_TEST_PARTS")
        .expect("these tests need parts: run them with `cargo xtask test`")
        .into()
}

/// The roots that the parts' certificates are checked against.
pub fn roots() -> PathBuf {
    folder().join("ca.crt")
}

/// The configurations and scripts of the parts.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("real")
}

/// Tells the cluster where the providers are; once is enough.
pub async fn reachable() {
    static TOLD: OnceCell<()> = OnceCell::const_new();
    let tell = async || {
        let names = include_str!("../real/parts.yaml");
        kubectl("parts", &["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(names)).await;
    };
    TOLD.get_or_init(tell).await;
}

/// A TLS connection whose other end is checked against these roots.
pub(crate) async fn tls(
    roots: &Path,
    host: &str,
    address: (&str, u16),
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut store = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(roots).unwrap() {
        store.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// A certificate of the parts' authority for these names, as NAME.crt and NAME.key in a folder.
pub async fn certificate(folder: &Path, name: &str, names: &[&str]) {
    let mut make = Command::new("bash");
    make.arg(sources().join("certificates.sh")).arg("leaf").arg(self::folder());
    make.arg(folder.join(name)).args(names);
    let output = make.output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Fills in what stands in {{braces}} in a configuration.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.replace("{{braces}}", "braces");
    for (name, value) in values {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    assert!(!text.contains("{{"), "something is not filled in: {text}");
    text
}

/// `curl` to a part; nothing of what it says is checked.
pub async fn curl(resolve: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "60", "--cacert"]).arg(roots());
    for (name, address) in resolve {
        curl.arg("--resolve").arg(format!("{name}:{address}"));
    }
    curl.args(arguments).output().await.unwrap()
}

/// JSON out of an answer, which says what it is where it is none.
fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr)))
}

/// An address on loopback where nobody listens, for a part that wants the usual ports: a server per address.
fn loopback() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(
        "127.{}.{}.{}",
        1 + std::process::id() % 250,
        1 + std::process::id() / 250 % 250,
        1 + number % 250
    )
}

/// A program whose end, however sudden, is the end of all that it has started: it is the first process of a namespace.
pub fn contained(program: &str) -> Command {
    namespaced(&["--mount-proc"], program)
}

/// The same, where `/proc` shows the machine's processes: for files of a pod, below the root of one of its own.
fn contained_beside_pods(program: &str) -> Command {
    namespaced(&[], program)
}

fn namespaced(more: &[&str], program: &str) -> Command {
    let mut contained = Command::new("unshare");
    contained.args(["--mount", "--pid", "--fork", "--kill-child"]).args(more).arg(program);
    contained.env("PATH", search_path()).kill_on_drop(true);
    contained
}

/// A server that a test started; it ends with it.
#[derive(Debug)]
struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it, with its words in NAME.log in a folder.
    fn start(name: &'static str, folder: &Path, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { name, child: command.spawn().unwrap_or_else(|error| panic!("{name}: {error}")), log }
    }

    /// Waits until it answers.
    async fn until(&mut self, answers: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !answers().await {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended ({ended:?}): {}", self.name, self.words());
            assert!(began.elapsed() < START, "{} does not answer: {}", self.name, self.words());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// From one moment to the next it is gone.
    async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// The last of what it said.
    fn words(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// `PATH`, with where Debian puts servers, which it leaves out for ordinary users.
fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Header fields that a caller might wish to be believed; each speaks of somebody or something called forged.
pub const FORGED: [&str; 12] = [
    "X-Portcullis-User: forged",
    "X-Portcullis-Roles: forged",
    "X-Portcullis-Scopes: forged",
    "X-Portcullis-Anything: forged",
    "X_Portcullis_User: forged",
    "x_portcullis_roles: forged",
    "Client-Cert: :Zm9yZ2Vk:",
    "Client-Cert-Chain: :Zm9yZ2Vk:",
    "X-Forwarded-For: 192.0.2.66",
    "X-Forwarded-Host: forged.example.com",
    "X-Forwarded-Proto: forged",
    "Forwarded: for=192.0.2.66;host=forged.example.com",
];

/// What of it came to a backend that repeats the header fields that it got.
pub fn arrived(told: &Value) -> Vec<String> {
    let fields = told["headers"].as_object().unwrap_or_else(|| panic!("no header fields: {told}"));
    let fields = fields.iter().map(|(name, values)| format!("{name}: {values}"));
    let forged = ["forged", "Zm9yZ2Vk", "192.0.2.66", "edge-token", "edge_token"];
    fields
        .filter(|field| {
            forged.iter().any(|word| field.to_ascii_lowercase().contains(&word.to_ascii_lowercase()))
        })
        .collect()
}

/// `spec.drivers` with both example drivers, and the `spec.podTemplate` that brings one of them its credentials.
pub fn drivers() -> (Value, Value) {
    let sidecar = |kind: &str, more: Value| {
        let image = format!("localhost/portcullis-example-{kind}-driver:dev");
        json!({ "sidecar": { "image": image, "args": more } })
    };
    let drivers = json!({
        "compute": sidecar("compute", json!([])),
        "credentials": sidecar("credentials", json!(["--file=/credentials/credentials.json"])),
    });
    let mounts = json!([{ "name": "credentials", "mountPath": "/credentials" }]);
    let template = json!({ "spec": {
        "containers": [{ "name": "driver-credentials", "volumeMounts": mounts }],
        "volumes": [{ "name": "credentials", "secret": { "secretName": "registry" } }],
    } });
    (drivers, template)
}

/// The credentials that the example driver hands out: one, called registry.
pub async fn bring_credentials(door: &Door) {
    let credentials = json!({ "registry": { "token": CREDENTIAL, "scopes": ["pull"] } });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "registry" },
        "stringData": { "credentials.json": credentials.to_string() },
    });
    door.kubectl(&["apply", "-f", "-"], Some(&secret.to_string())).await;
}

/// What stands in it.
pub const CREDENTIAL: &str = "a-secret-of-the-registry";

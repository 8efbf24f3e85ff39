//! A Gateway in a real cluster, as a client meets it: backends that run, the bundle from its Secret, and the tools that
//! people use. End-to-end tests only.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::mutual::Bundle;

/// A Gateway named door in a namespace of its own, with go-httpbin behind it.
pub struct Door {
    /// Nobody meddles with it.
    pub client: Client,
    /// Where it all lives.
    pub namespace: String,
    bundles: TempDir,
}

impl Door {
    /// A namespace under the restricted Pod Security profile, with go-httpbin running; no Gateway yet.
    pub async fn site() -> Self {
        let client = crate::client().await;
        let namespace = crate::namespace(&client).await;
        let labels =
            json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        namespaces.patch(&namespace, &PatchParams::default(), &Patch::Merge(&labels)).await.unwrap();
        let door = Self { client, namespace, bundles: tempfile::tempdir().unwrap() };
        door.kubectl(&["apply", "-f", "-"], Some(&httpbin())).await;
        door.kubectl(&["rollout", "status", "deployment/httpbin", "--timeout=180s"], None).await;
        door
    }

    /// The same, with a Gateway that is Ready.
    pub async fn ready(spec: &str) -> Self {
        let door = Self::site().await;
        door.apply(spec).await;
        door.until_ready().await;
        door
    }

    /// Applies the Gateway.
    pub async fn apply(&self, spec: &str) {
        crate::apply(&self.client, &self.namespace, "door", spec).await.unwrap();
    }

    /// Waits until it is Ready, of the current generation, and its Service leads there: kube-proxy takes a second or so to
    /// know of a new one, and of its pods.
    pub async fn until_ready(&self) -> portcullis_api::Gateway {
        let ready = crate::is("Ready", "True", "Ready");
        let gateway = crate::until(&self.client, &self.namespace, "door", ready).await;
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let spec = services.get("door").await.unwrap().spec.unwrap();
        let port = u16::try_from(spec.ports.unwrap()[0].port).unwrap();
        let (address, began) = (spec.cluster_ip.unwrap(), Instant::now());
        let connect = || timeout(Duration::from_secs(5), TcpStream::connect((address.as_str(), port)));
        while !connect().await.is_ok_and(|connected| connected.is_ok()) {
            assert!(began.elapsed() < crate::PATIENCE, "the Service does not lead to the Gateway");
            sleep(Duration::from_millis(100)).await;
        }
        gateway
    }

    /// Waits until the status says that every replica has cut what came with a certificate of this serial.
    pub async fn until_enforced(&self, serial: &str) {
        crate::until(&self.client, &self.namespace, "door", |gateway| {
            let mut revocations = gateway.status.iter().flat_map(|status| &status.revocations);
            revocations.any(|it| it.serial == serial && it.enforced_at.is_some())
        })
        .await;
    }

    /// The folder with a client's bundle, fetched anew.
    pub async fn bundle(&self, client: &str) -> PathBuf {
        let secret =
            crate::replica::secret(&self.client, &self.namespace, &format!("door-client-{client}")).await;
        self.kept(client, &secret)
    }

    /// A folder with a bundle, for programs.
    pub fn kept(&self, folder: &str, bundle: &Bundle) -> PathBuf {
        let folder = self.bundles.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in bundle {
            std::fs::write(folder.join(name), text).unwrap();
        }
        folder
    }

    /// The name in the certificate.
    pub fn host(&self) -> String {
        format!("door.{}.svc", self.namespace)
    }

    /// The Service's address.
    pub async fn address(&self) -> String {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        services.get("door").await.unwrap().spec.unwrap().cluster_ip.unwrap()
    }

    /// `curl` through the Gateway; more arguments come last.
    pub async fn curl(&self, bundle: Option<&Path>, path: &str, more: &[&str]) -> Output {
        let (host, address) = (self.host(), self.address().await);
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--resolve",
            &format!("{host}:443:{address}"),
        ]);
        if let Some(bundle) = bundle {
            curl.arg("--cacert").arg(bundle.join("ca.crt")).arg("--cert").arg(bundle.join("tls.crt"));
            curl.arg("--key").arg(bundle.join("tls.key"));
        } else {
            curl.arg("--insecure");
        }
        curl.args(more).arg(format!("https://{host}{path}")).output().await.unwrap()
    }

    /// The status that a path is answered with; 000 where there is no answer.
    pub async fn code(&self, bundle: &Path, path: &str) -> String {
        let more = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        text(&self.curl(Some(bundle), path, &more).await.stdout)
    }

    /// Waits until a path is answered with a status: kube-proxy takes a second or so to know a new Service.
    pub async fn until_code(&self, bundle: &Path, path: &str, code: &str) {
        let began = Instant::now();
        loop {
            let seen = self.code(bundle, path).await;
            if seen == code {
                return;
            }
            assert!(began.elapsed() < crate::PATIENCE, "{path} is answered with {seen}, not {code}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Nobody comes in with this; in the end TLS says why, in this word. What is closed while `curl` still speaks may look
    /// like a broken connection to it: then it is asked again.
    pub async fn turned_away(&self, bundle: Option<&Path>, path: &str, why: &str) {
        let began = Instant::now();
        loop {
            let output = self.curl(bundle, path, &["--insecure"]).await;
            let said = text(&output.stderr);
            assert!(!output.status.success(), "it was let in: {}", text(&output.stdout));
            if said.contains(why) {
                return;
            }
            assert!(began.elapsed() < crate::PATIENCE, "it is not told `{why}` but: {said}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Names of the Gateway's pods.
    pub async fn pods(&self) -> Vec<String> {
        let names = "jsonpath={.items[*].metadata.name}";
        let told =
            self.kubectl(&["get", "pods", "-l", "portcullis.dev/gateway=door", "-o", names], None).await;
        told.split(' ').map(str::to_owned).collect()
    }

    /// `grpcurl` of a method, found by reflection.
    pub async fn grpcurl(&self, bundle: &Path, method: &str) -> Output {
        self.grpcurl_with(bundle, method, "{}").await
    }

    /// The same, with a request as JSON.
    pub async fn grpcurl_with(&self, bundle: &Path, method: &str, request: &str) -> Output {
        let mut command = tool("grpcurl");
        command.args(["-connect-timeout", "60", "-d", request]);
        for (flag, file) in [("-cacert", "ca.crt"), ("-cert", "tls.crt"), ("-key", "tls.key")] {
            command.arg(flag).arg(bundle.join(file));
        }
        command.args(["-authority", &self.host(), &format!("{}:443", self.address().await), method]);
        command.output().await.unwrap()
    }

    /// `grpc-health-probe` of the Gateway.
    pub async fn health_probe(&self, bundle: &Path) -> Output {
        let mut command = tool("grpc-health-probe");
        for (flag, file) in [("ca-cert", "ca.crt"), ("client-cert", "tls.crt"), ("client-key", "tls.key")] {
            command.arg(format!("-tls-{flag}={}", bundle.join(file).display()));
        }
        command.args([
            "-tls",
            "-connect-timeout=30s",
            "-rpc-timeout=30s",
            &format!("-tls-server-name={}", self.host()),
        ]);
        command.arg(format!("-addr={}:443", self.address().await));
        command.output().await.unwrap()
    }

    /// `kubectl` in the namespace; fails the test where it fails.
    pub async fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> String {
        kubectl(&self.namespace, arguments, input).await
    }

    /// What `kubectl` says where it fails, as it must.
    pub async fn kubectl_refused(&self, arguments: &[&str], input: &str) -> String {
        let mut kubectl = tool("kubectl");
        kubectl.arg("--namespace").arg(&self.namespace).args(arguments);
        let output = fed(&mut kubectl, Some(input)).await;
        assert!(!output.status.success(), "{kubectl:?} went well: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// SHA-256 of the certificate that a new connection is shown, as `openssl` reads it.
    pub async fn served_fingerprint(&self, bundle: &Path) -> String {
        let script = format!(
            "openssl s_client -connect {}:443 -servername {} -cert {b}/tls.crt -key {b}/tls.key </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256",
            self.address().await,
            self.host(),
            b = bundle.display(),
        );
        let output = Command::new("bash").args(["-c", &script]).output().await.unwrap();
        let line = text(&output.stdout);
        line.rsplit('=').next().unwrap_or_default().trim().replace(':', "").to_lowercase()
    }
}

impl Drop for Door {
    /// A node has room for a hundred pods. What a failed test leaves can be looked at, for as long as there is room.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mut kubectl = std::process::Command::new(tool_path("kubectl"));
            kubectl.args(["delete", "namespace", &self.namespace, "--wait=false"]).stdout(Stdio::null());
            drop(kubectl.status());
        }
    }
}

/// `kubectl` in a namespace; fails the test where it fails.
pub async fn kubectl(namespace: &str, arguments: &[&str], input: Option<&str>) -> String {
    run(tool("kubectl").arg("--namespace").arg(namespace).args(arguments), input).await
}

/// Runs a program with this on its standard input; fails the test where it fails.
pub async fn run(command: &mut Command, input: Option<&str>) -> String {
    let output = fed(command, input).await;
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a program with this on its standard input. One that ends before it has read all of it says in its output why.
pub async fn fed(command: &mut Command, input: Option<&str>) -> Output {
    use tokio::io::AsyncWriteExt as _;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeding = async move { drop(stdin.write_all(input.unwrap_or_default().as_bytes()).await) };
    let ((), output) = tokio::join!(feeding, child.wait_with_output());
    output.unwrap()
}

/// A program that `cargo xtask test` has put beside the cluster's own.
pub fn tool(name: &str) -> Command {
    Command::new(tool_path(name))
}

/// Where `cargo xtask test` has put a program.
pub fn tool_path(name: &str) -> PathBuf {
    let folder = std::env::var("PORTCULLIS_TEST_BIN").expect("cargo xtask test says where the tools are");
    Path::new(&folder).join(name)
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `curl` got, as JSON.
pub fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr)))
}

/// The quickstart's backend, in whatever namespace.
fn httpbin() -> String {
    let quickstart = include_str!("../../manifests/examples/quickstart.yaml");
    let documents = quickstart
        .split("\n---\n")
        .filter(|it| it.contains("name: httpbin\n") && !it.contains("kind: Gateway"));
    // What tests look at while it lasts, lasts longer.
    let (usual, patient) = ("-port, \"8080\"]", "-port, \"8080\", -max-duration, 60s]");
    assert!(quickstart.contains(usual));
    let documents = documents.map(|it| it.replace("  namespace: demo\n", "").replace(usual, patient));
    documents.collect::<Vec<_>>().join("\n---\n")
}

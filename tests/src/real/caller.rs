//! `grpcurl` and `curl` to a Gateway that callers reach with a token alone: straight, through a proxy, through a tunnel.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use futures::StreamExt as _;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::{edge, proxy, roots};
use crate::door::{Door, text, tool};

/// A way to a Gateway.
#[derive(Debug)]
pub struct Caller {
    /// The name that is asked for.
    pub host: String,
    address: String,
    port: u16,
    /// None: without TLS.
    roots: Option<PathBuf>,
    _folder: Option<TempDir>,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its gRPC status, such as `OK` or `PermissionDenied`.
    pub code: String,
    /// What is said of it.
    pub message: String,
    /// The message; null where there is none.
    pub body: Value,
}

impl Caller {
    /// Straight to the Service, trusting the Gateway's own authority.
    pub async fn direct(door: &Door) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = door.kubectl(
            &["get", "secret", "door-server", "-o", r"go-template={{index .data `ca.crt` | base64decode}}"],
            None,
        );
        let roots = folder.path().join("ca.crt");
        std::fs::write(&roots, ca.await).unwrap();
        Self {
            host: door.host(),
            address: door.address().await,
            port: 443,
            roots: Some(roots),
            _folder: Some(folder),
        }
    }

    /// Through nginx.
    pub fn through_proxy(proxy: &proxy::Proxy, port: u16) -> Self {
        let address = proxy.address.clone();
        Self { host: proxy::HOST.to_owned(), address, port, roots: Some(roots()), _folder: None }
    }

    /// Through a port of ours behind which a tunnel is.
    pub fn plain(address: SocketAddr) -> Self {
        let (host, port) = (edge::HOST.to_owned(), address.port());
        Self { host, address: address.ip().to_string(), port, roots: None, _folder: None }
    }

    /// Calls a method, such as `portcullis.gateway.v1.Sandboxes/ListSandboxes`.
    pub async fn call(&self, token: Option<&str>, method: &str, body: &str) -> Answer {
        self.call_with(token, method, body, &[]).await
    }

    /// The same, with more header fields, such as `name: value`.
    pub async fn call_with(&self, token: Option<&str>, method: &str, body: &str, fields: &[&str]) -> Answer {
        let mut grpcurl = tool("grpcurl");
        // The messages are known, so that nothing has to be asked for first.
        grpcurl.arg("-import-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto"));
        for proto in ["gateway", "credentials", "sandboxes"] {
            grpcurl.args(["-proto", &format!("portcullis/gateway/v1/{proto}.proto")]);
        }
        grpcurl.args(["-connect-timeout", "60", "-max-time", "60", "-authority", &self.host]);
        match &self.roots {
            Some(roots) => grpcurl.arg("-cacert").arg(roots),
            None => grpcurl.arg("-plaintext"),
        };
        if let Some(token) = token {
            grpcurl.args(["-H", &format!("authorization: Bearer {token}")]);
        }
        for field in fields {
            grpcurl.args(["-H", field]);
        }
        grpcurl.args(["-d", body, &format!("{}:{}", self.address, self.port), method]);
        Answer::of(&grpcurl.output().await.unwrap())
    }

    /// `grpc-health-probe` says that it serves.
    pub async fn is_healthy(&self) -> bool {
        let mut probe = tool("grpc-health-probe");
        if let Some(roots) = &self.roots {
            probe.arg("-tls").arg(format!("-tls-ca-cert={}", roots.display()));
            probe.arg(format!("-tls-server-name={}", self.host));
        }
        probe
            .args(["-connect-timeout=30s", "-rpc-timeout=30s"])
            .arg(format!("-addr={}:{}", self.address, self.port));
        probe.output().await.unwrap().status.success()
    }

    /// `curl` of a path, with a token where there is one.
    pub async fn curl(&self, token: Option<&str>, path: &str, arguments: &[&str]) -> Output {
        let scheme = if self.roots.is_some() { "https" } else { "http" };
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60"]);
        curl.args(["--resolve", &format!("{}:{}:{}", self.host, self.port, self.address)]);
        if let Some(roots) = &self.roots {
            curl.arg("--cacert").arg(roots);
        }
        if let Some(token) = token {
            curl.args(["--header", &format!("Authorization: Bearer {token}")]);
        }
        curl.args(arguments).arg(format!("{scheme}://{}:{}{path}", self.host, self.port));
        curl.output().await.unwrap()
    }

    /// The status that a path is answered with; 000 where there is no answer.
    pub async fn code(&self, token: Option<&str>, path: &str, arguments: &[&str]) -> String {
        let only = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        let arguments: Vec<_> = only.into_iter().chain(arguments.iter().copied()).collect();
        text(&self.curl(token, path, &arguments).await.stdout)
    }

    /// Asks for a path with each of these tokens, all on one connection, 50 at a time; how often which status came.
    pub async fn flood(&self, path: &str, tokens: impl Iterator<Item = String>) -> BTreeMap<u16, usize> {
        let roots = self.roots.as_deref().expect("a way with TLS");
        let address = (self.address.as_str(), self.port);
        let stream = super::tls(roots, &self.host, address, &[b"h2"]).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let ask = |token: String| {
            let mut sender = sender.clone();
            let request = http::Request::get(format!("https://{}{path}", self.host))
                .header("authorization", format!("Bearer {token}"))
                .body(Empty::<Bytes>::new())
                .unwrap();
            async move { sender.send_request(request).await.unwrap().status().as_u16() }
        };
        let mut answers = futures::stream::iter(tokens.map(ask)).buffer_unordered(50);
        let mut seen = BTreeMap::new();
        while let Some(status) = answers.next().await {
            *seen.entry(status).or_default() += 1;
        }
        connection.abort();
        seen
    }

    /// Waits until a path is answered with this: kube-proxy takes a second or so to know a new Service.
    pub async fn until_code(&self, token: Option<&str>, path: &str, code: &str) {
        let began = tokio::time::Instant::now();
        loop {
            let seen = self.code(token, path, &[]).await;
            if seen == code {
                return;
            }
            assert!(began.elapsed() < crate::PATIENCE, "{path} is answered with {seen}, not {code}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

impl Answer {
    /// Reads what grpcurl writes.
    fn of(output: &Output) -> Self {
        if output.status.success() {
            let body = serde_json::from_slice(&output.stdout).unwrap_or_default();
            return Self { code: "OK".to_owned(), message: String::new(), body };
        }
        let said = text(&output.stderr);
        let field = |name: &str| {
            said.lines().find_map(|line| line.trim().strip_prefix(name)).map(|rest| rest.trim().to_owned())
        };
        let code = field("Code:").unwrap_or_else(|| panic!("grpcurl says no code: {said}"));
        Self { code, message: field("Message:").unwrap_or_default(), body: Value::Null }
    }
}

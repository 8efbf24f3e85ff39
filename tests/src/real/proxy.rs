//! nginx as the trusted proxy in front of a Gateway in mode Plaintext: TLS ends there.

use std::process::Output;

use tempfile::TempDir;

use super::{Server, certificate, contained, curl, filled, loopback};
use crate::door::Door;

/// The name that the outside knows the gateway by.
pub const HOST: &str = "proxy.parts.svc";
/// Where Debian has the modules.
const MODULES: &str = "/usr/lib/nginx/modules";

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// Its address on loopback. Port 443 speaks HTTP to the gateway, port 8443 passes bytes on behind a PROXY header.
    pub address: String,
    server: Server,
    _folder: TempDir,
}

impl Proxy {
    /// Starts one before a Gateway that listens at this port of its Service, and waits until it answers through it.
    pub async fn start(door: &Door, port: u16) -> Self {
        let mut proxy = Self::without_probe(door, port).await;
        let address = proxy.address.clone();
        let answers = async || {
            let more = ["--fail", &format!("https://{HOST}/healthz")];
            curl(&[(&format!("{HOST}:443"), &address)], &more).await.status.success()
        };
        proxy.server.until(answers).await;
        proxy
    }

    /// The same, whether anybody answers behind it or not.
    pub async fn without_probe(door: &Door, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        certificate(path, "proxy", &[HOST]).await;
        let address = loopback();
        let configuration = filled(
            include_str!("../../real/proxy/nginx.conf"),
            &[
                ("folder", &path.display().to_string()),
                ("host", HOST),
                ("address", &address),
                ("modules", MODULES),
                ("gateway", &format!("{}:{port}", door.address().await)),
            ],
        );
        std::fs::write(path.join("nginx.conf"), configuration).unwrap();
        let mut nginx = contained("nginx");
        nginx.arg("-p").arg(path).arg("-c").arg(path.join("nginx.conf"));
        Self { server: Server::start("nginx", path, &mut nginx), address, _folder: folder }
    }

    /// `curl` of a path through it; port 443 or 8443.
    pub async fn curl(&self, port: u16, path: &str, arguments: &[&str]) -> Output {
        let url = format!("https://{HOST}:{port}{path}");
        let arguments: Vec<_> = arguments.iter().copied().chain([url.as_str()]).collect();
        curl(&[(&format!("{HOST}:{port}"), &self.address)], &arguments).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("nginx said:\n{}", self.server.words());
        }
    }
}

//! Apache with mod_auth_openidc as the identity-aware edge in front of a Gateway in mode Edge.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use tempfile::TempDir;

use super::provider::Provider;
use super::{Server, certificate, contained, curl, filled, loopback};
use crate::door::{Door, text};

/// The name that the outside knows the gateway by.
pub const HOST: &str = "edge.parts.svc";
/// Where Debian has the modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// A client at a provider that logs people in for an edge.
#[derive(Debug, Clone)]
pub struct Registration {
    /// What ID tokens have in `aud`.
    pub client: String,
    secret: String,
}

impl Registration {
    /// With a provider, whose ID tokens for it last so long.
    pub async fn with(provider: &Provider, id_token_seconds: u32) -> Self {
        let redirect = format!("https://{HOST}/oidc/callback");
        let (client, secret) = provider.register_edge(&redirect, id_token_seconds).await;
        Self { client, secret }
    }
}

/// A running edge.
#[derive(Debug)]
pub struct Edge {
    /// Its address on loopback; the port is 443.
    pub address: String,
    server: Server,
    _folder: TempDir,
}

impl Edge {
    /// Starts one before a Gateway that is ready.
    pub async fn start(door: &Door, provider: &Provider, registration: &Registration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // Its workers are another user.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        certificate(path, "edge", &[HOST]).await;
        std::fs::copy(super::roots(), path.join("ca.crt")).unwrap();
        let authority =
            door.kubectl(&["get", "secret", "door-server", "-o", r"jsonpath={.data.ca\.crt}"], None).await;
        std::fs::write(path.join("gateway-ca.crt"), decoded(&authority)).unwrap();
        let (provider_host, provider_address) = provider.resolved();
        let hosts = format!(
            "127.0.0.1 localhost\n{provider_address} {provider_host}\n{} {}\n",
            door.address().await,
            door.host()
        );
        std::fs::write(path.join("hosts"), hosts).unwrap();
        let address = loopback();
        let configuration = filled(
            include_str!("../../real/edge/apache.conf"),
            &[
                ("folder", &path.display().to_string()),
                ("host", HOST),
                ("address", &address),
                ("modules", MODULES),
                ("issuer", &provider.issuer),
                ("jwks", &provider.jwks()),
                ("client", &registration.client),
                ("secret", &registration.secret),
                ("gateway", &door.host()),
            ],
        );
        std::fs::write(path.join("apache.conf"), configuration).unwrap();
        // Names are looked up by the C library: a file of hosts of its own.
        let mut apache = contained("sh");
        let script = r#"mount --bind "$1/hosts" /etc/hosts && exec apache2 -f "$1/apache.conf" -DFOREGROUND"#;
        apache.args(["-c", script, "sh"]).arg(path);
        let mut edge = Self { server: Server::start("apache2", path, &mut apache), address, _folder: folder };
        let address = edge.address.clone();
        let answers = async || {
            let url = format!("https://{HOST}/auth/oidc-config");
            curl(&[(&format!("{HOST}:443"), &address)], &["--fail", &url]).await.status.success()
        };
        edge.server.until(answers).await;
        edge
    }

    /// `curl` of a path through it.
    pub async fn curl(&self, path: &str, arguments: &[&str]) -> Output {
        let url = format!("https://{HOST}{path}");
        let arguments: Vec<_> = arguments.iter().copied().chain([url.as_str()]).collect();
        curl(&[(&format!("{HOST}:443"), &self.address)], &arguments).await
    }

    /// The status that a path is answered with.
    pub async fn code(&self, path: &str, arguments: &[&str]) -> String {
        let only = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        let arguments: Vec<_> = only.into_iter().chain(arguments.iter().copied()).collect();
        text(&self.curl(path, &arguments).await.stdout)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("apache2 said:\n{}", self.server.words());
        }
    }
}

/// Base64, as a Secret has it.
fn decoded(base64: &str) -> Vec<u8> {
    let secret = format!(r#"{{"data":{{"it":"{base64}"}}}}"#);
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_str(&secret).unwrap();
    secret.data.unwrap().remove("it").unwrap().0
}

//! OpenID providers of two makes, with the same people: alice is admin, bob is user, carol is nothing.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::{NODE, START, Server, contained, curl, folder, json_of, reachable};
use crate::door::{Door, kubectl, text};
use crate::ports;

/// What tokens for the gateway have in `aud`.
pub const AUDIENCE: &str = "portcullis";
/// The scope that has every one.
pub const ALL: &str = "portcullis:all";

/// A provider that answers.
#[derive(Debug, Clone)]
pub struct Provider {
    make: Make,
    /// What its tokens have in `iss`.
    pub issuer: String,
    /// Name and port in its URLs.
    host: String,
    port: u16,
    /// Where it takes orders, on loopback.
    control: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    Keycloak,
    OidcProvider,
}

impl Provider {
    /// Keycloak, which all tests share. RS256, roles in `realm_access.roles`, scopes as one text in `scope`.
    pub async fn keycloak() -> Self {
        let issuer = "https://keycloak.parts.svc:8443/realms/portcullis".to_owned();
        Self { make: Make::Keycloak, issuer, host: "keycloak.parts.svc".into(), port: 8443, control: 0 }
            .shared()
            .await
    }

    /// npm oidc-provider, which all tests share. ES256, roles in `groups`, scopes as a list in `scp`.
    pub async fn oidc_provider() -> Self {
        let issuer = "https://idp.parts.svc:9443".to_owned();
        Self { make: Make::OidcProvider, issuer, host: "idp.parts.svc".into(), port: 9443, control: 9444 }
            .shared()
            .await
    }

    async fn shared(self) -> Self {
        reachable().await;
        let began = Instant::now();
        while !self.answers().await {
            let name = if self.make == Make::Keycloak { "keycloak" } else { "oidc-provider" };
            let log = folder().join("../logs").join(format!("{name}.log"));
            let words = std::fs::read_to_string(log).unwrap_or_default();
            assert!(began.elapsed() < START, "{} does not answer: {words}", self.issuer);
            sleep(Duration::from_millis(100)).await;
        }
        self
    }

    async fn answers(&self) -> bool {
        let discovery = format!("{}/.well-known/openid-configuration", self.issuer);
        self.curl(&["--fail", &discovery]).await.status.success()
    }

    /// `curl` that finds it.
    pub async fn curl(&self, arguments: &[&str]) -> std::process::Output {
        curl(&[(&format!("{}:{}", self.host, self.port), NODE)], arguments).await
    }

    /// Name and address, for programs that are told.
    pub fn resolved(&self) -> (String, String) {
        (self.host.clone(), NODE.to_owned())
    }

    /// Where its keys are.
    pub fn jwks(&self) -> String {
        match self.make {
            Make::Keycloak => format!("{}/protocol/openid-connect/certs", self.issuer),
            Make::OidcProvider => format!("{}/jwks", self.issuer),
        }
    }

    fn token_endpoint(&self) -> String {
        match self.make {
            Make::Keycloak => format!("{}/protocol/openid-connect/token", self.issuer),
            Make::OidcProvider => format!("{}/token", self.issuer),
        }
    }

    /// `spec.oidc` of a Gateway that takes its tokens; `scoped`: and holds them to their scopes.
    pub fn oidc(&self, scoped: bool) -> Value {
        let mut oidc = self.issues();
        oidc["audience"] = json!(AUDIENCE);
        oidc["clientId"] = json!("portcullis-cli");
        if scoped {
            oidc["scopesClaim"] = json!(if self.make == Make::Keycloak { "scope" } else { "scp" });
        }
        oidc
    }

    /// `spec.access` of a Gateway behind an edge that logs people in here.
    pub fn edge_access(&self, client: &str) -> Value {
        let mut edge = self.issues();
        edge.as_object_mut().unwrap().remove("issuer");
        edge["generic"] = json!({ "issuer": self.issuer });
        edge["audience"] = json!(client);
        edge["headerName"] = json!("X-Edge-Token");
        edge["cookieName"] = json!("edge_session");
        json!({ "mode": "Edge", "edge": edge })
    }

    fn issues(&self) -> Value {
        let (user, roles, admin, member) = match self.make {
            Make::Keycloak => ("preferred_username", "realm_access.roles", "gateway-admin", "gateway-user"),
            Make::OidcProvider => ("sub", "groups", "gateway-admins", "gateway-users"),
        };
        json!({
            "issuer": self.issuer, "userClaim": user, "rolesClaim": roles, "adminRole": admin, "userRole": member,
            "caBundleRef": { "name": "parts-roots" },
        })
    }

    /// Puts the roots of the parts where `caBundleRef` looks for them.
    pub async fn bring_roots(door: &Door) {
        let roots = std::fs::read_to_string(super::roots()).unwrap();
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "parts-roots" }, "data": { "ca.crt": roots },
        });
        door.kubectl(&["apply", "-f", "-"], Some(&object.to_string())).await;
    }

    /// A person's access token for the gateway.
    pub async fn token(&self, who: &str, scopes: &str) -> String {
        self.token_with(who, scopes, "portcullis-cli", &[]).await
    }

    /// The same, of another client or with more fields.
    pub async fn token_with(&self, who: &str, scopes: &str, client: &str, more: &[&str]) -> String {
        let fields = [
            "grant_type=password",
            &format!("client_id={client}"),
            &format!("username={who}"),
            &format!("password={who}-password"),
            &format!("scope={}", format!("openid {scopes}").trim()),
        ];
        self.granted(&fields.into_iter().chain(more.iter().copied()).collect::<Vec<_>>(), &[]).await
    }

    /// A machine's access token for the gateway, by its client's secret.
    pub async fn ci_token(&self, scopes: &str) -> String {
        let scope = format!("scope={scopes}");
        let mut fields = vec!["grant_type=client_credentials"];
        if !scopes.is_empty() {
            fields.push(&scope);
        }
        self.granted(&fields, &["--user", "portcullis-ci:ci-secret-of-the-tests"]).await
    }

    async fn granted(&self, fields: &[&str], more: &[&str]) -> String {
        let endpoint = self.token_endpoint();
        let fields = fields.iter().flat_map(|field| ["--data-urlencode", field]);
        let arguments: Vec<_> = more.iter().copied().chain(fields).chain([endpoint.as_str()]).collect();
        let answer = json_of(&self.curl(&arguments).await);
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// A new key signs from now on, and the ones before are still shown.
    pub async fn rotate(&self) {
        match self.make {
            Make::Keycloak => self.rotate_keycloak().await,
            Make::OidcProvider => drop(self.order("rotate").await),
        }
    }

    /// By its admin's API, as an admin would.
    async fn rotate_keycloak(&self) {
        let admin = ["--user", "keys:keys-secret-of-the-tests"];
        let token = self.granted(&["grant_type=client_credentials"], &admin).await;
        #[expect(
            clippy::disallowed_methods,
            reason = "real providers and gateways go by the machine's own time"
        )]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let component = json!({
            "name": format!("key-{now}"), "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "config": { "priority": [now.to_string()] },
        });
        let output = self
            .curl(&[
                "--fail",
                "--header",
                &format!("Authorization: Bearer {token}"),
                "--header",
                "Content-Type: application/json",
                "--data",
                &component.to_string(),
                &self
                    .issuer
                    .replace("/realms/", "/admin/realms/")
                    .replace("/portcullis", "/portcullis/components"),
            ])
            .await;
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Only the newest keys are shown from now on. oidc-provider alone.
    pub async fn withdraw(&self) {
        self.order("withdraw").await;
    }

    async fn order(&self, order: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/{order}", self.control);
        json_of(&curl(&[], &["--fail", "--request", "POST", &url]).await)
    }

    /// How often its keys were asked for. oidc-provider alone.
    pub async fn keys_asked(&self) -> u64 {
        let url = format!("http://127.0.0.1:{}/counts", self.control);
        json_of(&curl(&[], &["--fail", &url]).await)["jwks"].as_u64().unwrap()
    }

    /// Registers an edge as a client that may come back to this address, as RFC 7591 has it; id and secret. Keycloak knows
    /// its one already.
    pub async fn register_edge(&self, redirect: &str, id_token_seconds: u32) -> (String, String) {
        if self.make == Make::Keycloak {
            return ("portcullis-edge".to_owned(), "edge-secret-of-the-tests".to_owned());
        }
        let client = json!({ "redirect_uris": [redirect], "id_token_seconds": id_token_seconds }).to_string();
        let header = "Content-Type: application/json";
        let endpoint = format!("{}/reg", self.issuer);
        let answer = json_of(&self.curl(&["--header", header, "--data", &client, &endpoint]).await);
        let field = |name: &str| {
            answer[name].as_str().unwrap_or_else(|| panic!("not registered: {answer}")).to_owned()
        };
        (field("client_id"), field("client_secret"))
    }
}

/// An oidc-provider of one test alone, which may do with it what it likes.
#[derive(Debug)]
pub struct OwnProvider {
    /// How it is talked to.
    pub provider: Provider,
    server: Option<Server>,
    folder: TempDir,
}

impl OwnProvider {
    /// Starts one that the pods of a namespace know by the name `idp` there.
    pub async fn start(door: &Door) -> Self {
        let host = format!("idp.{}.svc", door.namespace);
        let (port, control) = (ports::free(NODE), ports::free("127.0.0.1"));
        let folder = tempfile::tempdir().unwrap();
        super::certificate(folder.path(), "idp", &[&host]).await;
        let service = include_str!("../../real/parts.yaml")
            .split("\n---\n")
            .filter(|object| object.contains("name: idp\n"))
            .map(|object| object.replace("  namespace: parts\n", "").replace("9443", &port.to_string()))
            .collect::<Vec<_>>()
            .join("\n---\n");
        kubectl(&door.namespace, &["apply", "-f", "-"], Some(&service)).await;
        let issuer = format!("https://{host}:{port}");
        let provider = Provider { make: Make::OidcProvider, issuer, host, port, control };
        let mut own = Self { provider, server: None, folder };
        own.start_again().await;
        own
    }

    /// Starts it with the keys that it had.
    pub async fn start_again(&mut self) {
        let folder = self.folder.path();
        let file = |name: &str| folder.join(name);
        let mut node = contained("node");
        node.arg(super::folder().join("oidc-provider/provider.mjs"));
        node.args(["--issuer", &self.provider.issuer, "--listen", &format!("{NODE}:{}", self.provider.port)]);
        for (option, name) in [("--cert", "idp.crt"), ("--key", "idp.key"), ("--keys", "keys.json")] {
            node.arg(option).arg(file(name));
        }
        node.arg("--control").arg(self.provider.control.to_string());
        let mut server = Server::start("oidc-provider", folder, &mut node);
        server.until(async || self.provider.answers().await).await;
        self.server = Some(server);
    }

    /// From one moment to the next it is gone.
    pub async fn kill(&mut self) {
        self.server.take().expect("it runs").kill().await;
        let gone = async {
            while self.provider.answers().await {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(START, gone).await.expect("what was killed answers no more");
    }

    /// Where its keys are kept, for a test that signs something itself.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

//! The guide, done to the letter: what a reader types, in the order of the page, with the files that the page shows.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use portcullis_tests::PATIENCE;
use portcullis_tests::door::{Door, run, text, tool};
use portcullis_tests::real::provider::Provider;
use portcullis_tests::real::{BRIDGE, certificate, contained, roots};
use portcullis_tests::tunnel;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

/// The pages all use the same port of this machine.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What the pages call what is somewhere else here.
const ISSUER: &str = "https://login.example.com/realms/shop";

/// What stands on a page.
struct Page {
    /// Files that it shows: blocks that begin with a comment that is a name.
    files: Vec<(String, String)>,
    /// What is to be typed.
    commands: String,
    /// What it shows of what is printed then.
    shown: Vec<String>,
}

impl Page {
    /// A page, or those of its sections whose titles begin like this.
    fn read(path: &str, sections: &[&str]) -> Self {
        let page = std::fs::read_to_string(root().join(path)).unwrap();
        let (mut files, mut commands, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        let wanted =
            |section: &&str| sections.is_empty() || sections.iter().any(|it| section.starts_with(it));
        for section in page.split("\n## ").filter(wanted) {
            for block in section.split("\n```").skip(1).step_by(2) {
                let (language, text) = block.split_once('\n').unwrap();
                if language == "text" {
                    shown.extend(text.lines().map(str::to_owned));
                    continue;
                }
                if !language.is_empty() {
                    let name = text.lines().next().and_then(|it| it.strip_prefix("# "));
                    let name = name.filter(|it| !it.contains(' ') && it.contains('.'));
                    files.extend(name.map(|name| (name.to_owned(), text.to_owned())));
                    continue;
                }
                commands.extend(text.lines().map(command));
            }
        }
        Self { files, commands: commands.join("\n"), shown }
    }

    /// The same elsewhere: every one of these must stand there.
    fn at(mut self, names: &[(&str, &str)]) -> Self {
        for (name, here) in names {
            let count = |page: &Self| {
                page.commands.matches(name).count()
                    + page.files.iter().map(|it| it.1.matches(name).count()).sum::<usize>()
            };
            assert!(count(&self) > 0, "{name} is not on the page");
            self.commands = self.commands.replace(name, here);
            for text in self.files.iter_mut().map(|it| &mut it.1).chain(&mut self.shown) {
                *text = text.replace(name, here);
            }
        }
        self
    }
}

/// A line as bash gets it. One that says at its end that it is refused must be.
fn command(line: &str) -> String {
    match line.split_once(" # ") {
        Some((command, said)) if said.ends_with("refused") => {
            let command = command.trim_end();
            let refused = format!("echo 'not refused: {command}' >&2; exit 1");
            format!("if {command}; then {refused}; fi")
        }
        _ => line.to_owned(),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A reader: an empty folder, the programs, and names that this machine does not know by itself.
struct Reader {
    folder: TempDir,
    hosts: Vec<(String, String)>,
    variables: Vec<(&'static str, String)>,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, hosts: vec![("localhost".to_owned(), "127.0.0.1".to_owned())], variables: Vec::new() }
    }

    /// Has a service at a port of this machine, once the one of the test before is gone from there.
    async fn serves(&self, port: u16) -> tokio::process::Child {
        std::fs::write(self.folder.path().join("index.html"), "from the reader's machine").unwrap();
        let (began, address) = (Instant::now(), ("127.0.0.1", port));
        while TcpListener::bind(address).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "somebody else has the port {port}");
            sleep(Duration::from_millis(50)).await;
        }
        let mut served = Command::new("python3");
        served.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1"]);
        served.current_dir(&self.folder).stdout(Stdio::null()).stderr(Stdio::null());
        let served = served.kill_on_drop(true).spawn().unwrap();
        while TcpStream::connect(address).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "the service does not listen");
            sleep(Duration::from_millis(50)).await;
        }
        served
    }

    /// Knows a provider, and has a client of a pipeline there.
    fn knows(&mut self, provider: &Provider) {
        self.hosts.push(provider.resolved());
        std::fs::copy(roots(), self.folder.path().join("company-ca.crt")).unwrap();
        self.variables.push(("PORTCULLIS_CLIENT_ID", "portcullis-ci".to_owned()));
        self.variables.push(("PORTCULLIS_CLIENT_SECRET", "ci-secret-of-the-tests".to_owned()));
    }

    /// Types all of it; what is printed.
    async fn types(&self, page: &Page) -> String {
        assert!(!page.commands.trim().is_empty(), "nothing is to be typed");
        for (name, text) in &page.files {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }
        let hosts: Vec<_> = self.hosts.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        std::fs::write(self.folder.path().join("hosts"), hosts.concat()).unwrap();
        let cli = std::env::var("PORTCULLIS_CLI_BIN").unwrap();
        let cli = Path::new(&cli).parent().unwrap();
        let tools = std::env::var("PORTCULLIS_TEST_BIN").unwrap();
        let path = format!("{tools}:{}:{}:/usr/sbin:/sbin", cli.display(), std::env::var("PATH").unwrap());
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", page.commands);
        // Names are looked up by the C library: a file of hosts of its own.
        let alone = r#"mount --bind "$HOME/hosts" /etc/hosts && exec bash -euc "$1""#;
        let mut reader = contained("sh");
        reader.args(["-c", alone, "sh", &script]).current_dir(&self.folder).stdin(Stdio::null());
        reader.env("PATH", path).env("HOME", self.folder.path()).env_remove("XDG_CONFIG_HOME");
        reader.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = timeout(Duration::from_mins(15), reader.output());
        let output = output.await.expect("the page comes to its end").unwrap();
        let (printed, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}\n{printed}\n{said}", page.commands);
        printed + &said
    }
}

/// All that the page shows was printed, in its order; lines between are left out there.
fn is_as_shown(printed: &str, page: &Page) {
    assert!(!page.shown.is_empty(), "the page shows nothing");
    let mut lines = printed.lines().map(str::trim);
    for shown in &page.shown {
        let found = lines.any(|line| line == shown.trim());
        assert!(found, "{shown} is not printed, or not in this place, in\n{printed}");
    }
}

/// All of these were printed.
fn holds(printed: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(printed.contains(wanted), "{wanted} is not among\n{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_first_five_minutes_do_what_the_page_says() {
    let _alone = ALONE.lock().await;
    // The operator runs already.
    let page = Page::read("docs/getting-started.md", &["2.", "3.", "4."]);
    assert!(page.commands.contains("not refused"), "{}", page.commands);
    // What the reader has: the checkout's examples, a service at the port of the example, and the programs.
    let reader = Reader::new();
    std::os::unix::fs::symlink(root().join("manifests"), reader.folder.path().join("manifests")).unwrap();
    let _served = reader.serves(18080).await;
    let printed = reader.types(&page).await;
    holds(&printed, &["\"X-Portcullis-User\"", "alice@example.com", "from the reader's machine"]);
    run(tool("kubectl").args(["delete", "namespace", "demo", "--wait=false"]), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_certificate_goes_through_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/mtls-client.md", &[]).at(&[("demo", &door.namespace)]);
    let printed = Reader::new().types(&page).await;
    let found = ["\"X-Portcullis-User\"", "alice@example.com", "portcullis.gateway.v1.Gateway", "pod/caller"];
    holds(&printed, &found);
    // Both ways to another certificate: the command's own words, and the status.
    holds(&printed, &["Serial", "\"fingerprint\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_lead_to_a_root_of_openssl_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    // What is asked of cert-manager is typed in api_issuer.rs.
    let sections = ["# Certificates", "Make", "Have", "Another", "What"];
    let page = Page::read("docs/how-to/bring-your-own-ca.md", &sections).at(&[("demo", &door.namespace)]);
    let printed = Reader::new().types(&page).await;
    holds(&printed, &["CN=Example Issuing CA 1", "tls.crt: OK", "\"X-Portcullis-User\"", "condition met"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_companys_authority_comes_in_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/client-authorities.md", &[]).at(&[("demo", &door.namespace)]);
    let printed = Reader::new().types(&page).await;
    holds(&printed, &["\"X-Portcullis-User\"", "spiffe://corp.example/team/shop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_known_by_keycloak_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let (door, provider) = (Door::site().await, Provider::keycloak().await);
    let page = Page::read("docs/how-to/oidc.md", &[]);
    let page = page.at(&[("demo", &door.namespace), (ISSUER, &provider.issuer)]);
    let mut reader = Reader::new();
    reader.knows(&provider);
    holds(&reader.types(&page).await, &["service-account-portcullis-ci"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_behind_an_edge_is_set_up_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let (door, provider) = (Door::site().await, Provider::oidc_provider().await);
    let page = Page::read("docs/how-to/edge.md", &[]);
    let page = page.at(&[("demo", &door.namespace), ("https://edge.example.com", &provider.issuer)]);
    let mut reader = Reader::new();
    reader.knows(&provider);
    holds(&reader.types(&page).await, &["\"Edge\"", "x-edge-token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_behind_nginx_is_set_up_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let (door, provider) = (Door::site().await, Provider::keycloak().await);
    let page = Page::read("docs/how-to/trusted-proxy.md", &[]).at(&[
        ("demo", &door.namespace),
        (ISSUER, &provider.issuer),
        ("10.30.0.0/16", &format!("{BRIDGE}/32")),
        ("listen 443", "listen 127.0.0.1:18443"),
        ("https://door.example.com/", "https://door.example.com:18443/"),
    ]);
    let mut reader = Reader::new();
    reader.knows(&provider);
    // The Service is there before the page makes it, so that its name can be known outside of the cluster.
    door.apply(&format!("{{access: {{mode: Plaintext, trustedProxies: ['{BRIDGE}/32']}}}}")).await;
    door.until_ready().await;
    reader.hosts.push((door.host(), door.address().await));
    reader.hosts.push(("door.example.com".to_owned(), "127.0.0.1".to_owned()));
    certificate(reader.folder.path(), "proxy", &["door.example.com"]).await;
    let roots = reader.folder.path().join("company-ca.crt").display().to_string();
    reader.variables.push(("CURL_CA_BUNDLE", roots));
    holds(&reader.types(&page).await, &["\"X-Forwarded-Proto\"", "service-account-portcullis-ci"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_hands_out_a_credential_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let image = "localhost/portcullis-example-credentials-driver:dev";
    let page = Page::read("docs/how-to/drivers.md", &[]);
    let page = page.at(&[("demo", &door.namespace), ("registry.example.com/credentials-driver:1.0", image)]);
    holds(&Reader::new().types(&page).await, &["\"name\": \"registry\"", "\"token\": \"of-the-registry\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_outside_and_inside_answer_on_public_names_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/tunnels.md", &[]).at(&[("demo", &door.namespace)]);
    let reader = Reader::new();
    let _served = reader.serves(18080).await;
    let host = format!("inside.{}.example.com", door.namespace);
    holds(&reader.types(&page).await, &["from the reader's machine", "name resolution", &host]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_kept_answering_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    let page = Page::read("docs/how-to/high-availability.md", &[]).at(&[("demo", &door.namespace)]);
    holds(&Reader::new().types(&page).await, &["successfully rolled out"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_as_the_page_shows_it() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    // There is something to look at from the beginning.
    door.apply(&format!("{{tunnels: {{domain: {}.example.com}}}}", door.namespace)).await;
    door.until_ready().await;
    let web =
        "{gatewayRef: {name: door}, label: web, endpoint: 'http://localhost:8080', access: {auth: None}}";
    tunnel::apply(&door.client, &door.namespace, "web", web).await;
    let page = Page::read("docs/how-to/troubleshoot.md", &[]).at(&[("demo", &door.namespace)]);
    let printed = Reader::new().types(&page).await;
    is_as_shown(&printed, &page);
    holds(&printed, &["no-such-tag", "portcullis-diagnose-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_upgraded_and_rolled_back_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::ready("{clients: [{name: alice}]}").await;
    let page = Page::read("docs/how-to/upgrade.md", &[]).at(&[("demo", &door.namespace)]);
    let reader = Reader::new();
    std::os::unix::fs::symlink(root().join("charts"), reader.folder.path().join("charts")).unwrap();
    let printed = reader.types(&page).await;
    holds(&printed, &["Rollback was a success", "Every ready replica serves the current configuration"]);
    let kept = |name: &str| std::fs::read_to_string(reader.folder.path().join(name)).unwrap();
    assert!(kept("values.yaml").contains("portcullis") && kept("rendered.yaml").contains("kind: Deployment"));
    assert!(kept("resources.yaml").contains("name: door") && kept("door-ca.yaml").contains("ca-1.key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_is_told_of_our_kinds_as_the_page_says() {
    let _alone = ALONE.lock().await;
    let door = Door::site().await;
    // Argo CD's own ConfigMap is there before, in a namespace of the test.
    door.kubectl(
        &["create", "configmap", "argocd-cm", "--from-literal=url=https://argocd.example.com"],
        None,
    )
    .await;
    let page = Page::read("docs/how-to/gitops.md", &["Argo CD"]);
    let page = page.at(&[("-n argocd", &format!("-n {}", door.namespace))]);
    let reader = Reader::new();
    let examples = reader.folder.path().join("manifests/examples/gitops");
    std::fs::create_dir_all(&examples).unwrap();
    let told = std::fs::read_to_string(root().join("manifests/examples/gitops/argocd-cm.yaml")).unwrap();
    let told = told.replace("namespace: argocd", &format!("namespace: {}", door.namespace));
    std::fs::write(examples.join("argocd-cm.yaml"), told).unwrap();
    holds(&reader.types(&page).await, &["configmap/argocd-cm patched"]);
    let there = door.kubectl(&["get", "configmap", "argocd-cm", "-o", "yaml"], None).await;
    holds(
        &there,
        &["https://argocd.example.com", "health.portcullis.dev_Gateway", "health.portcullis.dev_Tunnel"],
    );
}

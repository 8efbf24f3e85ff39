//! The guide, done to the letter: what a reader types, in the order of the page, with the files that the page shows.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use portcullis_tests::door::{Door, run, text, tool};
use portcullis_tests::real::provider::Provider;
use portcullis_tests::real::{BRIDGE, certificate, contained, roots};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Mutex;

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
}

impl Page {
    /// A page, or those of its sections whose titles begin like this.
    fn read(path: &str, sections: &[&str]) -> Self {
        let page = std::fs::read_to_string(root().join(path)).unwrap();
        let (mut files, mut commands) = (Vec::new(), Vec::new());
        let wanted =
            |section: &&str| sections.is_empty() || sections.iter().any(|it| section.starts_with(it));
        for section in page.split("\n## ").filter(wanted) {
            for block in section.split("\n```").skip(1).step_by(2) {
                let (language, text) = block.split_once('\n').unwrap();
                if !language.is_empty() {
                    let name = text.lines().next().and_then(|it| it.strip_prefix("# "));
                    let name = name.filter(|it| !it.contains(' ') && it.contains('.'));
                    files.extend(name.map(|name| (name.to_owned(), text.to_owned())));
                    continue;
                }
                commands.extend(text.lines().map(command));
            }
        }
        Self { files, commands: commands.join("\n") }
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
            for (_, text) in &mut self.files {
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

    /// Has a service at a port of this machine.
    fn serves(&self, port: u16) -> tokio::process::Child {
        std::fs::write(self.folder.path().join("index.html"), "from the reader's machine").unwrap();
        let mut served = Command::new("python3");
        served.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1"]);
        served.current_dir(&self.folder).stdout(Stdio::null()).stderr(Stdio::null());
        served.kill_on_drop(true).spawn().unwrap()
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
        assert!(page.commands.lines().count() > 2, "{}", page.commands);
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
        let output = tokio::time::timeout(std::time::Duration::from_mins(8), reader.output());
        let output = output.await.expect("the page comes to its end").unwrap();
        let (printed, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}\n{printed}\n{said}", page.commands);
        printed + &said
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
    let _served = reader.serves(18080);
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
    let _served = reader.serves(18080);
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

//! A page of the guide, and a reader who types what stands on it, in its order, with the files that it shows.
//!
//! What must not live here: which pages there are, and what is expected of them; tests say that.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::PATIENCE;
use crate::door::text;
use crate::real::provider::Provider;
use crate::real::{contained, roots};

/// What stands on a page.
pub struct Page {
    /// Files that it shows: blocks that begin with a comment that is a name.
    pub files: Vec<(String, String)>,
    /// What is to be typed.
    pub commands: String,
    /// What it shows of what is printed then.
    pub shown: Vec<String>,
}

impl Page {
    /// A page, or those of its sections whose titles begin like this.
    pub fn read(path: &str, sections: &[&str]) -> Self {
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
    #[must_use]
    pub fn at(mut self, names: &[(&str, &str)]) -> Self {
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

    /// What is shown, elsewhere: every one of these must stand there.
    #[must_use]
    pub fn at_shown(mut self, names: &[(&str, &str)]) -> Self {
        for (name, here) in names {
            assert!(self.shown.iter().any(|it| it.contains(name)), "{name} is not shown");
            self.shown.iter_mut().for_each(|it| *it = it.replace(name, here));
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

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A reader: an empty folder, the programs, and names that this machine does not know by itself.
pub struct Reader {
    /// Where what is read and made by name is.
    pub folder: TempDir,
    /// Names, and the addresses that they are at.
    pub hosts: Vec<(String, String)>,
    /// What is in the environment besides.
    pub variables: Vec<(&'static str, String)>,
}

impl Reader {
    /// One who has nothing yet.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, hosts: vec![("localhost".to_owned(), "127.0.0.1".to_owned())], variables: Vec::new() }
    }

    /// Has a service at a port of this machine, once the one of the test before is gone from there.
    pub async fn serves(&self, port: u16) -> tokio::process::Child {
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

    /// Has a folder of the checkout at hand.
    pub fn has(&self, folder: &str) {
        std::os::unix::fs::symlink(root().join(folder), self.folder.path().join(folder)).unwrap();
    }

    /// Has the files of a bundle in this folder.
    pub fn keeps(&self, bundle: &Path) {
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            std::fs::copy(bundle.join(file), self.folder.path().join(file)).unwrap();
        }
    }

    /// Knows a provider, and has a client of a pipeline there.
    pub fn knows(&mut self, provider: &Provider) {
        self.hosts.push(provider.resolved());
        std::fs::copy(roots(), self.folder.path().join("company-ca.crt")).unwrap();
        self.variables.push(("PORTCULLIS_CLIENT_ID", "portcullis-ci".to_owned()));
        self.variables.push(("PORTCULLIS_CLIENT_SECRET", "ci-secret-of-the-tests".to_owned()));
    }

    /// Types all of it; what is printed.
    pub async fn types(&self, page: &Page) -> String {
        assert!(!page.commands.trim().is_empty(), "nothing is to be typed");
        for (name, text) in &page.files {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }
        let hosts: Vec<_> = self.hosts.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        std::fs::write(self.folder.path().join("hosts"), hosts.concat()).unwrap();
        let cli = std::env::var("PORTCULLIS_CLI_BIN").unwrap();
        // kubectl finds its plugins by their names.
        let plugins = self.folder.path().join(".plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        drop(std::os::unix::fs::symlink(&cli, plugins.join("kubectl-portcullis")));
        let cli = Path::new(&cli).parent().unwrap();
        let tools = std::env::var("PORTCULLIS_TEST_BIN").unwrap();
        let path = format!(
            "{tools}:{}:{}:{}:/usr/sbin:/sbin",
            plugins.display(),
            cli.display(),
            std::env::var("PATH").unwrap()
        );
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

/// All that the page shows was printed, in its order; lines between are left out there, and `…` stands for anything.
pub fn is_as_shown(printed: &str, page: &Page) {
    assert!(!page.shown.is_empty(), "the page shows nothing");
    let mut lines = printed.lines().map(str::trim);
    for shown in &page.shown {
        let found = lines.any(|line| is_like(line, shown.trim()));
        assert!(found, "{shown} is not printed, or not in this place, in\n{printed}");
    }
}

/// Whether a line is as it is shown.
fn is_like(line: &str, shown: &str) -> bool {
    let Some((begin, rest)) = shown.split_once('…') else { return line == shown };
    let Some(mut line) = line.strip_prefix(begin.trim_end()) else { return false };
    let mut parts: Vec<_> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = line.split_once(part) else { return false };
        line = after;
    }
    line.ends_with(end)
}

/// All of these were printed.
pub fn holds(printed: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(printed.contains(wanted), "{wanted} is not among\n{printed}");
    }
}

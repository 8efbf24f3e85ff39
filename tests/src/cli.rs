//! The `portcullis` command as a person or a pipeline runs it: names that it finds, a browser that it opens, variables.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use crate::command::Home;
use crate::door::text;
use crate::real::contained;

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_mins(3);
/// What is told to open an address notes it: a browser of the test's opens it then.
const NOTE: &str =
    "#!/bin/sh\nprintf '%s' \"$1\" >\"$HOME/opened.half\" && mv \"$HOME/opened.half\" \"$HOME/opened\"\n";
/// Names are looked up by the C library, or as it does: a file of hosts of its own.
const ALONE: &str = r#"mount --bind "$HOME/hosts" /etc/hosts && exec "$@""#;

/// A home, and what the machine around it knows.
pub struct Cli {
    home: Home,
    variables: Vec<(String, String)>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// A command that runs.
pub struct Running {
    child: Child,
    home: PathBuf,
}

impl Cli {
    /// A home from which these names are at these addresses.
    pub fn new(hosts: &[(String, String)]) -> Self {
        let home = Home::new();
        let lines: Vec<_> = hosts.iter().map(|(name, address)| format!("{address} {name}")).collect();
        home.put("hosts", format!("127.0.0.1 localhost\n{}\n", lines.join("\n")).as_bytes());
        let (text, note) = (home.put("browser.txt", NOTE.as_bytes()), home.path("browser.sh"));
        // Another process writes it: what this one has written cannot be run while a program that another thread has just
        // started still has it open.
        let installed =
            std::process::Command::new("install").args(["-m", "755"]).arg(text).arg(&note).status();
        assert!(installed.unwrap().success());
        let variables = vec![("BROWSER".to_owned(), note.display().to_string())];
        Self { home, variables }
    }

    /// The same home, with one more variable in the environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its configuration directory.
    pub fn config(&self) -> PathBuf {
        self.home.path(".config/portcullis")
    }

    /// A gateway that is known here, and the active one; a bundle's files are shown to it, or only its `ca.crt`.
    pub fn know(&self, name: &str, metadata: &Value, bundle: &Path) {
        let folder = self.config().join("gateways").join(name);
        fs::create_dir_all(folder.join("mtls")).unwrap();
        for file in ["ca.crt", "tls.crt", "tls.key"].iter().filter(|it| bundle.join(it).exists()) {
            fs::copy(bundle.join(file), folder.join("mtls").join(file)).unwrap();
        }
        fs::write(folder.join("metadata.json"), metadata.to_string()).unwrap();
        fs::write(self.config().join("active_gateway"), name).unwrap();
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).ended().await
    }

    /// Runs it; fails the test where it fails.
    pub async fn well(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran
    }

    /// What it prints with `-o json`.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<_> = arguments.iter().copied().chain(["-o", "json"]).collect();
        let ran = self.well(&arguments).await;
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Starts it.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let home = self.home.path("");
        drop(fs::remove_file(home.join("opened")));
        let program = std::env::var_os("PORTCULLIS_CLI_BIN").expect("cargo xtask test says where it is");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = contained("sh");
        command.args(["-c", ALONE, "sh"]).arg(program).args(arguments).env_clear();
        command.env("PATH", path).env("HOME", &home).envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { child: command.spawn().unwrap(), home }
    }

    /// What is kept of a gateway's OpenID login.
    pub fn tokens(&self, gateway: &str) -> Value {
        let file = self.config().join("gateways").join(gateway).join("oidc_token.json");
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }

    /// Puts it back, as somebody would who has a copy of the file.
    pub fn set_tokens(&self, gateway: &str, tokens: &Value) {
        let file = self.config().join("gateways").join(gateway).join("oidc_token.json");
        fs::write(file, tokens.to_string()).unwrap();
    }

    /// Makes it so late that the access token is to be renewed.
    pub fn let_time_pass(&self, gateway: &str) {
        let mut tokens = self.tokens(gateway);
        tokens["expires_at"] = json!(1);
        self.set_tokens(gateway, &tokens);
    }

    /// Every file below the home, with what is in it.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut folders, mut files) = (vec![self.home.path("")], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        files
    }
}

impl Running {
    /// The address that it has told a browser to open.
    pub async fn opened(&mut self) -> String {
        let began = Instant::now();
        loop {
            if let Ok(url) = fs::read_to_string(self.home.join("opened")) {
                return url;
            }
            let ended = self.child.try_wait().unwrap();
            let patient = ended.is_none() && began.elapsed() < PATIENCE;
            if !patient {
                drop(self.child.start_kill());
                panic!("no browser was opened ({ended:?}): {}", self.words().await);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// A line that it prints on standard error and that has this in it.
    pub async fn says(&mut self, wanted: &str) -> String {
        use tokio::io::{AsyncBufReadExt as _, BufReader};
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut lines = BufReader::with_capacity(1, stderr).lines();
        let found = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(wanted) {
                    return line;
                }
            }
            panic!("it ended without saying `{wanted}`");
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("it does not say `{wanted}`"))
    }

    /// Waits for its end.
    pub async fn ended(self) -> Ran {
        let ended = timeout(PATIENCE, self.child.wait_with_output()).await;
        Ran::of(&ended.expect("it comes to an end").unwrap())
    }

    async fn words(&mut self) -> String {
        use tokio::io::AsyncReadExt as _;
        let mut said = String::new();
        drop(self.child.stderr.as_mut().unwrap().read_to_string(&mut said).await);
        said
    }
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}
